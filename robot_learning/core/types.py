"""The data that flows: observations, actions, goals, steps, outcomes, episodes and statistics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import SpecMismatch
from robot_learning.core.spec import RobotSpec

Observation = Mapping[str, NDArray[Any]]
"""One array per key of the robot's spec, ``time`` (row clock [s]) and, where a stream has its own clock,
``time/<stream>`` (capture time of that stream, monotonic [s])."""

Action = NDArray[Any]
"""One action, shape ``[a]``, in the units of ``RobotSpec.action``."""

Goal = Mapping[str, Any]
"""What to reach: observation keys with the arrays to reach (one frame each, no time axis), and/or
``instruction`` with a text. Empty: no goal."""

STREAM_TIME_PREFIX = "time/"
"""Prefix of observation keys that hold the capture time of one stream."""


@dataclass(frozen=True)
class End:
    """What an actor returns instead of an action when it is finished.

    Attributes:
        reason: Why, in a few words, e.g. ``task done``.
        success: The actor's own verdict, None when it has none.
    """

    reason: str = "actor finished"
    success: bool | None = None


@dataclass(frozen=True)
class Outcome:
    """How an episode ended.

    Attributes:
        success: True or False when somebody judged it, None when unlabelled.
        reason: Why it ended, e.g. ``done``, ``max_steps``, ``safety: ...``.
        steps: Number of actions applied.
        duration_s: Time from the first observation to the last, on the loop's clock.
        overruns: Control periods that ended late.
        interventions: Actions changed by a guard.
    """

    success: bool | None = None
    reason: str = ""
    steps: int = 0
    duration_s: float = 0.0
    overruns: int = 0
    interventions: int = 0


@dataclass(frozen=True)
class Step:
    """One turn of the loop, as observers see it.

    Attributes:
        index: 0 for the first action of the episode.
        observation: What the actor saw.
        requested: What the actor asked for, shape ``[a]``.
        applied: What the robot says it really did, shape ``[a]``.
        source: Who asked, e.g. ``policy`` or ``human``.
        next_observation: What was observed one control period later.
        reward: Reward of the step, NaN when nobody computed one.
        latency_s: Time from having the observation to the action's being sent [s], on the loop's clock.
    """

    index: int
    observation: Observation
    requested: Action
    applied: Action
    source: str
    next_observation: Observation
    reward: float = float("nan")
    latency_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Trial:
    """One attempt that an evaluation asks for; the same trials are run by every policy that is compared.

    Attributes:
        task: Name of the task, for results per task.
        seed: Seeds the robot's reset and the policy's generator.
        goal: What the actor is told to reach; empty for none.
        max_steps: Control steps allowed.
        start: What ``Robot.reset(start=...)`` restores; None draws the start from ``seed``.
        instruction: The task in words.
    """

    task: str
    seed: int
    goal: Goal
    max_steps: int
    start: Mapping[str, NDArray[Any]] | None = None
    instruction: str = ""

    @property
    def told(self) -> Goal:
        """Return what an actor is told: the goal and, where there is one, the instruction."""
        return {**self.goal, "instruction": self.instruction} if self.instruction else self.goal


@dataclass(frozen=True, eq=False)
class Transitions:
    """Pairs of observations from stored episodes, some time apart, that tell a policy what to do.

    Attributes:
        before: Observation keys ``[n, ...]``.
        after: The same keys, later in the same episode.
        reward: What happened in between is worth, ``[n]``; None where nobody said.
    """

    before: Mapping[str, NDArray[Any]]
    after: Mapping[str, NDArray[Any]]
    reward: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Episode:
    """T actions and the observations around them.

    Attributes:
        observation: One array per key, first axis ``n`` rows. ``n`` is T+1, or T where an imported data set
            did not record what followed the last action.
        action: Requested actions, shape ``[T, a]``.
        applied: Actions the robot really did, shape ``[T, a]``; equal to ``action`` where unknown.
        time: Row clock [s], monotonic, shape ``[n]``, float64.
        stream_time: Capture time per stream [s], shape ``[n]`` each; may be empty.
        source: Who acted, one name per action, length T.
        reward: Shape ``[T]``, NaN where unlabelled.
        outcome: How it ended.
        instruction: What was asked in words, empty when nothing was.
        meta: JSON-ready extras: ``seed``, ``operator``, ``wall_time`` (UNIX seconds at ``time == time[0]``), ...
    """

    observation: Mapping[str, NDArray[Any]]
    action: NDArray[Any]
    applied: NDArray[Any]
    time: NDArray[np.float64]
    source: tuple[str, ...]
    reward: NDArray[np.float32]
    stream_time: Mapping[str, NDArray[np.float64]] = field(default_factory=lambda: MappingProxyType({}))
    outcome: Outcome = field(default_factory=Outcome)
    instruction: str = ""
    meta: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Check that all arrays agree on the number of rows and steps."""
        rows, steps = self.rows, self.steps
        if steps < 1 or rows not in (steps, steps + 1):
            raise SpecMismatch(f"episode: expected T+1 (or T) observations for T actions, got {rows} for {steps}")
        lengths = {f"observation {key!r}": (len(value), rows) for key, value in self.observation.items()}
        lengths |= {f"stream_time {key!r}": (len(value), rows) for key, value in self.stream_time.items()}
        lengths |= {name: (len(getattr(self, name)), steps) for name in ("applied", "source", "reward")}
        wrong = [f"{name}: expected {want} rows, got {got}" for name, (got, want) in lengths.items() if got != want]
        if wrong:
            raise SpecMismatch("episode: " + "; ".join(wrong))

    @property
    def steps(self) -> int:
        """Return T, the number of actions."""
        return len(self.action)

    @property
    def rows(self) -> int:
        """Return n, the number of observations."""
        return len(self.time)

    def validate(self, spec: RobotSpec) -> None:
        """Raise :class:`SpecMismatch` unless every array has the shape and dtype kind that ``spec`` promises."""
        missing = sorted(set(spec.observation) - set(self.observation))
        extra = sorted(set(self.observation) - set(spec.observation))
        if missing or extra:
            raise SpecMismatch(f"episode: missing observation keys {missing}, unexpected keys {extra}")
        for key, array_spec in spec.observation.items():
            array_spec.validate(self.observation[key][0], f"observation {key!r}")
        spec.validate_action(self.action[0])
        spec.validate_action(self.applied[0])


@dataclass(frozen=True, eq=False)
class Stats:
    """Summary of one array over all its rows, element by element (images: per channel).

    Attributes:
        count: Number of rows.
        mean: Mean of each element.
        std: Standard deviation of each element.
        low: Minimum of each element.
        high: Maximum of each element.
        q01: 1 % quantile of each element.
        q99: 99 % quantile of each element.
    """

    count: int
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    q01: NDArray[np.float64]
    q99: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description; inverse of :meth:`from_json`."""
        arrays = {name: getattr(self, name).tolist() for name in ("mean", "std", "low", "high", "q01", "q99")}
        return {"count": self.count, **arrays}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Stats":
        """Build statistics from :meth:`to_json`'s output."""
        arrays = {name: np.asarray(value, dtype=np.float64) for name, value in data.items() if name != "count"}
        return cls(count=int(data["count"]), **arrays)
