"""Run a policy on a robot in real time: inference beside the loop, guards on, everything measured and recorded.

The same function drives a simulated and a real robot. Before the clock starts the policy is warmed up and everything
that could delay a control step is put to rest (:mod:`robot_learning.serving.realtime`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError
from robot_learning.core.protocols import Guard, Policy, Robot, StepObserver
from robot_learning.core.spec import check_compatible
from robot_learning.core.types import End, Goal, Outcome
from robot_learning.datasets.recorder import Recorder
from robot_learning.datasets.store import DemoStore
from robot_learning.learning.interrupt import Gently, Interrupt
from robot_learning.runtime.actors import ChunkedActor
from robot_learning.runtime.asynchronous import AsyncActor
from robot_learning.runtime.clock import WallClock
from robot_learning.runtime.episode import Done, run_episode
from robot_learning.runtime.guards import standard_guards
from robot_learning.runtime.timing import Percentiles, ProgressLine, Timing, TimingReport
from robot_learning.serving.realtime import lower_inference, undisturbed

STALE_S = 0.5
"""Without other guards an observation may be this old."""


@dataclass(frozen=True)
class Execution:
    """How chunks become actions.

    Attributes:
        execute: Rows of a chunk to play before the next one is asked for.
        ensemble: Temporal ensembling with this ``m``; None follows the newest chunk.
        asynchronous: Think in a thread beside the loop; False lets the control step wait.
        patience: Part of a control period that a step may wait for the chunk of its own observation. A policy
            faster than that acts as if it were waited for, and a slower one never delays the loop by more.
        relative: Elements of the action (name or index) that are motions, and zero while no chunk says otherwise.
    """

    execute: int = 1
    ensemble: float | None = None
    asynchronous: bool = True
    patience: float = 0.5
    relative: Sequence[str | int] = ()

    def actor(self, policy: Policy) -> AsyncActor | ChunkedActor:
        """Return the actor that executes ``policy`` this way."""
        if not self.asynchronous:
            return ChunkedActor(policy, execute=self.execute, ensemble=self.ensemble)
        return AsyncActor(
            policy,
            execute=self.execute,
            ensemble=self.ensemble,
            patience_s=self.patience * policy.spec.dt,
            relative=tuple(self.relative),
            initializer=lower_inference,
        )


@dataclass(frozen=True)
class DeployReport:
    """What happened.

    Attributes:
        robot: Name of the robot.
        control_hz: The rate that was asked for [1/s].
        real_time: Whether the loop had real-time priority.
        outcome: How it ended.
        timing: How regularly it ran.
        inference: How long the policy took per chunk.
        chunks: How many chunks it made.
        held: Steps for which no chunk was there, so that the robot held.
        store: Where the episode was recorded, None when it was not.
        episode: Its index there.
    """

    robot: str
    control_hz: float
    real_time: bool
    outcome: Outcome
    timing: TimingReport
    inference: Percentiles
    chunks: int
    held: int
    store: str | None
    episode: int | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description; what was not measured is null."""
        return {key: _without_nan(value) for key, value in asdict(self).items()}

    def __str__(self) -> str:
        """Return the report as lines of a terminal."""
        timing, outcome = self.timing, self.outcome
        verdict = {True: "success", False: "failure", None: "not judged"}[outcome.success]
        recorded = "not recorded" if self.store is None else f"episode {self.episode} of {self.store}"
        rows = {
            "robot": f"{self.robot}, {'real-time' if self.real_time else 'normal'} priority",
            "outcome": f"{verdict} ({outcome.reason}) after {outcome.steps} steps, {outcome.duration_s:.1f} s",
            "rate": f"{timing.rate_hz:.2f} Hz of {self.control_hz:g} Hz",
            "jitter": str(timing.jitter),
            "latency": f"{timing.latency} from observation to action",
            "inference": f"{self.inference} per chunk, {self.chunks} chunks" if self.chunks else "in the control step",
            "overruns": f"{timing.overruns_start} in the first second, {timing.overruns} after it",
            "held": f"{self.held} steps without a chunk",
            "guards": f"{outcome.interventions} actions changed",
            "record": recorded,
        }
        return "\n".join(f"  {name:<10}{text}" for name, text in rows.items())


