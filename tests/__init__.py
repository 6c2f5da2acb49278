"""Tests of robot-learning."""
