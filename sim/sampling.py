"""Where an episode of the play table starts: a seeded distribution of scenes."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robot_learning.sim import playroom

DESK_X = (0.490, 0.552)
DESK_Y = (-0.25, 0.215)
CLEARANCE = 0.105
"""Least distance between the centres of two blocks that start on the desk [m]."""
DRAWER_X = (0.350, 0.378)
"""Where a block lies in the open drawer."""
SHELF_X = (playroom.SHELF_X - 0.012, playroom.SHELF_X + 0.012)
SHELF_Y = (playroom.SHELF_Y - 0.055, playroom.SHELF_Y + 0.055)
PLACES = ("flat", "upright", "drawer", "shelf")
PLACE_WEIGHTS = (0.33, 0.40, 0.15, 0.12)


@dataclass
class StartScene:
    """How furniture and blocks stand before the first step.

    Attributes:
        drawer: How far the drawer is open, 0 to 1.
        door: How far the door is open, 0 to 1.
        lights: Which lights are on.
        places: Where each block is: ``flat`` or ``upright`` on the desk, in the ``drawer``, on the ``shelf``.
        tool: Where the tool starts [m].
        yaw: Turn of the tool about the vertical [rad].
        poses: One row ``x y z w x y z`` per block, drawn from the places.
    """

    drawer: float
    door: float
    lights: NDArray[np.float64]
    places: list[str]
    tool: NDArray[np.float64]
    yaw: float
    poses: NDArray[np.float64] = field(default_factory=lambda: np.zeros((3, 7)))


def draw(rng: np.random.Generator) -> StartScene:
    """Draw a start scene: half the drawers and doors open, blocks anywhere that makes sense."""
    scene = StartScene(
        drawer=float(rng.choice([0.0, 1.0])),
        door=float(rng.choice([0.0, 1.0])),
        lights=rng.integers(0, 2, 3).astype(np.float64),
        places=[str(place) for place in rng.choice(PLACES, size=3, p=PLACE_WEIGHTS)],
        tool=rng.uniform((0.42, -0.22, 0.14), (0.58, 0.22, 0.26)),
        yaw=float(rng.uniform(-0.6, 0.6)),
    )
    _no_two_in_one(scene)
    place_blocks(scene, rng)
    return scene


def _no_two_in_one(scene: StartScene) -> None:
    """Keep at most one block in the drawer and one on the shelf: the others lie on the desk."""
    for place in ("drawer", "shelf"):
        for index in [index for index, where in enumerate(scene.places) if where == place][1:]:
            scene.places[index] = "flat"


def place_blocks(scene: StartScene, rng: np.random.Generator) -> None:
    """Draw a pose for every block from its place; blocks on the desk keep their distance."""
    for _ in range(200):
        scene.poses = np.stack([_pose(place, scene.drawer, rng) for place in scene.places])
        desk = [index for index, place in enumerate(scene.places) if place in ("flat", "upright")]
        gaps = [np.linalg.norm(scene.poses[a, :2] - scene.poses[b, :2]) for a in desk for b in desk if a < b]
        if not gaps or min(gaps) > CLEARANCE:
            return
    raise RuntimeError(f"place_blocks: found no room for blocks at {scene.places}")


def _pose(place: str, drawer: float, rng: np.random.Generator) -> NDArray[np.float64]:
    half_length, half_width, _ = playroom.BLOCK_HALF
    yaw = float(rng.uniform(-np.pi / 2, np.pi / 2))
    if place == "drawer":
        x = rng.uniform(*DRAWER_X) + (1.0 - drawer) * playroom.DRAWER_TRAVEL
        y = playroom.DRAWER_Y + rng.uniform(-0.05, 0.05)
        position, yaw = (x, y, playroom.DRAWER_FLOOR + half_width + 0.001), np.pi / 2 + float(rng.uniform(-0.3, 0.3))
    elif place == "shelf":
        position = (rng.uniform(*SHELF_X), rng.uniform(*SHELF_Y), playroom.SHELF_FLOOR + half_width + 0.001)
        yaw = float(rng.uniform(-0.2, 0.2))
    else:
        height = half_length if place == "upright" else half_width
        position = (rng.uniform(*DESK_X), rng.uniform(*DESK_Y), height + 0.001)
    cosine, sine = np.cos(yaw / 2), np.sin(yaw / 2)
    if place == "upright":  # turned about y by -90 degrees after the yaw, so that the long axis is vertical
        tilt = np.sqrt(0.5)
        quaternion = (cosine * tilt, sine * tilt, -cosine * tilt, sine * tilt)
    else:
        quaternion = (cosine, 0.0, 0.0, sine)
    return np.array([*position, *quaternion])
