"""How the scripted hand moves: waypoints turned into smooth, slightly noisy tool motions, closed on what is observed.

A skill is a generator: it is sent the newest :class:`Scene` and yields the :class:`Waypoint` to head for. :class:`Hand`
turns waypoints into actions. Approaches come down a funnel: how high the tool flies depends on how far it still is from
the spot, so that the motion is a function of where things are and not of a clock, which is what makes it learnable.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_learning.sim import panda
from robot_learning.sim.robot import MAX_TRANSLATION
from robot_learning.sim.scene import Scene

TRAVEL = 0.145
"""Height at which the tool crosses the desk [m]."""
GAIN = 0.38
"""Share of the remaining way covered per step."""
YAW_GAIN = 0.35
OPEN = panda.GRIPPER_MAX_WIDTH
CLOSED = 0.0
_SLOPE = 1.6
"""Steepness of the funnel over an approach's end point."""


@dataclass(frozen=True)
class Style:
    """How one attempt is done; drawn anew for each.

    Attributes:
        speed: Fastest motion of the tool per step [m].
        noise: Standard deviation of the hand's tremor per step [m].
        pause: Chance of a short pause before a movement.
        offset: Where along a graspable or pushable thing to touch it, -1 to 1.
        travel: Height at which the tool crosses the desk [m].
        side: Preferred side, -1 or 1.
    """

    speed: float
    noise: float
    pause: float
    offset: float
    travel: float
    side: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Style":
        """Draw a style."""
        return cls(
            speed=float(rng.uniform(0.020, 0.028)),
            noise=float(rng.uniform(0.0003, 0.0009)),
            pause=0.06,
            offset=float(rng.uniform(-1.0, 1.0)),
            travel=TRAVEL + float(rng.uniform(-0.02, 0.02)),
            side=int(rng.choice([-1, 1])),
        )


@dataclass(frozen=True)
class Waypoint:
    """Where the hand should head now.

    Attributes:
        position: Position of the tool [m].
        yaw: Turn of the tool [rad].
        width: Opening of the gripper [m].
        speed: Fastest motion per step, as a share of the style's speed.
    """

    position: NDArray[np.float64]
    yaw: float
    width: float
    speed: float = 1.0


Skill = Generator[Waypoint, Scene, Scene]
"""Yields waypoints, is sent scenes, returns the last scene."""
Factory = Callable[[Scene, np.random.Generator, Style, int], Skill]
"""Begins a skill in a scene, in a style, with a block."""


def point(x: float, y: float, z: float) -> NDArray[np.float64]:
    """Return a position [m]."""
    return np.array([x, y, z])


class Hand:
    """Turns waypoints into actions with tremor and inertia."""

    def __init__(self, rng: np.random.Generator, style: Style) -> None:
        """Start at rest."""
        self._rng = rng
        self._style = style
        self._tremor = np.zeros(3)
        self._last = np.zeros(3)

    def action(self, scene: Scene, waypoint: Waypoint) -> NDArray[np.float32]:
        """Return the action, shape ``[7]``, that brings the tool toward the waypoint."""
        way = GAIN * (waypoint.position - scene.tool)
        limit = self._style.speed * waypoint.speed
        length = float(np.linalg.norm(way))
        if length > limit:
            way *= limit / length
        self._last = 0.35 * self._last + 0.65 * way
        self._tremor = 0.8 * self._tremor + self._rng.normal(0.0, self._style.noise, 3)
        step = np.clip(self._last + self._tremor, -MAX_TRANSLATION, MAX_TRANSLATION)
        turn = float(np.clip(YAW_GAIN * (waypoint.yaw - scene.yaw), -0.13, 0.13))
        grip = 2.0 * waypoint.width / panda.GRIPPER_MAX_WIDTH - 1.0
        return np.array([*step, 0.0, 0.0, turn, grip], dtype=np.float32)


def approach(
    scene: Scene,
    style: Style,
    spot: Callable[[Scene], tuple[NDArray[np.float64], float]],
    width: float,
    *,
    tolerance: float = 0.007,
    patience: int = 90,
) -> Skill:
    """Fly to a spot and come down on it from above; ``spot`` returns position and yaw for the scene as it is now."""
    for _ in range(patience):
        position, yaw = spot(scene)
        away = float(np.linalg.norm((position - scene.tool)[:2]))
        turned = abs(yaw - scene.yaw)
        if away < tolerance and abs(position[2] - scene.tool[2]) < tolerance and turned < 0.08:
            return scene
        height = min(position[2] + _SLOPE * max(0.0, away - 0.006) + 0.25 * max(0.0, turned - 0.15), style.travel)
        height = max(height, position[2])
        low = max(0.0, height - scene.tool[2])
        across = 1.0 if away < 0.012 else max(0.0, 1.0 - low / 0.04)  # rise before crossing
        target = np.array([*(scene.tool[:2] + across * (position - scene.tool)[:2]), height])
        scene = yield Waypoint(target, yaw, width, 1.0 if away > 0.03 else 0.8)
    return scene


def move(
    scene: Scene,
    target: Callable[[Scene], NDArray[np.float64]],
    yaw: float,
    width: float,
    *,
    until: Callable[[Scene], bool] | None = None,
    speed: float = 1.0,
    tolerance: float = 0.010,
    patience: int = 60,
) -> Skill:
    """Move straight to a point, until it is reached or ``until`` holds."""
    for _ in range(patience):
        point = target(scene)
        arrived = float(np.linalg.norm(point - scene.tool)) < tolerance and abs(yaw - scene.yaw) < 0.10
        if (until is not None and until(scene)) or (until is None and arrived):
            return scene
        scene = yield Waypoint(point, yaw, width, speed)
    return scene


def squeeze(scene: Scene, width: float, *, patience: int = 14) -> Skill:
    """Open or close the gripper in place until it no longer moves."""
    position, yaw = scene.tool.copy(), scene.yaw
    last, still = scene.width, 0
    for step in range(patience):
        scene = yield Waypoint(position, yaw, width)
        still = still + 1 if abs(scene.width - last) < 0.0012 else 0
        last = scene.width
        if step >= 3 and still >= 2:
            return scene
    return scene


def rise(scene: Scene, height: float, width: float) -> Skill:
    """Move straight up to a height."""
    x, y, _ = scene.tool
    return move(scene, lambda _scene: np.array([x, y, height]), scene.yaw, width, tolerance=0.02, patience=30)


def pause(scene: Scene, rng: np.random.Generator, style: Style) -> Skill:
    """Sometimes hesitate for a moment."""
    if rng.random() < style.pause:
        width = OPEN if scene.width > 0.07 else CLOSED
        for _ in range(int(rng.integers(2, 6))):
            scene = yield Waypoint(scene.tool, scene.yaw, width)
    return scene
