"""Adapters that put simulators of others, and our own, behind the TaskSuite protocol; one file each."""
