"""A policy that thinks while the robot moves: inference in its own thread, chunks stitched by time.

The control loop asks for a chunk and goes on with the one it has. A chunk that arrives ``d`` steps after its
observation starts at row ``d``: the rows before lie in the past and are never replayed. When no chunk covers the
present the robot holds, and that is counted. With a policy much faster than the control period, ``patience_s`` makes
the outcome equal to :class:`~robot_learning.runtime.actors.ChunkedActor`'s without ever risking the schedule.
"""

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError, Stale
from robot_learning.core.protocols import Policy
from robot_learning.core.spec import TIME_KEY
from robot_learning.core.types import Action, Goal, Observation, Outcome, Step
from robot_learning.runtime.history import History, Window, checked_chunk, goal_batch, warm_up
from robot_learning.runtime.plan import Plan

FIRST_CHUNK_S = 60.0
"""How long the start of an episode may wait for the first chunk, or for the worker to finish the last one."""

GoalBatch = dict[str, NDArray[np.generic]] | None


@dataclass(frozen=True)
class _Question:
    step: int
    window: Window
    goal: GoalBatch


@dataclass(frozen=True)
class _Answer:
    step: int
    chunk: NDArray[np.generic]
    seconds: float


class _Worker:
    """Answers one question at a time in a thread of its own."""

    def __init__(self, policy: Policy, now: Callable[[], float], initializer: Callable[[], object]) -> None:
        self._initializer = initializer
        self._policy = policy
        self._now = now
        self._questions: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[_Answer | BaseException] = queue.SimpleQueue()
        self.busy = False
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def ask(self, question: _Question) -> None:
        """Hand over a question; only when not busy."""
        self.busy = True
        self._questions.put(question)

    def answer(self, timeout_s: float = 0.0) -> _Answer | None:
        """Return the answer when it is there within the timeout; raises what the policy raised."""
        if not self.busy:
            return None
        try:
            answer = self._answers.get(block=timeout_s > 0, timeout=timeout_s or None)
        except queue.Empty:
            return None
        self.busy = False
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def thinking(self) -> bool:
        """Tell whether a question is not answered yet."""
        return self.busy and self._answers.empty()

    def close(self, timeout_s: float) -> bool:
        """End the thread after the question it is at; tell whether it ended in time."""
        self._questions.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._initializer()
        while (question := self._questions.get()) is not None:
            began = self._now()
            try:
                chunk = checked_chunk(self._policy, self._policy.act(question.window, question.goal))
            except BaseException as error:
                self._answers.put(error)
            else:
                self._answers.put(_Answer(question.step, chunk, self._now() - began))


