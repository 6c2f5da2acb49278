"""How the scripted operator handles blocks: grips, lifts, carries, drags, pushes, turns and topples them.

Where a thing can be done in several ways each way is a skill here, and :mod:`.skills` lists them by task.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robot_learning.sim import playroom, sampling
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
from robot_learning.sim.tasks.table import BLOCKS, FALL, fall_room

YAW_RANGE = (-1.75, 2.4)
"""Turns of the downward tool that joint 7 can reach everywhere on the desk [rad]."""
GRASP_DEPTH = 0.009
"""How far below a block's centre the fingertips close [m]."""
PUSH_WIDTH = 0.026
"""Opening of the fingers that push a block [m]."""


def turns(angle: float, period: float, low: float = YAW_RANGE[0], high: float = YAW_RANGE[1]) -> list[float]:
    """Return the turns equal to ``angle`` up to multiples of ``period`` and within limits [rad]."""
    return [angle + period * k for k in range(-4, 5) if low <= angle + period * k <= high]


def grasp(scene: Scene, rng: np.random.Generator, style: Style, block: int, yaw: float, width: float = OPEN) -> Skill:
    """Close the gripper around a block, trying again when it slips; the offset chooses where along the block."""
    upright = scene.upright(block)
    along = 0.0 if upright else 0.014 * style.offset
    height = 0.020 + 0.006 * style.offset if upright else -GRASP_DEPTH

    def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
        axis = now.axes[block] * np.sign(now.axes[block] @ scene.axes[block] or 1.0)
        shift = along * np.array([axis[0], axis[1], 0.0])
        return now.positions[block] + shift + point(0.0, 0.0, height), yaw

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
    target = point(x, y, floor + below + 0.003)
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


def _grip(scene: Scene, rng: np.random.Generator, block: int) -> float:
    """Draw one of the turns in which the fingers fit around a block [rad]."""
    upright = scene.upright(block)
    fitting = turns(scene.face(block), np.pi / 2) if upright else turns(scene.angle(block), np.pi)
    return float(rng.choice(fitting))


