"""The 18 tasks of "Learning Latent Plans from Play" (Lynch et al., CoRL 2019) on the play table.

Each task is a pure function of scenes: may it be started here (``feasible``), and did it happen (``success``, comparing
the scene before with the scene now). Where ours differ from the paper's: blocks look the same turned by half a turn, so
that a quarter turn to the left and one to the right would end alike; ``rotate_left`` and ``rotate_right`` ask for a
turn between 30 and 85 degrees instead. Buttons stand on the desk, and each press toggles its light.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from robot_learning.core.errors import UnknownName
from robot_learning.sim import playroom
from robot_learning.sim.scene import OPEN, Scene, half_turn

SWEEP = 0.07
"""A sweep to the side moves a block by at least this [m]."""
TURN = (np.radians(30.0), np.radians(85.0))
"""A rotation turns a block by an angle in this range [rad]."""
ROOM = 0.095
"""Distance to the next block that fingers need around a block [m]."""
FALL = 0.19
"""Room that an upright block needs beside it to fall over [m]."""
BLOCKS = range(len(playroom.BLOCK_NAMES))


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: The paper's name for it.
        instructions: Five wordings; ``{block}`` stands for the block's colour.
        candidates: Blocks (or a single 0 for furniture) that the task can be done with in a scene; empty: not feasible.
        done: Tells whether it happened to one candidate, comparing the scene before with the scene now.
    """

    name: str
    instructions: tuple[str, str, str, str, str]
    candidates: Callable[[Scene], list[int]]
    done: Callable[[Scene, Scene, int], bool]

    def feasible(self, scene: Scene) -> bool:
        """Tell whether the task can be started here."""
        return bool(self.candidates(scene))

    def success(self, before: Scene, now: Scene) -> bool:
        """Tell whether the task happened to any of its candidates since ``before``."""
        return any(self.done(before, now, block) for block in self.candidates(before))

    def instruction(self, rng: np.random.Generator, block: int = 0, wordings: Sequence[int] | None = None) -> str:
        """Return one of the wordings, or of those numbered in ``wordings``, with the block named."""
        among = self.instructions if wordings is None else [self.instructions[index] for index in wordings]
        return str(rng.choice(np.array(among))).format(block=playroom.BLOCK_NAMES[block])


def _blocks(condition: Callable[[Scene, int], bool]) -> Callable[[Scene], list[int]]:
    return lambda scene: [block for block in BLOCKS if condition(scene, block)]


def _furniture(condition: Callable[[Scene], bool]) -> Callable[[Scene], list[int]]:
    return lambda scene: [0] if condition(scene) else []


def _free_flat(scene: Scene, block: int) -> bool:
    return scene.on_desk(block) and scene.flat(block) and scene.gap(block) > ROOM


def _free_upright(scene: Scene, block: int) -> bool:
    return scene.on_desk(block) and scene.upright(block) and scene.gap(block) > ROOM


def fall_room(scene: Scene, block: int, side: int) -> float:
    """Return how much free desk an upright block has on its left (1) or right (-1) to fall on [m]."""
    x, y, _ = scene.positions[block]
    room = 0.27 - side * y
    for other in BLOCKS:
        dx, dy = scene.positions[other, 0] - x, side * (scene.positions[other, 1] - y)
        if other != block and abs(dx) < 0.10 and dy > 0.0:
            room = min(room, dy)
    return float(room)


def _can_fall(scene: Scene, block: int) -> bool:
    return _free_upright(scene, block) and max(fall_room(scene, block, side) for side in (-1, 1)) > FALL


def _turned(before: Scene, now: Scene, block: int) -> float:
    """Return by how much a flat block that stayed on the desk was turned, ccw positive [rad]; 0 if it did not stay."""
    if not (now.on_desk(block) and now.flat(block)):
        return 0.0
    return half_turn(now.angle(block) - before.angle(block))


def _swept(before: Scene, now: Scene, block: int) -> float:
    """Return how far to the left a block was moved over the desk [m]; 0 when it did not stay flat on it."""
    if not (now.on_desk(block) and now.flat(block)):
        return 0.0
    return float(now.positions[block, 1] - before.positions[block, 1])


