"""Simulated robots, tasks and suites."""

import os
import sys

# MuJoCo chooses its OpenGL platform when it is imported, and on Linux takes one that needs a display.
if sys.platform.startswith("linux"):
    os.environ.setdefault("MUJOCO_GL", "egl")
