"""Flow matching as a policy for robot-learning."""
