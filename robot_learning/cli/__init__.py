"""The robot-learning command; the only place that imports hydra."""
