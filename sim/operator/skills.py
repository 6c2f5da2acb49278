"""One skill per task: how the scripted operator does it, with the choices a person would make differently each time."""

from collections.abc import Callable, Generator

import numpy as np
from numpy.typing import NDArray

from robot_learning.sim import playroom, sampling
from robot_learning.sim.operator.motion import (
    CLOSED,
    OPEN,
    Skill,
    Style,
    Waypoint,
    approach,
    move,
    pause,
    rise,
    squeeze,
)
from robot_learning.sim.scene import Scene
from robot_learning.sim.tasks.table import BLOCKS, FALL, fall_room

YAW_RANGE = (-1.75, 2.4)
"""Turns of the downward tool that joint 7 can reach everywhere on the desk [rad]."""
GRASP_DEPTH = 0.009
"""How far below a block's centre the fingertips close [m]."""
_PUSH_WIDTH = 0.026
Factory = Callable[[Scene, np.random.Generator, Style, int], Skill]


def _point(x: float, y: float, z: float) -> NDArray[np.float64]:
    return np.array([x, y, z])


def nearest_yaw(angle: float, period: float, now: float, low: float = YAW_RANGE[0], high: float = YAW_RANGE[1]) -> float:
    """Return the turn equal to ``angle`` up to multiples of ``period``: within limits, small, near the present one."""
    options = [angle + period * k for k in range(-4, 5) if low <= angle + period * k <= high]
    return min(options, key=lambda yaw: abs(yaw - now) + 0.8 * abs(yaw))


def grasp(scene: Scene, rng: np.random.Generator, style: Style, block: int, yaw: float, width: float = OPEN) -> Skill:
    """Close the gripper around a block, trying again when it slips; the offset chooses where along the block."""
    upright = scene.upright(block)
    along = 0.0 if upright else 0.014 * style.offset
    height = 0.020 + 0.006 * style.offset if upright else -GRASP_DEPTH

    def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
        axis = now.axes[block] * np.sign(now.axes[block] @ scene.axes[block] or 1.0)
        shift = along * np.array([axis[0], axis[1], 0.0])
        return now.positions[block] + shift + _point(0.0, 0.0, height), yaw

    for _ in range(3):
        scene = yield from pause(scene, rng, style)
        scene = yield from approach(scene, style, spot, width)
        scene = yield from squeeze(scene, CLOSED)
        if scene.held() == block:
            return scene
        scene = yield from rise(scene, scene.tool[2] + 0.06, width)
    return scene


def put_down(scene: Scene, style: Style, x: float, y: float, floor: float, yaw: float) -> Skill:
    """Set a held block down at a place and let go."""
    block = scene.held()
    below = scene.tool[2] - scene.bottoms[block] if block is not None else GRASP_DEPTH + 0.02
    target = _point(x, y, floor + below + 0.003)
    scene = yield from approach(scene, style, lambda _now: (target, yaw), CLOSED, tolerance=0.009)
    scene = yield from squeeze(scene, OPEN)
    return (yield from rise(scene, 0.10, OPEN))


def free_spot(scene: Scene, rng: np.random.Generator, block: int) -> tuple[float, float]:
    """Return a place on the desk away from the other blocks, a nearby one where there is a choice."""
    others = [index for index in BLOCKS if index != block]
    spots = np.column_stack([rng.uniform(*sampling.DESK_X, 40), rng.uniform(-0.20, 0.19, 40)])
    gaps = np.min([np.linalg.norm(spots - scene.positions[index, :2], axis=1) for index in others], axis=0)
    roomy = spots[gaps > 0.125]
    if not len(roomy):
        return tuple(spots[int(np.argmax(gaps))])
    return tuple(roomy[int(np.argmin(np.linalg.norm(roomy - scene.tool[:2], axis=1)))])


def let_go(scene: Scene, rng: np.random.Generator, style: Style) -> Skill:
    """Put down whatever the hand holds, on a free spot of the desk."""
    block = scene.held()
    if block is None:
        return scene
    x, y = free_spot(scene, rng, block)
    return (yield from put_down(scene, style, x, y, 0.0, scene.yaw))


def _grasp_yaw(scene: Scene, block: int) -> float:
    if scene.upright(block):
        return nearest_yaw(scene.face(block), np.pi / 2, scene.yaw)
    return nearest_yaw(scene.angle(block), np.pi, scene.yaw)


