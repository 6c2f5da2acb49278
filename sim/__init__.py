"""Simulated robots, tasks and suites."""