def deploy(
    policy: Policy,
    robot: Robot,
    goal: Goal | None = None,
    *,
    seconds: float = 60.0,
    execution: Execution | None = None,
    guard: Guard | None = None,
    seed: int | None = None,
    start: Mapping[str, NDArray[Any]] | None = None,
    done: Done | None = None,
    store: DemoStore | None = None,
    meta: Mapping[str, Any] | None = None,
    observers: Sequence[StepObserver] = (),
    progress: bool = True,
    clock: WallClock | None = None,
) -> DeployReport:
    """Run ``policy`` on ``robot`` in real time; Ctrl-C or SIGTERM ends it after the step under way, and saves.

    Args:
        policy: Must fit the robot.
        robot: Connected, stopped and closed here.
        goal: What to reach.
        seconds: How long at most.
        execution: How chunks become actions.
        guard: Checks every action; None takes the standard chain.
        seed: Seeds the robot's start and the policy.
        start: Observation keys the robot shall start from.
        done: Ends the episode when it says so.
        store: Open for writing; the episode is appended to it.
        meta: JSON-ready notes recorded with the episode.
        observers: More observers of the loop.
        progress: Keep a line of the terminal up to date.
        clock: Another clock than the wall (for tests).
    """
    check_compatible(policy.spec, robot.spec, what="the robot does not fit the policy")
    max_steps = round(seconds * robot.spec.control_hz)
    if max_steps < 1:
        raise ConfigError(f"seconds: expected at least one control period of {robot.spec.dt:g} s, got {seconds:g}")
    clock = clock or WallClock(robot.spec.dt)
    guard = guard if guard is not None else standard_guards(robot.spec, max_age_s=STALE_S)
    actor = (execution or Execution()).actor(policy)
    timing, recorder = Timing(clock), None if store is None else Recorder(store, meta=meta)
    watchers: list[StepObserver] = [timing, *observers, *([] if recorder is None else [recorder])]
    if progress:
        watchers.append(ProgressLine(timing, seconds=seconds, hz=robot.spec.control_hz, extra=lambda: _held(actor)))
    with _running(robot, actor) as (interrupt, real_time):
        outcome = run_episode(
            robot,
            actor,
            guard,
            clock,
            max_steps=max_steps,
            seed=seed,
            goal=goal,
            start=start,
            done=lambda observation: _stopped(interrupt) or (done(observation) if done is not None else None),
            observers=[Gently(interrupt), *watchers],
        )
    return _report(robot, actor, outcome, timing.report(), recorder, real_time=real_time)


def _stopped(interrupt: Interrupt) -> End | None:
    return End("stopped by the operator") if interrupt.requested else None


@contextmanager
def _running(robot: Robot, actor: AsyncActor | ChunkedActor) -> Iterator[tuple[Interrupt, bool]]:
    """Connect and close the robot and the actor; yields what tells an operator's stop, and the priority."""
    with ExitStack() as stack:
        if isinstance(actor, AsyncActor):
            stack.enter_context(closing(actor))
        stack.enter_context(closing(robot))
        robot.connect()
        interrupt = stack.enter_context(Interrupt(gently=False))
        real_time = stack.enter_context(undisturbed())
        yield interrupt, real_time


def open_record(path: Path, robot: Robot, meta: Mapping[str, Any] | None = None) -> DemoStore:
    """Open the store at ``path`` for more episodes of ``robot``, or create it."""
    if not path.exists():
        return DemoStore.create(path, robot.spec, meta=dict(meta or {}))
    store = DemoStore.open(path, mode="a")
    try:
        check_compatible(robot.spec, store.spec, what=f"{path} was recorded with another robot")
    except Exception:
        store.close()
        raise
    return store


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _held(actor: AsyncActor | ChunkedActor) -> str:
    return f"   held {actor.held}" if isinstance(actor, AsyncActor) and actor.held else ""


def _report(
    robot: Robot,
    actor: AsyncActor | ChunkedActor,
    outcome: Outcome,
    timing: TimingReport,
    recorder: Recorder | None,
    *,
    real_time: bool,
) -> DeployReport:
    beside = actor if isinstance(actor, AsyncActor) else None
    seconds = np.empty(0) if beside is None else beside.inference_s
    return DeployReport(
        robot=robot.spec.name,
        control_hz=robot.spec.control_hz,
        real_time=real_time,
        outcome=outcome,
        timing=timing,
        inference=Percentiles.of(seconds),
        chunks=len(seconds),
        held=0 if beside is None else beside.held,
        store=None if recorder is None else str(recorder.store.path),
        episode=None if recorder is None else recorder.last_index,
    )