def lift(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
    """Grasp a block on the desk and lift it."""
    scene = yield from grasp(scene, rng, style, block, _grip(scene, rng, block))
    return (yield from rise(scene, 0.15 if scene.upright(block) else 0.13, CLOSED))


def fetch(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
    """Take a block out of the drawer or off the shelf and lay it on a free spot of the desk."""
    scene = yield from grasp(scene, rng, style, block, _grip(scene, rng, block), 0.064)
    scene = yield from rise(scene, 0.12, CLOSED)
    x, y = free_spot(scene, rng, block)
    return (yield from put_down(scene, style, x, y, 0.0, scene.yaw))


def put_into_shelf(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
    """Lay a block from the desk into the shelf, along x."""
    scene = yield from grasp(scene, rng, style, block, _grip(scene, rng, block))
    scene = yield from rise(scene, 0.12, CLOSED)
    y = playroom.SHELF_Y + 0.035 * style.offset
    return (yield from put_down(scene, style, playroom.SHELF_X, y, playroom.SHELF_FLOOR, 0.0))


def carry_into_drawer(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
    """Lay a block from the desk into the open drawer, along x."""
    scene = yield from grasp(scene, rng, style, block, _grip(scene, rng, block))
    scene = yield from rise(scene, 0.09, CLOSED)
    y = playroom.DRAWER_Y + 0.05 * style.offset
    return (yield from put_down(scene, style, sum(sampling.DRAWER_X) / 2, y, playroom.DRAWER_FLOOR, 0.0))


def turn(direction: int) -> Factory:
    """Return the skill that turns a flat block in place, to the left (1) or right (-1)."""

    def skill(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
        angle = direction * (0.88 + 0.12 * style.offset)  # at most YAW_RANGE's span less pi, so that a grasp always fits
        low, high = YAW_RANGE[0] - min(angle, 0.0), YAW_RANGE[1] - max(angle, 0.0)
        yaw = float(rng.choice(turns(scene.angle(block), np.pi, low, high)))
        scene = yield from grasp(scene, rng, style, block, yaw)
        place = scene.tool + point(0.0, 0.0, 0.004)
        scene = yield from move(scene, lambda _now: place, yaw + angle, CLOSED, patience=30)
        scene = yield from squeeze(scene, OPEN)
        return (yield from rise(scene, 0.09, OPEN))

    return skill


def _far_enough(scene: Scene, style: Style, block: int, side: int) -> Callable[[Scene], bool]:
    start = float(scene.positions[block, 1])
    distance = 0.115 + 0.02 * style.offset
    return lambda now: bool(side * (now.positions[block, 1] - start) > distance)


def push(side: int) -> Factory:
    """Return the skill that pushes a flat block to the left (1) or right (-1) from behind."""

    def skill(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
        axis = scene.axes[block]
        behind = 0.05 * abs(axis[1]) + 0.02 * abs(axis[0]) + 0.030
        yaw = np.pi / 2
        enough = _far_enough(scene, style, block, side)

        def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
            x, y, _ = now.positions[block]
            return point(x, y - side * behind, 0.014), yaw

        def ahead(now: Scene) -> NDArray[np.float64]:
            return point(now.positions[block, 0], now.tool[1] + side * 0.06, 0.014)

        scene = yield from pause(scene, rng, style)
        scene = yield from approach(scene, style, spot, PUSH_WIDTH)
        scene = yield from move(scene, ahead, yaw, PUSH_WIDTH, until=enough, speed=0.55)
        return (yield from rise(scene, 0.09, PUSH_WIDTH))

    return skill


def drag(side: int) -> Factory:
    """Return the skill that grips a flat block and drags it over the desk to the left (1) or right (-1)."""

    def skill(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
        yaw = _grip(scene, rng, block)
        enough = _far_enough(scene, style, block, side)
        scene = yield from grasp(scene, rng, style, block, yaw)
        x, _, z = scene.tool

        def ahead(now: Scene) -> NDArray[np.float64]:
            return point(x, now.tool[1] + side * 0.06, z + 0.002)

        scene = yield from move(scene, ahead, yaw, CLOSED, until=enough, speed=0.7)
        scene = yield from squeeze(scene, OPEN)
        return (yield from rise(scene, 0.09, OPEN))

    return skill


def push_into_drawer(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
    """Push a block over the desk's edge into the open drawer."""
    axis = scene.axes[block]
    behind = 0.05 * abs(axis[0]) + 0.02 * abs(axis[1]) + 0.028

    def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
        x, y, _ = now.positions[block]
        return point(x + behind, y, 0.014), 0.0

    def ahead(now: Scene) -> NDArray[np.float64]:
        return point(now.tool[0] - 0.06, now.positions[block, 1], 0.014)

    def gone(now: Scene) -> bool:
        return bool(now.positions[block, 2] < -0.012 or now.tool[0] < playroom.DESK_FRONT - 0.035)

    scene = yield from pause(scene, rng, style)
    scene = yield from approach(scene, style, spot, PUSH_WIDTH)
    scene = yield from move(scene, ahead, 0.0, PUSH_WIDTH, until=gone, speed=0.6)
    return (yield from rise(scene, 0.09, PUSH_WIDTH))


def topple(scene: Scene, rng: np.random.Generator, style: Style, block: int) -> Skill:
    """Tip an upright block over, to the left or the right."""
    sides = [side for side in (-1, 1) if fall_room(scene, block, side) > FALL]
    side = style.side if style.side in sides or not sides else sides[0]

    def spot(now: Scene) -> tuple[NDArray[np.float64], float]:
        x, y, z = now.positions[block]
        return point(x, y - side * 0.058, z + 0.022), 0.0

    def ahead(now: Scene) -> NDArray[np.float64]:
        return point(now.positions[block, 0], now.tool[1] + side * 0.05, 0.072)

    scene = yield from pause(scene, rng, style)
    scene = yield from approach(scene, style, spot, CLOSED)
    scene = yield from move(scene, ahead, 0.0, CLOSED, until=lambda now: abs(now.axes[block, 2]) < 0.75, speed=0.6, patience=25)
    return (yield from rise(scene, 0.12, CLOSED))
