"""Guards between actor and robot: finite, limits, rate, workspace, freshness, and a chain of them.

Each guard returns a safe action or raises ``SafetyStop``. They are the first of three layers (the driver's and the
device's own limits are the others) and trust neither the actor nor the observation. An action that a guard changes
counts as an intervention.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.arguments import check_arguments
from robot_learning.core.errors import ConfigError, SafetyStop, UnknownName
from robot_learning.core.protocols import Guard
from robot_learning.core.spec import TIME_KEY, ArraySpec, RobotSpec
from robot_learning.core.types import STREAM_TIME_PREFIX, Action, Observation

OutOfRange = Literal["clip", "stop"]
"""What to do with an action outside its range: bring it to the nearest allowed one, or stop the robot."""

Amount = float | Sequence[float] | Mapping[str, float]
"""One number for all elements of the action, one per element, or a few by element name."""


class Finite:
    """Stops at a NaN or infinity in the action or in a floating-point observation, naming key and element.

    Args:
        spec: Names the elements in messages.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec

    def reset(self) -> None:
        """Do nothing: this guard has no memory."""

    def check(self, observation: Observation, action: Action) -> Action:
        """Return ``action`` when everything is finite."""
        for key, value in observation.items():
            _check_finite(f"observation {key!r}", value, self._spec.observation.get(key))
        _check_finite("action", action, self._spec.action)
        return action


class Limits:
    """Keeps actions within the bounds of the robot's spec.

    Args:
        spec: Its ``action`` bounds are kept; unbounded elements pass.
        out_of_range: What to do a little outside.
        margin: Where "far outside" begins, as a fraction of the element's range: there the actor is broken rather
            than imprecise, and the robot stops also when ``out_of_range`` is ``clip``.
    """

    def __init__(self, spec: RobotSpec, *, out_of_range: OutOfRange = "clip", margin: float = 1.0) -> None:
        self._action = spec.action
        self._mode = _checked_mode(out_of_range)
        self._low, self._high = _bounds(spec.action)
        width = self._high - self._low
        slack = np.zeros_like(width) if self._mode == "stop" else np.full_like(width, np.inf)
        if self._mode == "clip" and np.isfinite(margin):
            np.multiply(width, margin, out=slack, where=np.isfinite(width))
        self._far_low, self._far_high = self._low - slack, self._high + slack

    def reset(self) -> None:
        """Do nothing: this guard has no memory."""

    def check(self, observation: Observation, action: Action) -> Action:  # noqa: ARG002 - the protocol's signature
        """Return ``action`` within the bounds."""
        far = ~((action >= self._far_low) & (action <= self._far_high))  # NaN is far
        if np.any(far):
            index = int(np.argmax(far))
            raise SafetyStop(
                f"action {_element(self._action, index)}: expected {self._low[index]:g} to {self._high[index]:g}, "
                f"got {float(action[index]):g}"
            )
        return np.clip(action, self._low, self._high).astype(action.dtype, copy=False)


class Rate:
    """Keeps the change from one action to the next below a limit; the first action of an episode passes.

    Use it for absolute actions (joint positions, poses), where a jump of the action is a jump of the robot.

    Args:
        spec: Names the elements.
        max_change: Largest change per control step, in the action's units.
        out_of_range: Approach the action as far as allowed, or stop.
    """

    def __init__(self, spec: RobotSpec, *, max_change: Amount, out_of_range: OutOfRange = "clip") -> None:
        self._action = spec.action
        self._mode = _checked_mode(out_of_range)
        self._max_change = _per_element(spec.action, max_change)
        self._last: NDArray[np.float64] | None = None

    def reset(self) -> None:
        """Forget the last action."""
        self._last = None

    def check(self, observation: Observation, action: Action) -> Action:  # noqa: ARG002 - the protocol's signature
        """Return ``action`` moved towards the last one where it is further away than allowed."""
        safe = action.astype(np.float64)
        if self._last is not None:
            change = safe - self._last
            over = np.abs(change) > self._max_change * (1 + 1e-6)
            if self._mode == "stop" and np.any(over):
                index = int(np.argmax(over))
                raise SafetyStop(
                    f"action {_element(self._action, index)}: expected a change of at most "
                    f"{self._max_change[index]:g} per step, got {change[index]:+g}"
                )
            safe = np.where(over, self._last + np.clip(change, -self._max_change, self._max_change), safe)
        self._last = safe
        return safe.astype(action.dtype)


