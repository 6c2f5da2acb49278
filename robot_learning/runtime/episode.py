"""The one loop: it collects, evaluates, replays and deploys, in simulation and on a robot.

    reset -> (act -> guard.check -> robot.apply -> clock.tick -> observe -> observers)* -> robot.stop -> on_end

Simulation and reality differ only in the robot and the clock. Whatever happens, the robot is stopped first and the
observers hear how the episode ended afterwards, so that writing a file never delays a stop.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError, SafetyStop
from robot_learning.core.protocols import Actor, Clock, Guard, Robot, StepObserver
from robot_learning.core.types import End, Goal, Observation, Outcome, Step

Done = Callable[[Observation], bool | End | None]
"""Judges the newest observation: True ends the episode as a success, an :class:`End` ends it as it says. False (not
done yet) and None (no opinion) let it go on; an episode whose last verdict is False has failed."""


def run_episode(
    robot: Robot,
    actor: Actor,
    guard: Guard,
    clock: Clock,
    *,
    max_steps: int,
    seed: int | None = None,
    goal: Goal | None = None,
    start: Mapping[str, NDArray[Any]] | None = None,
    done: Done | None = None,
    observers: Iterable[StepObserver] = (),
) -> Outcome:
    """Run one episode on a connected robot and return how it ended.

    A ``SafetyStop``, whoever raises it, ends the episode with the reason ``safety: ...``. Any other exception,
    Ctrl-C included, is told to the observers as the reason and then raised again.

    Args:
        robot: Connected; stopped on every way out, closed by the caller.
        actor: Chooses actions. When it is also a StepObserver it is told what was applied.
        guard: Checks every action.
        clock: Paces the loop; reset once the first observation is there.
        max_steps: Largest number of actions.
        seed: Seeds the robot's start and the actor.
        goal: What the actor is told to reach.
        start: Observation keys the robot shall start from.
        done: Judges every observation after the first.
        observers: Called in this order.

    Returns:
        The outcome. ``success`` is the actor's or the judge's verdict, None when nobody has one.
    """
    if max_steps < 1:
        raise ConfigError(f"run_episode: expected max_steps of at least 1, got {max_steps}")
    episode = _Episode(robot, actor, guard, clock, done, _watchers(actor, observers))
    with ExitStack() as farewells:
        try:
            end = episode.run(farewells, max_steps, seed, goal, start)
        except SafetyStop as stop:
            end = End(f"safety: {stop}", success=False)
        except KeyboardInterrupt:
            end = End("interrupted")
            raise
        except BaseException as error:
            end = End(f"{type(error).__name__}: {error}")
            raise
        finally:
            robot.stop()
            episode.finish(end)
    return episode.outcome


def _watchers(actor: Actor, observers: Iterable[StepObserver]) -> list[StepObserver]:
    watchers = list(observers)
    if isinstance(actor, StepObserver) and not any(watcher is actor for watcher in watchers):
        watchers.insert(0, actor)
    return watchers


@dataclass
class _Episode:
    """The episode under way."""

    robot: Robot
    actor: Actor
    guard: Guard
    clock: Clock
    done: Done | None
    watchers: list[StepObserver]
    steps: int = 0
    interventions: int = 0
    duration_s: float = 0.0
    failing: bool = False
    outcome: Outcome = field(default_factory=Outcome)

    def run(
        self,
        farewells: ExitStack,
        max_steps: int,
        seed: int | None,
        goal: Goal | None,
        start: Mapping[str, NDArray[Any]] | None,
    ) -> End:
        """Play until somebody ends the episode; ``farewells`` gets ``on_end`` of all who saw the start."""
        self.guard.reset()
        self.actor.reset(seed=seed, goal=goal)
        observation = self.robot.reset(seed=seed, start=start)
        for watcher in self.watchers:
            watcher.on_reset(observation, goal=goal, seed=seed)
            farewells.callback(partial(self._tell_end, watcher))
        self.clock.reset()
        began = observed = self.clock.now()
        while self.steps < max_steps:
            action = self.actor.act(observation)
            if isinstance(action, End):
                return self._judged(action)
            step = self._step(observation, action, observed)
            observed = self.clock.now()
            self.duration_s = observed - began
            observation = step.next_observation
            for watcher in self.watchers:
                watcher.on_step(step)
            end = self._verdict(observation)
            if end is not None:
                return end
        return self._judged(End("max_steps"))

    def finish(self, end: End) -> None:
        """Fix the outcome."""
        self.outcome = Outcome(
            success=end.success,
            reason=end.reason,
            steps=self.steps,
            duration_s=self.duration_s,
            overruns=self.clock.overruns,
            interventions=self.interventions,
        )

    def _step(self, observation: Observation, action: NDArray[Any], observed: float) -> Step:
        requested = self.robot.spec.validate_action(action).copy()
        source = self.actor.source
        safe = self.guard.check(observation, requested.copy())
        applied = self.robot.apply(safe)
        latency = self.clock.now() - observed
        self.interventions += not np.array_equal(safe, requested)
        self.clock.tick()
        self.steps += 1
        return Step(
            index=self.steps - 1,
            observation=observation,
            requested=requested,
            applied=applied,
            source=source,
            next_observation=self.robot.observe(),
            latency_s=latency,
        )

    def _verdict(self, observation: Observation) -> End | None:
        verdict = self.done(observation) if self.done is not None else None
        if isinstance(verdict, End):
            return verdict
        self.failing = verdict is not None and not verdict
        return End("done", success=True) if verdict else None

    def _judged(self, end: End) -> End:
        """Return ``end`` as a failure when nobody else has a verdict and the judge's last word was "not done"."""
        return End(end.reason, success=False) if end.success is None and self.failing else end

    def _tell_end(self, watcher: StepObserver) -> None:
        watcher.on_end(self.outcome)
