"""Hand-made scenes for predicates: everything closed, lights off, three flat blocks, and what the test changes."""

import dataclasses

import numpy as np

from robot_learning.sim import playroom
from robot_learning.sim.scene import Scene

FLAT_X = (1.0, 0.0, 0.0)
UPRIGHT = (0.0, 0.0, 1.0)
IN_DRAWER = (0.365, playroom.DRAWER_Y, playroom.DRAWER_FLOOR + 0.02)
ON_SHELF = (playroom.SHELF_X, playroom.SHELF_Y, playroom.SHELF_FLOOR + 0.02)


def scene(**changes):
    """Return a scene; ``block0``... set a position, ``axis0``... a long axis."""
    positions = np.array([[0.52, -0.20, 0.02], [0.52, 0.0, 0.02], [0.52, 0.18, 0.02]])
    axes = np.array([FLAT_X] * 3)
    for index in range(3):
        axes[index] = changes.pop(f"axis{index}", axes[index])
        positions[index] = changes.pop(f"block{index}", positions[index])
    made = Scene(
        tool=np.array([0.5, 0.0, 0.2]),
        yaw=0.0,
        width=0.08,
        drawer=0.0,
        door=0.0,
        lights=(False, False, False),
        pressed=np.zeros(3),
        positions=positions,
        axes=axes,
        sides=np.array([[0.0, 1.0, 0.0]] * 3),
    )
    return dataclasses.replace(made, **changes)


def turned(degrees):
    """Return a flat long axis turned from x by an angle."""
    angle = np.radians(degrees)
    return (np.cos(angle), np.sin(angle), 0.0)