class AsyncActor:
    """A policy whose inference runs beside the control loop. Close it, or use it as a context manager.

    Args:
        policy: A function of a window; called by one thread at a time.
        execute: Control steps between two questions (more when inference takes longer).
        ensemble: See :class:`~robot_learning.runtime.plan.Plan`.
        patience_s: How long a control step may wait for the chunk of its own observation, when chunks have been
            that fast or nothing else is there to do. 0 never waits.
        relative: Elements of the action (name or index) that are motions: while holding they are zero, the others
            keep their last value.
        source: Name recorded with every step.
        initializer: Called once in the inference thread, e.g. to set its priority.
        now: Monotonic time [s].
    """

    def __init__(
        self,
        policy: Policy,
        *,
        execute: int = 1,
        ensemble: float | None = None,
        patience_s: float = 0.0,
        relative: Sequence[str | int] = (),
        source: str = "policy",
        initializer: Callable[[], object] = object,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 1 <= execute <= policy.horizon:
            raise ConfigError(f"execute: expected 1 to the policy's horizon {policy.horizon}, got {execute}")
        if policy.horizon == 1 and patience_s <= 0:
            raise ConfigError(
                "asynchronous inference: a chunk of one action is in the past when it arrives; "
                "expected a horizon of 2 or more, or patience_s above 0"
            )
        self.source = source
        self.policy = policy
        self._execute = execute
        self._patience_s = patience_s
        self._relative = [policy.spec.action.index(item) for item in relative]
        self._plan = Plan(ensemble)
        self._history = History(policy.spec, policy.n_obs)
        self._now = now
        self._initializer = initializer
        self._worker: _Worker | None = None
        self._goal: GoalBatch = None
        self._first_time: float | None = None
        self._last: Action | None = None
        self._seconds: list[float] = []
        self._step = self._asked = self._held = 0
        self._thought_ahead = False

    @property
    def thinking(self) -> bool:
        """Tell whether a chunk is being computed."""
        return self._worker is not None and self._worker.thinking

    @property
    def held(self) -> int:
        """Return for how many steps of this episode no chunk said what to do."""
        return self._held

    @property
    def inference_s(self) -> NDArray[np.float64]:
        """Return how long each chunk of this episode took [s]."""
        return np.array(self._seconds)

    def __enter__(self) -> Self:
        """Return the actor."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the actor."""
        self.close()

    def close(self, timeout_s: float = 5.0) -> None:
        """End the inference thread; idempotent. ``reset`` starts a new one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close(timeout_s)

    def warm_up(self) -> None:
        """Make the first inference as fast as the others."""
        warm_up(self.policy)

    def reset(self, *, seed: int | None = None, goal: Goal | None = None) -> None:
        """Start an episode towards ``goal``, after the worker has finished with the last one."""
        self._goal = goal_batch(self.policy, goal)
        self._settle()
        if self._worker is None:
            self.warm_up()
            self._worker = _Worker(self.policy, self._now, self._initializer)
        self.policy.reset(seed=seed)
        self._forget()

    def act(self, observation: Observation) -> Action:
        """Return the action for the time of ``observation``."""
        if self._first_time is None:
            self._begin(observation)
        elif self._thought_ahead:
            self._thought_ahead = False
        else:
            self._history.see(observation)
            self._step = max(self._step, self._step_of(observation))
            self._take()
            self._ask_when_due()
        action = self._plan.at(self._step)
        if action is None:
            action = self._hold()
        self._history.did(action)
        self._last = action
        return action

    def on_reset(self, observation: Observation, *, goal: Goal | None, seed: int | None) -> None:  # noqa: ARG002
        """Think about the first observation before the clock starts: the robot still stands."""
        self._begin(observation)
        self._thought_ahead = True

    def on_step(self, step: Step) -> None:
        """Remember what was applied in place of what was asked for."""
        self._history.correct(step.applied)

    def on_end(self, outcome: Outcome) -> None:
        """Do nothing: ``reset`` forgets."""

    def _forget(self) -> None:
        self._history.clear()
        self._plan.clear()
        self._first_time = self._last = None
        self._seconds = []
        self._step = self._asked = self._held = 0
        self._thought_ahead = False

    def _settle(self) -> None:
        """Wait for the answer to a question of the last episode and drop it, errors included."""
        if self._worker is None:
            return
        with contextlib.suppress(Exception):
            self._worker.answer(FIRST_CHUNK_S)
        if self._worker.busy:
            raise Stale(f"inference: expected an answer within {FIRST_CHUNK_S:g} s, got none; is the policy stuck?")

    def _begin(self, observation: Observation) -> None:
        if self._first_time is not None:
            return
        self._first_time = float(observation[TIME_KEY])
        self._history.see(observation)
        self._ask()
        self._take(FIRST_CHUNK_S)
        if self._live.busy:
            raise Stale(f"inference: expected the first chunk within {FIRST_CHUNK_S:g} s, got none")

    def _ask_when_due(self) -> None:
        slow = max(self._seconds[-10:], default=0.0)
        in_time = slow <= self._patience_s
        lead = 0 if in_time else math.ceil(slow * self.policy.spec.control_hz)
        due = self._step - self._asked >= self._execute or self._plan.left(self._step) <= lead
        if due and not self._live.busy and self._step > self._asked:
            self._ask()
            if in_time or self._plan.left(self._step) <= 0:
                self._take(self._patience_s)
        elif self._plan.left(self._step) <= 0:
            self._take(self._patience_s)

    def _ask(self) -> None:
        self._asked = self._step
        self._live.ask(_Question(self._step, self._history.window(), self._goal))

    def _take(self, timeout_s: float = 0.0) -> None:
        answer = self._live.answer(timeout_s)
        if answer is not None:
            self._seconds.append(answer.seconds)
            self._plan.add(answer.step, answer.chunk)

    def _hold(self) -> Action:
        self._held += 1
        last = self.policy.spec.action.generate_value() if self._last is None else self._last
        held = np.array(last)
        held[self._relative] = 0
        return held

    def _step_of(self, observation: Observation) -> int:
        assert self._first_time is not None, "begun"  # noqa: S101 - act() sees to it
        return round((float(observation[TIME_KEY]) - self._first_time) * self.policy.spec.control_hz)

    @property
    def _live(self) -> _Worker:
        if self._worker is None:
            raise ConfigError("asynchronous actor: expected reset() before act(), or it was closed")
        return self._worker