def _corridor(scene: Scene, block: int, side: int) -> bool:
    """Tell whether a block can be swept to a side: nothing in the way, room to start behind it."""
    x, y, _ = scene.positions[block]
    if not (_free_flat(scene, block) and -0.27 < y + 0.145 * side < 0.245):
        return False
    for other in BLOCKS:
        dx, dy = scene.positions[other, 0] - x, side * (scene.positions[other, 1] - y)
        if other != block and abs(dx) < 0.10 and -0.14 < dy < 0.24:
            return False
    return True


def _before_drawer(scene: Scene, block: int) -> bool:
    x, y, _ = scene.positions[block]
    reach = 0.05 * abs(scene.axes[block, 0]) + 0.02 * abs(scene.axes[block, 1])
    opposite = abs(y - playroom.DRAWER_Y) < 0.06 and x + reach < 0.570
    return _free_flat(scene, block) and opposite and scene.drawer > 0.9 and not any(map(scene.in_drawer, BLOCKS))


def _in_open_drawer(scene: Scene, block: int) -> bool:
    x, y, _ = scene.positions[block]
    clear = 0.335 < x < 0.392 and abs(y - playroom.DRAWER_Y) < 0.075
    return scene.in_drawer(block) and scene.flat(block) and scene.drawer > 0.9 and clear


def _drawer_can_close(scene: Scene) -> bool:
    sticking_out = any(scene.in_drawer(block) and not scene.flat(block) for block in BLOCKS)
    over = any(0.26 < x < 0.44 and z > -0.01 for x, _, z in scene.positions)
    return scene.drawer > OPEN and not sticking_out and not over


def _shelf_is_empty(scene: Scene) -> bool:
    return not any(map(scene.on_shelf, BLOCKS))


def _lit(index: int) -> Callable[[Scene, Scene, int], bool]:
    return lambda before, now, _block: before.lights[index] != now.lights[index]


def _button(name: str, index: int) -> Task:
    return Task(
        f"push_{name}_button",
        (
            f"push the {name} button",
            f"press the {name} button",
            f"switch the {name} light",
            f"tap the {name} button once",
            f"toggle the {name} lamp",
        ),
        _furniture(lambda _scene: True),
        _lit(index),
    )


