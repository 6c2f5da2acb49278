"""Training: learner, trainer, checkpoints, metrics."""
