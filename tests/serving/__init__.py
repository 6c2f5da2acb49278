"""Tests of robot_learning.serving."""
