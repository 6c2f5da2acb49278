"""Tests of the task suites."""
