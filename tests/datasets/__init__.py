"""Tests of robot_learning.datasets."""