_ALL = (
    Task(
        "grasp_lift",
        (
            "take the {block} block out of the drawer",
            "lift the {block} block from the drawer onto the desk",
            "get the {block} block out of the drawer",
            "grasp the {block} block in the drawer and put it on the desk",
            "empty the drawer",
        ),
        _blocks(_in_open_drawer),
        lambda _before, now, block: now.on_desk(block),
    ),
    Task(
        "grasp_upright",
        (
            "lift the {block} block that stands upright",
            "pick up the standing {block} block",
            "grasp the upright {block} block",
            "raise the {block} tower",
            "take hold of the standing {block} block and lift it",
        ),
        _blocks(_free_upright),
        lambda _before, now, block: now.lifted(block) and now.upright(block),
    ),
    Task(
        "grasp_flat",
        (
            "lift the {block} block that lies flat",
            "pick up the lying {block} block",
            "grasp the flat {block} block",
            "raise the {block} block from the desk",
            "take hold of the lying {block} block and lift it",
        ),
        _blocks(_free_flat),
        lambda _before, now, block: now.lifted(block),
    ),
    Task(
        "open_sliding",
        (
            "open the sliding door",
            "slide the door to the right",
            "uncover the shelf",
            "push the door open",
            "move the door off the shelf",
        ),
        _furniture(lambda scene: scene.door < 1.0 - OPEN),
        lambda _before, now, _block: now.door > OPEN,
    ),
    Task(
        "close_sliding",
        (
            "close the sliding door",
            "slide the door to the left",
            "cover the shelf",
            "push the door shut",
            "move the door over the shelf",
        ),
        _furniture(lambda scene: scene.door > OPEN),
        lambda _before, now, _block: now.door < 1.0 - OPEN,
    ),
    Task(
        "open_drawer",
        ("open the drawer", "pull the drawer out", "pull the handle", "slide the drawer open", "draw the drawer out"),
        _furniture(lambda scene: scene.drawer < 1.0 - OPEN),
        lambda _before, now, _block: now.drawer > OPEN,
    ),
    Task(
        "close_drawer",
        ("close the drawer", "push the drawer in", "shut the drawer", "slide the drawer closed", "push the handle in"),
        _furniture(_drawer_can_close),
        lambda _before, now, _block: now.drawer < 1.0 - OPEN,
    ),
    Task(
        "sweep_object",
        (
            "sweep the {block} block into the drawer",
            "push the {block} block off the desk into the drawer",
            "drop the {block} block into the drawer",
            "wipe the {block} block into the open drawer",
            "put the {block} block away into the drawer",
        ),
        _blocks(_before_drawer),
        lambda _before, now, block: now.in_drawer(block),
    ),
    Task(
        "knock_object",
        (
            "knock the {block} block over",
            "tip the {block} block over",
            "make the {block} tower fall",
            "push the standing {block} block over",
            "topple the {block} block",
        ),
        _blocks(_can_fall),
        lambda _before, now, block: now.flat(block) and now.on_desk(block),
    ),
    *(_button(name, index) for index, name in enumerate(playroom.BUTTON_NAMES)),
    Task(
        "rotate_left",
        (
            "turn the {block} block to the left",
            "rotate the {block} block counter-clockwise",
            "twist the {block} block left",
            "spin the {block} block to the left",
            "turn the {block} block counter-clockwise",
        ),
        _blocks(_free_flat),
        lambda before, now, block: TURN[0] < _turned(before, now, block) < TURN[1],
    ),
    Task(
        "rotate_right",
        (
            "turn the {block} block to the right",
            "rotate the {block} block clockwise",
            "twist the {block} block right",
            "spin the {block} block to the right",
            "turn the {block} block clockwise",
        ),
        _blocks(_free_flat),
        lambda before, now, block: -TURN[1] < _turned(before, now, block) < -TURN[0],
    ),
    Task(
        "sweep_left",
        (
            "sweep the {block} block to the left",
            "push the {block} block left",
            "slide the {block} block to the left",
            "move the {block} block over to the left",
            "wipe the {block} block left",
        ),
        _blocks(lambda scene, block: _corridor(scene, block, 1)),
        lambda before, now, block: _swept(before, now, block) > SWEEP,
    ),
    Task(
        "sweep_right",
        (
            "sweep the {block} block to the right",
            "push the {block} block right",
            "slide the {block} block to the right",
            "move the {block} block over to the right",
            "wipe the {block} block right",
        ),
        _blocks(lambda scene, block: _corridor(scene, block, -1)),
        lambda before, now, block: _swept(before, now, block) < -SWEEP,
    ),
    Task(
        "put_into_shelf",
        (
            "put the {block} block on the shelf",
            "place the {block} block into the shelf",
            "store the {block} block on the shelf",
            "lay the {block} block into the cabinet",
            "move the {block} block from the desk to the shelf",
        ),
        _blocks(lambda scene, block: _free_flat(scene, block) and scene.door > 0.9 and _shelf_is_empty(scene)),
        lambda _before, now, block: now.on_shelf(block),
    ),
    Task(
        "pull_out_of_shelf",
        (
            "take the {block} block off the shelf",
            "pull the {block} block out of the shelf",
            "bring the {block} block from the shelf to the desk",
            "get the {block} block out of the cabinet",
            "move the {block} block from the shelf to the desk",
        ),
        _blocks(lambda scene, block: scene.on_shelf(block) and scene.flat(block) and scene.door > 0.9),
        lambda _before, now, block: now.on_desk(block),
    ),
)

TASKS = {task.name: task for task in _ALL}
"""The 18 tasks by name."""


def task(name: str) -> Task:
    """Return a task by name; raises :class:`UnknownName` with the nearest names."""
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    return TASKS[name]
