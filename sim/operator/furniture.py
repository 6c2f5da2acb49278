"""How the scripted operator works drawer, door and buttons."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robot_learning.sim import playroom
from robot_learning.sim.operator.motion import (
    CLOSED,
    OPEN,
    Factory,
    Skill,
    Style,
    approach,
    move,
    pause,
    point,
    rise,
    squeeze,
)
from robot_learning.sim.scene import Scene

_BESIDE = 0.046
"""From the middle of the open gripper to the middle of either finger [m]."""


def _door_handle(scene: Scene) -> float:
    return playroom.SHELF_Y - scene.door * playroom.DOOR_TRAVEL


def _drawer_handle(scene: Scene) -> float:
    return playroom.DRAWER_HANDLE_X - scene.drawer * playroom.DRAWER_TRAVEL


def push_door(opening: bool) -> Factory:
    """Return the skill that pushes the door's handle from behind."""
    side = -1 if opening else 1

    def skill(scene: Scene, rng: np.random.Generator, style: Style, _block: int) -> Skill:
        x = playroom.DOOR_HANDLE_X + 0.018 * style.offset

        def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
            return point(x, _door_handle(now) - side * 0.042, 0.066), 0.0

        def ahead(now: Scene) -> NDArray[np.float64]:
            return point(x, now.tool[1] + side * 0.06, 0.066)

        scene = yield from pause(scene, rng, style)
        scene = yield from approach(scene, style, spot, CLOSED)
        scene = yield from move(scene, ahead, 0.0, CLOSED, until=_door_there(opening), speed=0.8)
        return (yield from rise(scene, 0.14, CLOSED))

    return skill


def grip_door(opening: bool) -> Factory:
    """Return the skill that takes the door's handle between the fingers and slides it."""
    side = -1 if opening else 1

    def skill(scene: Scene, rng: np.random.Generator, style: Style, _block: int) -> Skill:
        x = playroom.DOOR_HANDLE_X + 0.018 * style.offset

        def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
            return point(x, _door_handle(now), 0.062), 0.0

        def ahead(now: Scene) -> NDArray[np.float64]:
            return point(x, now.tool[1] + side * 0.06, 0.062)

        scene = yield from pause(scene, rng, style)
        scene = yield from approach(scene, style, spot, OPEN)
        scene = yield from squeeze(scene, CLOSED)
        scene = yield from move(scene, ahead, 0.0, CLOSED, until=_door_there(opening), speed=0.8)
        scene = yield from squeeze(scene, OPEN)
        return (yield from rise(scene, 0.14, OPEN))

    return skill


def _door_there(opening: bool) -> Callable[[Scene], bool]:
    return lambda now: now.door > 0.95 if opening else now.door < 0.05


def hook_drawer(opening: bool) -> Factory:
    """Return the skill that puts the closed fingers behind the drawer's handle, then pulls or pushes."""
    side = -1 if opening else 1

    def skill(scene: Scene, rng: np.random.Generator, style: Style, _block: int) -> Skill:
        y = playroom.DRAWER_Y + 0.035 * style.offset

        def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
            return point(_drawer_handle(now) + playroom.DRAWER_HANDLE_GAP, y, -0.028), 0.0

        def ahead(now: Scene) -> NDArray[np.float64]:
            return point(now.tool[0] + side * 0.06, y, -0.028)

        scene = yield from pause(scene, rng, style)
        scene = yield from approach(scene, style, spot, CLOSED, tolerance=0.006)
        scene = yield from move(scene, ahead, 0.0, CLOSED, until=_drawer_there(opening), speed=0.7)
        return (yield from rise(scene, 0.09, CLOSED))

    return skill


def grip_drawer(opening: bool) -> Factory:
    """Return the skill that takes the drawer's handle between the fingers, then pulls or pushes."""
    side, yaw = -1 if opening else 1, np.pi / 2
    around = 0.034  # puts one finger into the middle of the gap behind the bar

    def skill(scene: Scene, rng: np.random.Generator, style: Style, _block: int) -> Skill:
        y = playroom.DRAWER_Y + 0.035 * style.offset

        def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
            return point(_drawer_handle(now), y, -0.028), yaw

        def ahead(now: Scene) -> NDArray[np.float64]:
            return point(now.tool[0] + side * 0.06, y, -0.028)

        scene = yield from pause(scene, rng, style)
        scene = yield from approach(scene, style, spot, around, tolerance=0.006)
        scene = yield from squeeze(scene, CLOSED)
        scene = yield from move(scene, ahead, yaw, CLOSED, until=_drawer_there(opening), speed=0.7)
        scene = yield from squeeze(scene, around)
        return (yield from rise(scene, 0.09, around))

    return skill


def _drawer_there(opening: bool) -> Callable[[Scene], bool]:
    return lambda now: now.drawer > 0.97 if opening else now.drawer < 0.03


def press(index: int, yaw: float, *, finger: bool = False) -> Factory:
    """Return the skill that presses a button with the closed hand, or with the right finger of the open one."""
    width, beside = (OPEN, _BESIDE) if finger else (CLOSED, 0.0)

    def skill(scene: Scene, rng: np.random.Generator, style: Style, _block: int) -> Skill:
        x, y = playroom.BUTTON_X[index], playroom.BUTTON_Y + beside + 0.010 * style.offset
        before = scene.lights[index]
        top = playroom.BUTTON_TOP

        def spot(_now: Scene) -> tuple[NDArray[np.float64], float]:
            return point(x, y, top + 0.020), yaw

        scene = yield from pause(scene, rng, style)
        scene = yield from approach(scene, style, spot, width, tolerance=0.010)
        scene = yield from move(
            scene,
            lambda now: point(x, y, now.tool[2] - 0.035),
            yaw,
            width,
            until=lambda now: now.lights[index] != before,
            speed=0.5,
            patience=25,
        )
        return (yield from rise(scene, top + 0.07, width))

    return skill
