"""Tests of robot_learning.runtime."""
