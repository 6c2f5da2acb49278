"""Tests of robot_learning.cli."""
