"""Drivers of real robots, cameras and teleoperation devices."""
