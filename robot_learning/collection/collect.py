"""Collect episodes with an actor on a simulated robot: many processes act, one writes.

Episode ``i`` depends on its seed alone, and episodes are appended in order, so the store is the same whatever the number of
workers, and a run that was stopped goes on where the store ends.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from robot_learning.collection.builder import EpisodeBuilder
from robot_learning.collection.workers import Workers
from robot_learning.core.protocols import Actor, TaskSuite
from robot_learning.core.types import Episode
from robot_learning.datasets.store import DemoStore
from robot_learning.runtime.clock import SimClock
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import Finite


@dataclass(frozen=True)
class Recipe:
    """How an episode is made, in whatever process.

    Attributes:
        suite: Makes the suite whose robot is used; picklable.
        actor: Makes whoever acts; picklable.
        max_steps: Longest episode [control steps].
        operator: Name noted with every episode.
    """

    suite: Callable[[], TaskSuite]
    actor: Callable[[], Actor]
    max_steps: int
    operator: str


def record(recipe: Recipe) -> Callable[[int], Episode | None]:
    """Set a robot and an actor up; return the function from a seed to an episode (None when nobody acted)."""
    robot = recipe.suite().make_robot()
    actor = recipe.actor()
    robot.connect()
    clock = SimClock(robot.spec.dt)

    def episode(seed: int) -> Episode | None:
        builder = EpisodeBuilder(tuple(robot.spec.observation), {"operator": recipe.operator})
        run_episode(robot, actor, Finite(robot.spec), clock, max_steps=recipe.max_steps, seed=seed, observers=[builder])
        return builder.episode

    return episode


def collect(store: DemoStore, recipe: Recipe, seeds: range, *, workers: int) -> Iterator[Episode]:
    """Record one episode per seed, append each to the store, and yield it once it is safe on disk."""
    with Workers(partial(record, recipe), workers) as pool:
        for episode in pool.map(seeds):
            if episode is not None:
                store.append(episode)
                yield episode
