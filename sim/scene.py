"""The play table's state in terms a person would use, read from an observation."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.types import Observation
from robot_learning.sim import playroom

FLAT = 0.35
"""A block lies flat while the vertical part of its long axis is below this."""
UPRIGHT = 0.92
"""A block stands upright while the vertical part of its long axis is above this."""
LIFTED = 0.045
"""A block is lifted when its lowest point is this far above the desk [m]."""
OPEN = 0.75
"""Share of its travel beyond which the drawer or the door counts as open; closed is below ``1 - OPEN``."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What is where.

    Attributes:
        tool: Position of the tool [m].
        yaw: Turn of the downward tool about the vertical [rad].
        width: Opening of the gripper [m].
        drawer: How far the drawer is open, 0 to 1.
        door: How far the door is open, 0 to 1.
        lights: One bool per light.
        pressed: Depression of each button [m].
        positions: Block centres [m], 3 x 3.
        axes: Unit vectors along the blocks' long axes, 3 x 3 (the sign means nothing).
        sides: Unit vectors along the blocks' second axes, 3 x 3.
    """

    tool: NDArray[np.float64]
    yaw: float
    width: float
    drawer: float
    door: float
    lights: tuple[bool, ...]
    pressed: NDArray[np.float64]
    positions: NDArray[np.float64]
    axes: NDArray[np.float64]
    sides: NDArray[np.float64]

    @classmethod
    def of(cls, observation: Observation) -> "Scene":
        """Read the scene from the play table's observation."""
        pose = np.asarray(observation["ee_pose"], dtype=np.float64)
        furniture = np.asarray(observation["furniture"], dtype=np.float64)
        quaternions = np.asarray(observation["block_quaternion"], dtype=np.float64).reshape(-1, 4)
        return cls(
            tool=pose[:3],
            yaw=float(2.0 * np.arctan2(pose[5], pose[4])),
            width=float(observation["gripper_width"][0]),
            drawer=float(furniture[0]) / playroom.DRAWER_TRAVEL,
            door=float(furniture[1]) / playroom.DOOR_TRAVEL,
            pressed=furniture[2:5],
            lights=tuple(bool(value > 0.5) for value in furniture[5:8]),
            positions=np.asarray(observation["block_position"], dtype=np.float64).reshape(-1, 3),
            axes=np.stack([long_axis(quaternion) for quaternion in quaternions]),
            sides=np.stack([second_axis(quaternion) for quaternion in quaternions]),
        )

    @cached_property
    def bottoms(self) -> NDArray[np.float64]:
        """Height of each block's lowest point [m]."""
        vertical = np.abs(self.axes[:, 2])
        across = np.sqrt(np.maximum(0.0, 1.0 - vertical**2))
        return self.positions[:, 2] - playroom.BLOCK_HALF[0] * vertical - playroom.BLOCK_HALF[1] * across

    def angle(self, block: int) -> float:
        """Return the direction of a block's long axis seen from above [rad], in (-pi/2, pi/2]."""
        return half_turn(float(np.arctan2(self.axes[block, 1], self.axes[block, 0])))

    def face(self, block: int) -> float:
        """Return the direction of a side face of an upright block seen from above [rad], in (-pi/4, pi/4]."""
        angle = float(np.arctan2(self.sides[block, 1], self.sides[block, 0]))
        return float(np.pi / 4 - (np.pi / 4 - angle) % (np.pi / 2))

    def held(self) -> int | None:
        """Return the block between the closed fingers, None when there is none."""
        if not 0.025 < self.width < 0.055:
            return None
        apart = np.linalg.norm(self.positions - self.tool, axis=1)
        nearest = int(np.argmin(apart))
        return nearest if apart[nearest] < 0.04 else None

    def gap(self, block: int) -> float:
        """Return the distance from a block to the nearest other block, seen from above [m]."""
        others = np.delete(self.positions[:, :2], block, axis=0) - self.positions[block, :2]
        return float(np.linalg.norm(others, axis=1).min())

    def flat(self, block: int) -> bool:
        """Tell whether a block lies flat."""
        return bool(abs(self.axes[block, 2]) < FLAT)

    def upright(self, block: int) -> bool:
        """Tell whether a block stands upright."""
        return bool(abs(self.axes[block, 2]) > UPRIGHT)

    def lifted(self, block: int) -> bool:
        """Tell whether a block is well above the desk."""
        return bool(self.bottoms[block] > LIFTED)

    def in_drawer(self, block: int) -> bool:
        """Tell whether a block lies in the drawer."""
        x, y, z = self.positions[block]
        front = playroom.DESK_FRONT - self.drawer * playroom.DRAWER_TRAVEL
        inside_x = front - 0.005 < x < front + playroom.DRAWER_DEPTH + 0.005
        return bool(inside_x and abs(y - playroom.DRAWER_Y) < playroom.DRAWER_HALF_WIDTH and z < -0.008)

    def on_shelf(self, block: int) -> bool:
        """Tell whether a block lies on the shelf."""
        x, y, z = self.positions[block]
        half_x, half_y = playroom.SHELF_HALF
        near = abs(x - playroom.SHELF_X) < half_x and abs(y - playroom.SHELF_Y) < half_y
        return bool(near and z < 0.045)

    def on_desk(self, block: int) -> bool:
        """Tell whether a block rests on the open part of the desk (flat or upright)."""
        x, y, _ = self.positions[block]
        over = playroom.DESK_FRONT - 0.01 < x < playroom.SHELF_X - playroom.SHELF_HALF[0] and abs(y) < 0.34
        return bool(over and abs(self.bottoms[block]) < 0.012)


def long_axis(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit vector along a block's long axis (its x axis) for a quaternion w x y z."""
    w, x, y, z = quaternion.tolist()
    return np.array([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)])


def second_axis(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit vector along a block's y axis for a quaternion w x y z."""
    w, x, y, z = quaternion.tolist()
    return np.array([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)])


def half_turn(angle: float) -> float:
    """Wrap an angle of an axis without direction to (-pi/2, pi/2] [rad]."""
    return float(np.pi / 2 - (np.pi / 2 - angle) % np.pi)
