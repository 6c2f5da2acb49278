"""Collect demonstrations of a suite's tasks by its own experts: one episode per trial, judged by the suite's score.

Attempt ``i`` of a task depends on the seed, the task and ``i`` alone. What is kept are the first successes in the order of
the attempts, so the store is the same whatever the number of workers, and a run that was stopped goes on where it ended.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from robot_learning.collection.builder import EpisodeBuilder
from robot_learning.collection.workers import Workers
from robot_learning.core.errors import ConfigError, RobotLearningError
from robot_learning.core.protocols import Actor, ExpertSuite, TaskSuite
from robot_learning.core.types import Episode, Trial
from robot_learning.datasets.store import DemoStore
from robot_learning.runtime.clock import SimClock
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import Finite
from robot_learning.runtime.judge import Judge

FIRST_SEED = 1_000_000_000
"""Demonstrations draw their trials from seeds that no evaluation uses: nobody is tested where he was taught."""
PATIENCE = 10
"""Attempts per wanted demonstration before collecting gives up."""


@dataclass(frozen=True)
class Expert:
    """The operator ``expert``: each task is done by the expert that its suite offers.

    Attributes:
        linger: Steps that a demonstration goes on after success.
    """

    linger: int = 0

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.linger < 0:
            raise ConfigError(f"linger: expected 0 or more steps, got {self.linger}")

    def actor(self, suite: TaskSuite, task: str) -> Actor:
        """Return who demonstrates ``task``; raises where the suite has no expert for it."""
        if not isinstance(suite, ExpertSuite):
            raise ConfigError(f"operator=expert: expected a suite with experts, got {suite.name!r}; choose another operator")
        return suite.expert(task)


@dataclass(frozen=True)
class Attempt:
    """A trial of a task and its number among the attempts at this task."""

    trial: Trial
    number: int


def demonstrate(
    store: DemoStore,
    suite_factory: Callable[[], TaskSuite],
    expert: Expert,
    *,
    episodes: int,
    seed: int,
    keep_failures: bool = False,
    workers: int,
) -> Iterator[Episode]:
    """Attempt trials until the store holds ``episodes`` demonstrations of every task; yield every attempt.

    Successes (with ``keep_failures`` everything) are appended to the store, and safe on disk when they are yielded.

    Args:
        store: Open for writing; demonstrations that it holds already count.
        suite_factory: Makes the suite; picklable.
        expert: Who demonstrates.
        episodes: Demonstrations of each task.
        seed: Draws the trials.
        keep_failures: Also keep, and count, episodes that did not succeed.
        workers: Processes; 0 runs here.

    Raises:
        RobotLearningError: Fewer than one attempt in ten succeeds.
    """
    suite = suite_factory()
    with Workers(partial(record, suite_factory, expert), workers) as pool:
        counts = {task: _counts(store, task) for task in suite.tasks}
        while attempts := _next_attempts(suite, counts, episodes, seed):
            for attempt, episode in zip(attempts, pool.map(attempts), strict=True):
                keep = keep_failures or bool(episode.outcome.success)
                if keep:
                    store.append(episode)
                kept, _ = counts[attempt.trial.task]
                counts[attempt.trial.task] = (kept + keep, attempt.number + 1)
                yield episode


def record(suite_factory: Callable[[], TaskSuite], expert: Expert) -> Callable[[Attempt], Episode]:
    """Set a robot up; return the function from an attempt to its episode."""
    suite = suite_factory()
    robot = suite.make_robot()
    robot.connect()
    actors: dict[str, Actor] = {}

    def episode(attempt: Attempt) -> Episode:
        trial = attempt.trial
        actor = actors.setdefault(trial.task, expert.actor(suite, trial.task))
        judge = Judge(suite, trial, linger=expert.linger)
        meta = {"operator": "expert", "task": trial.task, "attempt": attempt.number}
        builder = EpisodeBuilder(tuple(robot.spec.observation), meta)
        outcome = run_episode(
            robot,
            actor,
            Finite(robot.spec),
            SimClock(robot.spec.dt),
            max_steps=trial.max_steps,
            seed=trial.seed,
            goal=trial.told,
            start=trial.start,
            done=judge,
            observers=[judge, builder],
        )
        if builder.episode is None:
            raise RobotLearningError(f"expert of {trial.task!r}: expected at least one action, got none: {outcome.reason}")
        return replace(builder.episode, outcome=replace(outcome, success=judge.best >= 1.0))

    return episode


def _counts(store: DemoStore, task: str) -> tuple[int, int]:
    """Return how many demonstrations of a task a store holds, and the number of the next attempt."""
    numbers = [int(meta["attempt"]) for meta in store.table["meta"] if meta.get("task") == task and "attempt" in meta]
    return len(numbers), max(numbers, default=-1) + 1


def _next_attempts(suite: TaskSuite, counts: dict[str, tuple[int, int]], episodes: int, seed: int) -> list[Attempt]:
    """Return as many attempts at each task as it lacks demonstrations, empty when there are enough."""
    missing = {task: range(tried, tried + episodes - kept) for task, (kept, tried) in counts.items() if kept < episodes}
    for task, numbers in missing.items():
        if numbers.start >= PATIENCE * episodes:
            kept = counts[task][0]
            raise RobotLearningError(
                f"expert of {task!r}: expected {episodes} successes in {numbers.start} attempts, got {kept}"
            )
    most = max((numbers.stop for numbers in missing.values()), default=0)
    by_task: dict[str, list[Trial]] = {}
    for trial in suite.trials(most, seed=FIRST_SEED + seed) if missing else ():
        by_task.setdefault(trial.task, []).append(trial)
    return [Attempt(by_task[task][number], number) for task, numbers in missing.items() for number in numbers]
