"""Scripted experts for Lift, Stack and Door, through ``OSC_POSE``: they see what the robot observes and nothing else.

An expert is a routine: a generator that is sent the newest :class:`View` and yields the :class:`Move` to head for. Where
the tool flies depends on where it still has to go, not on a clock, which is what makes the motions learnable. A routine
that sees that it failed starts again; it never ends by itself, the environment says when the task is done.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import UnknownName
from robot_learning.core.types import Action, Goal, Observation
from robot_learning.sim.kinematics import rotation_vector
from robot_learning.sim.suites.robosuite.tasks import state_spec, task_of

OPEN, CLOSED = -1.0, 1.0
STEP_M, STEP_RAD = 0.05, 0.5
"""What an action of 1 asks of ``OSC_POSE`` [m], [rad]."""
CLEARANCE = 0.10
"""How far above a thing the tool crosses to it [m]."""
_GRASP_STEPS = 8
"""Control steps in which the Panda's fingers close on a cube and stop moving."""
_HANDLE_RADIUS = 0.125
"""From the axis of the door's latch to the handle's site [m] (robosuite's door_lock.xml)."""
_FREE, _TURNED = 1.2, 1.4
"""Angles of the latch from which the door can be pulled, and to which it is turned [rad]; it is clear of the frame at 1.16."""
_UP = np.array([0.0, 0.0, 1.0])

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """One observation, as the routines read it.

    Attributes:
        tool: Position of the tool [m].
        rotation: Rotation matrix of the tool; its fingers open along the x axis.
        state: The numbers of ``object_state`` by name.
    """

    tool: Vector
    rotation: Vector
    state: dict[str, float]

    @classmethod
    def of(cls, observation: Observation, names: tuple[str, ...]) -> "View":
        """Read an observation."""
        x, y = np.asarray(observation["ee_rotation6d"], np.float64).reshape(2, 3)
        rotation = np.stack((x, y, np.cross(x, y)), axis=1)
        state = dict(zip(names, map(float, observation["object_state"]), strict=True))
        return cls(np.asarray(observation["ee_pose"][:3], np.float64), rotation, state)

    @property
    def yaw(self) -> float:
        """Return the direction in which the fingers open [rad]."""
        return float(np.arctan2(self.rotation[1, 0], self.rotation[0, 0]))

    def position(self, thing: str) -> Vector:
        """Return where a thing is [m]."""
        return np.array([self.state[f"{thing} {axis} [m]"] for axis in "xyz"])

    def turn(self, thing: str) -> float:
        """Return how a thing that stands upright is turned about the vertical [rad]."""
        return 2.0 * float(np.arctan2(self.state[f"{thing} qz"], self.state[f"{thing} qw"]))

    def here(self, grip: float) -> "Move":
        """Return the move that stays and opens or closes the fingers."""
        return Move(self.tool, self.rotation[:, 2], self.rotation[:, 0], grip)

    def above(self, thing: str) -> "Move":
        """Return the move to a place above a thing, with open fingers that point down."""
        return Move(self.position(thing) + CLEARANCE * _UP, -_UP, _flat(self.yaw), OPEN)


@dataclass(frozen=True)
class Move:
    """Where to head now.

    Attributes:
        position: Of the tool [m].
        pointing: Direction of the fingers.
        opening: Direction in which they open, across ``pointing``; the opposite one is the same.
        grip: ``OPEN`` or ``CLOSED``.
    """

    position: Vector
    pointing: Vector
    opening: Vector
    grip: float

    def rotation(self, now: Vector) -> Vector:
        """Return the tool's rotation matrix, of the two that look alike the one nearer to ``now``."""
        wanted = np.stack((self.opening, np.cross(self.pointing, self.opening), self.pointing), axis=1)
        return max(wanted, wanted * [-1.0, -1.0, 1.0], key=lambda rotation: float(np.sum(rotation * now)))


Routine = Generator[Move, View, View]


class Expert:
    """The actor that does one task.

    Args:
        task: ``Lift``, ``Stack`` or ``Door``.

    Raises:
        UnknownName: There is no expert for this task.
    """

    source = "expert"

    def __init__(self, task: str) -> None:
        """Look the routine up."""
        if task not in ROUTINES:
            raise UnknownName("expert of robosuite", task, ROUTINES)
        self._routine = ROUTINES[task]
        self._names = state_spec(task_of(task)).names
        self._plan: Routine | None = None

    def reset(self, *, seed: int | None = None, goal: Goal | None = None) -> None:  # noqa: ARG002 - nothing is drawn
        """Start anew."""
        self._plan = None

    def act(self, observation: Observation) -> Action:
        """Return the next action, shape ``[7]``."""
        view = View.of(observation, self._names)
        if self._plan is None:
            self._plan = self._routine(view)
            return _action(view, next(self._plan))
        return _action(view, self._plan.send(view))


def lift(view: View) -> Routine:
    """Take the cube and raise it."""
    while True:
        view = yield from grasp(view, "cube", _square(view.turn("cube"), view.yaw))
        view = yield from carry(view, "cube", view.position("cube") + CLEARANCE * _UP)