class Workspace:
    """Keeps the end effector in a box.

    With relative actions the part of a step that would leave the box is taken away; a tool that is outside already
    may move along the walls and back, but no further out. A tool further outside than ``margin_m`` stops the robot.

    Args:
        spec: Must have ``position_key``, whose first three elements are a position.
        low: Lower corner of the box [m].
        high: Upper corner of the box [m].
        position_key: Observation that holds the tool's position.
        relative_xyz: The three elements of the action that move the tool, by name or index; None for actions that
            do not say where the tool goes (joint positions), which leaves the check of the position.
        scale_m: How far [m] an action of 1 in those elements moves the tool in one step.
        margin_m: How far outside the tool may be before the robot stops.
        out_of_range: Shorten a step that would leave the box, or stop.
    """

    def __init__(
        self,
        spec: RobotSpec,
        *,
        low: Sequence[float],
        high: Sequence[float],
        position_key: str = "ee_position",
        relative_xyz: Sequence[str | int] | None = (0, 1, 2),
        scale_m: float = 1.0,
        margin_m: float = 0.05,
        out_of_range: OutOfRange = "clip",
    ) -> None:
        if position_key not in spec.observation:
            raise UnknownName("workspace position_key", position_key, spec.observation)
        self._key = position_key
        self._low, self._high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        if self._low.shape != (3,) or self._high.shape != (3,) or np.any(self._low >= self._high):
            raise ConfigError(f"workspace: expected three low values below three high ones, got {low} and {high}")
        self._elements = None if relative_xyz is None else [spec.action.index(item) for item in relative_xyz]
        self._scale_m = scale_m
        self._margin_m = margin_m
        self._mode = _checked_mode(out_of_range)

    def reset(self) -> None:
        """Do nothing: this guard has no memory."""

    def check(self, observation: Observation, action: Action) -> Action:
        """Return ``action`` with steps out of the box shortened."""
        position = np.asarray(observation[self._key], np.float64)[:3]
        outside = np.maximum(np.maximum(self._low - position, position - self._high), 0.0)
        if not np.all(outside <= self._margin_m):
            axis = int(np.argmax(outside))
            raise SafetyStop(
                f"{self._key} {'xyz'[axis]}: expected {self._low[axis]:g} to {self._high[axis]:g} m, "
                f"got {position[axis]:g} m; move the arm back by hand or widen the workspace"
            )
        if self._elements is None:
            return action
        step = action[self._elements].astype(np.float64) * self._scale_m
        allowed = np.clip(step, np.minimum(self._low - position, 0.0), np.maximum(self._high - position, 0.0))
        changed = allowed != step
        if self._mode == "stop" and np.any(changed):
            axis = int(np.argmax(changed))
            raise SafetyStop(f"{self._key} {'xyz'[axis]}: a step of {step[axis]:+g} m would leave the workspace")
        safe = action.copy()
        safe[self._elements] = np.where(changed, allowed / self._scale_m, action[self._elements])
        return safe