def lift(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
    """Grasp a block on the desk and lift it."""
    scene = yield from grasp(scene, rng, style, block, _grasp_yaw(scene, block))
    return (yield from rise(scene, 0.15 if scene.upright(block) else 0.13, CLOSED))


def fetch(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
    """Take a block out of the drawer or off the shelf and lay it on a free spot of the desk."""
    scene = yield from grasp(scene, rng, style, block, _grasp_yaw(scene, block), 0.064)
    scene = yield from rise(scene, 0.12, CLOSED)
    x, y = free_spot(scene, rng, block)
    return (yield from put_down(scene, style, x, y, 0.0, scene.yaw))


def put_into_shelf(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
    """Lay a block from the desk into the shelf, along x."""
    scene = yield from grasp(scene, rng, style, block, _grasp_yaw(scene, block))
    scene = yield from rise(scene, 0.12, CLOSED)
    y = playroom.SHELF_Y + 0.035 * style.offset
    return (yield from put_down(scene, style, playroom.SHELF_X, y, playroom.SHELF_FLOOR, 0.0))


def _turn(direction: int) -> Factory:
    def skill(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
        angle = direction * (0.88 + 0.12 * style.offset)  # at most YAW_RANGE's span less pi, so that a grasp always fits
        low, high = YAW_RANGE[0] - min(angle, 0.0), YAW_RANGE[1] - max(angle, 0.0)
        yaw = nearest_yaw(scene.angle(block), np.pi, scene.yaw, max(low, YAW_RANGE[0]), min(high, YAW_RANGE[1]))
        scene = yield from grasp(scene, rng, style, block, yaw)
        place = scene.tool + _point(0.0, 0.0, 0.004)
        scene = yield from move(scene, lambda _now: place, yaw + angle, CLOSED, patience=30)
        scene = yield from squeeze(scene, OPEN)
        return (yield from rise(scene, 0.09, OPEN))

    return skill


def _sweep(side: int) -> Factory:
    def skill(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
        axis = scene.axes[block]
        behind = 0.05 * abs(axis[1]) + 0.02 * abs(axis[0]) + 0.030
        yaw = np.pi / 2
        start = scene.positions[block].copy()
        distance = 0.115 + 0.02 * style.offset

        def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
            x, y, _ = now.positions[block]
            return _point(x, y - side * behind, 0.014), yaw

        def ahead(now: Scene) -> NDArray[np.float64]:
            return _point(now.positions[block, 0], now.tool[1] + side * 0.06, 0.014)

        def enough(now: Scene) -> bool:
            return bool(side * (now.positions[block, 1] - start[1]) > distance)

        scene = yield from pause(scene, rng, style)
        scene = yield from approach(scene, style, spot, _PUSH_WIDTH)
        scene = yield from move(scene, ahead, yaw, _PUSH_WIDTH, until=enough, speed=0.55)
        return (yield from rise(scene, 0.09, _PUSH_WIDTH))

    return skill


def sweep_object(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
    """Push a block over the desk's edge into the open drawer."""
    axis = scene.axes[block]
    behind = 0.05 * abs(axis[0]) + 0.02 * abs(axis[1]) + 0.028

    def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
        x, y, _ = now.positions[block]
        return _point(x + behind, y, 0.014), 0.0

    def ahead(now: Scene) -> NDArray[np.float64]:
        return _point(now.tool[0] - 0.06, now.positions[block, 1], 0.014)

    def gone(now: Scene) -> bool:
        return bool(now.positions[block, 2] < -0.012 or now.tool[0] < playroom.DESK_FRONT - 0.035)

    scene = yield from pause(scene, rng, style)
    scene = yield from approach(scene, style, spot, _PUSH_WIDTH)
    scene = yield from move(scene, ahead, 0.0, _PUSH_WIDTH, until=gone, speed=0.6)
    return (yield from rise(scene, 0.09, _PUSH_WIDTH))


def knock_object(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
    """Tip an upright block over, to the left or the right."""
    sides = [side for side in (-1, 1) if fall_room(scene, block, side) > FALL]
    side = style.side if style.side in sides or not sides else sides[0]

    def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
        x, y, z = now.positions[block]
        return _point(x, y - side * 0.058, z + 0.022), 0.0

    def ahead(now: Scene) -> NDArray[np.float64]:
        return _point(now.positions[block, 0], now.tool[1] + side * 0.05, 0.072)

    scene = yield from pause(scene, rng, style)
    scene = yield from approach(scene, style, spot, CLOSED)
    scene = yield from move(scene, ahead, 0.0, CLOSED, until=lambda now: abs(now.axes[block, 2]) < 0.75, speed=0.6, patience=25)
    return (yield from rise(scene, 0.12, CLOSED))


def _slide_door(opening: bool) -> Factory:
    side = -1 if opening else 1

    def skill(scene: Scene, rng: np.random.Generator, style: Style, _block: int) -> Skill:
        x = playroom.DOOR_HANDLE_X + 0.018 * style.offset

        def handle(now: Scene) -> float:
            return playroom.SHELF_Y - now.door * playroom.DOOR_TRAVEL

        def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
            return _point(x, handle(now) - side * 0.042, 0.066), 0.0

        def ahead(now: Scene) -> NDArray[np.float64]:
            return _point(x, now.tool[1] + side * 0.06, 0.066)

        def there(now: Scene) -> bool:
            return now.door > 0.95 if opening else now.door < 0.05

        scene = yield from pause(scene, rng, style)
        scene = yield from approach(scene, style, spot, CLOSED)
        scene = yield from move(scene, ahead, 0.0, CLOSED, until=there, speed=0.8)
        return (yield from rise(scene, 0.14, CLOSED))

    return skill


def _slide_drawer(opening: bool) -> Factory:
    side = -1 if opening else 1
    gap = playroom.DRAWER_HANDLE_GAP

    def skill(scene: Scene, rng: np.random.Generator, style: Style, _block: int) -> Skill:
        y = playroom.DRAWER_Y + 0.035 * style.offset

        def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
            x = playroom.DRAWER_HANDLE_X - now.drawer * playroom.DRAWER_TRAVEL
            return _point(x + gap, y, -0.028), 0.0

        def ahead(now: Scene) -> NDArray[np.float64]:
            return _point(now.tool[0] + side * 0.06, y, -0.028)

        def there(now: Scene) -> bool:
            return now.drawer > 0.97 if opening else now.drawer < 0.03

        scene = yield from pause(scene, rng, style)
        scene = yield from approach(scene, style, spot, CLOSED, tolerance=0.006)
        scene = yield from move(scene, ahead, 0.0, CLOSED, until=there, speed=0.7)
        return (yield from rise(scene, 0.09, CLOSED))

    return skill


def _press(index: int) -> Factory:
    def skill(scene: Scene, rng: np.random.Generator, style: Style, _block: int) -> Skill:
        x, y = playroom.BUTTON_X[index], playroom.BUTTON_Y + 0.010 * style.offset
        before = scene.lights[index]
        top = playroom.BUTTON_TOP

        def spot(_now: Scene) -> tuple[NDArray[np.float64], float]:
            return _point(x, y, top + 0.020), 0.0

        scene = yield from pause(scene, rng, style)
        scene = yield from approach(scene, style, spot, CLOSED, tolerance=0.010)
        scene = yield from move(
            scene,
            lambda now: _point(x, y, now.tool[2] - 0.035),
            0.0,
            CLOSED,
            until=lambda now: now.lights[index] != before,
            speed=0.5,
            patience=25,
        )
        return (yield from rise(scene, top + 0.07, CLOSED))

    return skill


SKILLS: dict[str, Factory] = {
    "grasp_lift": fetch,
    "grasp_upright": lift,
    "grasp_flat": lift,
    "open_sliding": _slide_door(True),
    "close_sliding": _slide_door(False),
    "open_drawer": _slide_drawer(True),
    "close_drawer": _slide_drawer(False),
    "sweep_object": sweep_object,
    "knock_object": knock_object,
    "push_red_button": _press(0),
    "push_green_button": _press(1),
    "push_blue_button": _press(2),
    "rotate_left": _turn(1),
    "rotate_right": _turn(-1),
    "sweep_left": _sweep(1),
    "sweep_right": _sweep(-1),
    "put_into_shelf": put_into_shelf,
    "pull_out_of_shelf": fetch,
}
"""The skill for each task, by the task's name."""

__all__ = ["SKILLS", "Generator", "Waypoint", "let_go"]