def stack(view: View) -> Routine:
    """Take the red cube, carry it over the green one and let it go there."""
    while True:
        view = yield from grasp(view, "red cube", _free_yaw(view))
        view = yield from carry(view, "red cube", view.position("red cube") + CLEARANCE * _UP)
        seat = view.position("green cube") + 0.046 * _UP  # half of either cube, and 1 mm to fall
        view = yield from carry(view, "red cube", seat + 0.05 * _UP)
        view = yield from carry(view, "red cube", seat)
        view = yield from squeeze(view, OPEN)
        view = yield from go(view, lambda now: now.above("red cube"))


def door(view: View) -> Routine:
    """Take the handle from the front, turn it until the latch is free, and pull."""
    while True:
        view = yield from go(view, lambda now: _at_handle(now, 0.12, OPEN))
        view = yield from go(view, lambda now: _at_handle(now, 0.0, OPEN))
        view = yield from squeeze(view, CLOSED)
        while np.linalg.norm(view.position("handle") - view.tool) < 0.04:
            view = yield _at_handle(view, 0.0, CLOSED, turn=0.4, pull=0.05 if view.state["latch [rad]"] > _FREE else 0.0)
        view = yield from squeeze(view, OPEN)


ROUTINES: dict[str, Callable[[View], Routine]] = {"Lift": lift, "Stack": stack, "Door": door}


def approach(view: View, thing: str, yaw: float, *, patience: int = 120) -> Routine:
    """Fly to a thing and come down on it from above, with open fingers."""
    for _ in range(patience):
        spot = view.position(thing)
        away = float(np.linalg.norm((spot - view.tool)[:2]))
        turned = abs(_nearest(view.yaw - yaw, np.pi, 0.0))
        if np.linalg.norm(spot - view.tool) < 0.006 and turned < 0.06:
            break
        height = min(CLEARANCE, 2.0 * max(0.0, away - 0.006) + 0.3 * max(0.0, turned - 0.06))
        view = yield Move(spot + height * _UP, -_UP, _flat(yaw), OPEN)
    return view


def grasp(view: View, thing: str, yaw: float) -> Routine:
    """Close the fingers around a thing."""
    view = yield from approach(view, thing, yaw)
    return (yield from squeeze(view, CLOSED))


def squeeze(view: View, grip: float) -> Routine:
    """Open or close the fingers in place."""
    here = view.here(grip)
    for _ in range(_GRASP_STEPS):
        view = yield here
    return view


def carry(view: View, thing: str, place: Vector, *, patience: int = 60) -> Routine:
    """Bring a held thing to a place [m]; give up where it is no longer in the hand."""
    opening = _flat(view.yaw)
    for _ in range(patience):
        held, way = view.position(thing) - view.tool, place - view.position(thing)
        if np.linalg.norm(held) > 0.04 or np.linalg.norm(way) < 0.004:
            break
        view = yield Move(view.tool + way, -_UP, opening, CLOSED)
    return view


def go(view: View, target: Callable[[View], Move], *, patience: int = 80) -> Routine:
    """Head for what ``target`` says until the tool is there."""
    for _ in range(patience):
        move = target(view)
        turned = np.linalg.norm(rotation_vector(move.rotation(view.rotation) @ view.rotation.T))
        if np.linalg.norm(move.position - view.tool) < 0.008 and turned < 0.08:
            break
        view = yield move
    return view


def _at_handle(view: View, away: float, grip: float, *, turn: float = 0.0, pull: float = 0.0) -> Move:
    """Return the move to the door's handle, as it is after turning it [rad] and pulling it [m]; ``away`` is in front [m]."""
    along = view.turn("door") - 0.5 * np.pi + view.state["hinge [rad]"]
    out, bar = _flat(along - 0.5 * np.pi), _flat(along)
    latch = view.state["latch [rad]"]
    axis = view.position("handle") - _HANDLE_RADIUS * (np.cos(latch) * bar - np.sin(latch) * _UP)
    latch = min(latch + turn, _TURNED)
    spot = axis + _HANDLE_RADIUS * (np.cos(latch) * bar - np.sin(latch) * _UP)
    return Move(spot + (away + pull) * out, -out, np.sin(latch) * bar + np.cos(latch) * _UP, grip)


def _action(view: View, move: Move) -> Action:
    """Return the action that heads for a move: all of the way, as far as one action reaches."""
    way = (move.position - view.tool) / STEP_M
    turn = rotation_vector(move.rotation(view.rotation) @ view.rotation.T) / STEP_RAD
    way, turn = (vector / max(1.0, float(np.linalg.norm(vector))) for vector in (way, turn))
    return np.array([*way, *turn, move.grip], dtype=np.float32)


def _nearest(angle: float, period: float, to: float) -> float:
    """Return the angle equal to ``angle`` up to multiples of ``period`` that is nearest to another [rad]."""
    return angle + period * round((to - angle) / period)


def _square(angle: float, to: float) -> float:
    """Return the side of a cube that is nearest to where the fingers are [rad]."""
    return _nearest(angle, 0.5 * np.pi, to)


def _free_yaw(view: View) -> float:
    """Return the side of the red cube where the fingers stay clear of the green one [rad]."""
    way = view.position("green cube") - view.position("red cube")
    side = _square(view.turn("red cube"), view.yaw)
    if np.linalg.norm(way) > 0.12:
        return side
    options = (side, side + 0.5 * np.pi if side < view.yaw else side - 0.5 * np.pi)
    return min(options, key=lambda yaw: abs(float(_flat(yaw) @ way)))


def _flat(angle: float) -> Vector:
    return np.array([np.cos(angle), np.sin(angle), 0.0])