class Freshness:
    """Stops when the observation, or one of its streams, is older than a limit.

    Args:
        max_age_s: Largest age [s] when the action is about to be sent.
        same_clock: The observation's times come from ``now``'s clock, as on a real robot, so that age is a
            difference. False (a simulator, whose time is its own): age is how long ago the time last moved on,
            which still finds a frozen stream.
        streams: Also check every ``time/<stream>``.
        now: Monotonic time [s].
    """

    def __init__(
        self,
        max_age_s: float,
        *,
        same_clock: bool = False,
        streams: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if not max_age_s > 0:
            raise ConfigError(f"freshness: expected max_age_s above 0, got {max_age_s}")
        self.max_age_s = max_age_s
        self._same_clock = same_clock
        self._streams = streams
        self._now = now
        self._moved: dict[str, tuple[float, float]] = {}

    def reset(self) -> None:
        """Forget the past episode."""
        self._moved = {}

    def check(self, observation: Observation, action: Action) -> Action:
        """Return ``action`` when every stream is fresh."""
        now = self._now()
        for key, stamp in observation.items():
            if key == TIME_KEY or (self._streams and key.startswith(STREAM_TIME_PREFIX)):
                age = self._age(key, float(stamp), now)
                if age > self.max_age_s:
                    raise SafetyStop(
                        f"observation {key!r}: expected an age of at most {self.max_age_s:g} s, got {age:.3f} s; "
                        "check the sensor or raise max_age_s"
                    )
        return action

    def _age(self, key: str, stamp: float, now: float) -> float:
        if self._same_clock:
            return now - stamp
        last, since = self._moved.get(key, (np.nan, now))
        if stamp != last:
            since = now
        self._moved[key] = (stamp, since)
        return now - since


class Guards:
    """A chain: each guard sees the action that the one before made safe. An empty chain lets everything pass.

    Args:
        guards: In the order of checking.
    """

    def __init__(self, guards: Sequence[Guard] = ()) -> None:
        self.guards = tuple(guards)

    def reset(self) -> None:
        """Reset every guard."""
        for guard in self.guards:
            guard.reset()

    def check(self, observation: Observation, action: Action) -> Action:
        """Return the action after all guards."""
        for guard in self.guards:
            action = guard.check(observation, action)
        return action


def standard_guards(
    spec: RobotSpec,
    *,
    out_of_range: OutOfRange = "clip",
    margin: float = 1.0,
    max_change: Amount | None = None,
    workspace: Mapping[str, object] | None = None,
    max_age_s: float | None = None,
    same_clock: bool = False,
    now: Callable[[], float] = time.monotonic,
) -> Guards:
    """Return the chain for a robot: finite, fresh, within limits, smooth, inside the workspace.

    Args:
        spec: The robot's spec.
        out_of_range: For limits, rate and workspace alike.
        margin: See :class:`Limits`.
        max_change: See :class:`Rate`; None leaves it out.
        workspace: Keyword arguments of :class:`Workspace`; None leaves it out.
        max_age_s: See :class:`Freshness`; None leaves it out.
        same_clock: See :class:`Freshness`.
        now: Monotonic time [s].
    """
    guards: list[Guard] = [Finite(spec)]
    if max_age_s is not None:
        guards.append(Freshness(max_age_s, same_clock=same_clock, now=now))
    guards.append(Limits(spec, out_of_range=out_of_range, margin=margin))
    if max_change is not None:
        guards.append(Rate(spec, max_change=max_change, out_of_range=out_of_range))
    if workspace is not None:
        settings = {"out_of_range": out_of_range, **workspace}
        check_arguments(Workspace, ["spec", *settings], what="guard workspace")
        guards.append(Workspace(spec, **settings))  # type: ignore[arg-type]  # names checked above
    return Guards(guards)


def _check_finite(name: str, value: NDArray[np.generic], spec: ArraySpec | None) -> None:
    array = np.asarray(value)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    flat = int(np.argmin(np.isfinite(array)))
    where = np.unravel_index(flat, array.shape)
    element = _element(spec, int(where[0])) if array.ndim == 1 else str([int(index) for index in where])
    raise SafetyStop(f"{name} {element}: expected a finite value, got {array[where]}")


def _element(spec: ArraySpec | None, index: int) -> str:
    name = f" ({spec.names[index]})" if spec is not None and spec.names else ""
    return f"[{index}]{name}"


def _bounds(spec: ArraySpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low = np.full(spec.shape, -np.inf) if spec.low is None else spec.low.astype(np.float64)
    high = np.full(spec.shape, np.inf) if spec.high is None else spec.high.astype(np.float64)
    return low, high


def _per_element(spec: ArraySpec, amount: Amount) -> NDArray[np.float64]:
    if isinstance(amount, Mapping):
        values = np.full(spec.shape, np.inf)
        for name, value in amount.items():
            values[spec.index(name)] = value
    else:
        given = np.asarray(amount, np.float64)
        if given.shape not in ((), spec.shape):
            raise ConfigError(f"max_change: expected one number or {spec.shape[0]}, got {given.size}")
        values = np.broadcast_to(given, spec.shape).copy()
    if not np.all(values > 0):
        raise ConfigError(f"max_change: expected values above 0, got {amount}")
    return values


def _checked_mode(mode: OutOfRange) -> OutOfRange:
    if mode not in ("clip", "stop"):
        raise ConfigError(f"out_of_range: expected 'clip' or 'stop', got {mode!r}")
    return mode
