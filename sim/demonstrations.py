"""Single-task episodes by the scripted operator: held-out goals for evaluation, demonstrations for tests."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import RobotLearningError
from robot_learning.core.spec import TIME_KEY
from robot_learning.core.types import STREAM_TIME_PREFIX, Action, End, Episode, Observation, Outcome
from robot_learning.sim.operator.operators import TaskOperator
from robot_learning.sim.robot import PlayTableRobot
from robot_learning.sim.scene import Scene
from robot_learning.sim.tasks.table import Task, task

MAX_STEPS = 400
"""Steps after which an attempt that has not ended counts as failed: three tries fit."""
_MAX_SCENES = 1000
"""Scenes drawn until one allows the task; the rarest task needs about 30 on average."""


def feasible_start(robot: PlayTableRobot, name: str, rng: np.random.Generator) -> tuple[Observation, int]:
    """Reset a connected robot to fresh scenes until ``name`` can be done; returns observation and scene seed."""
    wanted = task(name)
    for _ in range(_MAX_SCENES):
        seed = int(rng.integers(2**31))
        first = robot.reset(seed=seed)
        if wanted.feasible(Scene.of(first)):
            return first, seed
    raise RobotLearningError(f"task {name!r}: expected a feasible scene among {_MAX_SCENES} drawn ones, got none")


def scripted_attempt(robot: PlayTableRobot, name: str, seed: int, wordings: Sequence[int] | None = None) -> Episode:
    """Set a scene up in which a task can be done, let the operator try it, and return what happened.

    Args:
        robot: Connected; takes tool motions.
        name: One of the 18 tasks.
        seed: Draws scene and manner; the same seed gives the same episode.
        wordings: Numbers of the wordings that its instruction is drawn from; None is all five.

    Returns:
        The episode, its outcome's ``success`` the operator's verdict, ``meta`` with ``task``, ``seed``,
        ``scene_seed`` and ``operator``.
    """
    rng = np.random.default_rng(seed)
    first, scene_seed = feasible_start(robot, name, rng)
    operator = TaskOperator(name)
    operator.reset(seed=int(rng.integers(2**31)))
    observations: list[Observation] = [first]
    requested: list[Action] = []
    applied: list[Action] = []
    end = End("max_steps", success=False)
    while len(requested) < MAX_STEPS:
        action = operator.act(observations[-1])
        if isinstance(action, End):
            end = action
            break
        applied.append(robot.apply(action))
        requested.append(action)
        observations.append(robot.observe())
    meta = {"task": name, "seed": seed, "scene_seed": scene_seed, "operator": "scripted"}
    episode = _episode(observations, requested, applied, end, meta)
    wanted = task(name)
    done = worked_on(wanted, Scene.of(first), Scene.of(observations[-1]))
    return replace(episode, instruction=wanted.instruction(rng, done[0] if done else 0, wordings))


def scripted_episode(
    name: str,
    seed: int,
    robot: PlayTableRobot | None = None,
    *,
    tries: int = 10,
    wordings: Sequence[int] | None = None,
) -> Episode:
    """Return an episode in which the operator does a task with success; fresh scenes are drawn until it does.

    Args:
        name: One of the 18 tasks.
        seed: Draws scenes and manner; the same seed gives the same episode.
        robot: Connected robot that takes tool motions, e.g. with cameras; None: one of its own without cameras.
        tries: Attempts before giving up; the operator fails fewer than one in twenty.
        wordings: Numbers of the wordings that its instruction is drawn from; None is all five.
    """
    own = robot is None
    robot = PlayTableRobot() if robot is None else robot
    try:
        robot.connect()
        for attempt in range(tries):
            child = np.random.SeedSequence([seed, attempt]).generate_state(1)[0]
            episode = scripted_attempt(robot, name, int(child), wordings)
            if episode.outcome.success:
                return episode
    finally:
        if own:
            robot.close()
    raise RobotLearningError(f"task {name!r}: expected a success in {tries} scripted attempts from seed {seed}, got none")


def worked_on(wanted: Task, before: Scene, now: Scene) -> list[int]:
    """Return the blocks (0 for furniture) with which a task happened between two scenes."""
    return [block for block in wanted.candidates(before) if wanted.done(before, now, block)]


def _episode(
    observations: Sequence[Observation],
    requested: Sequence[Action],
    applied: Sequence[Action],
    end: End,
    meta: Mapping[str, Any],
) -> Episode:
    stacked: dict[str, NDArray[Any]] = {key: np.stack([row[key] for row in observations]) for key in observations[0]}
    time = stacked.pop(TIME_KEY)
    streams = {key: stacked.pop(key) for key in list(stacked) if key.startswith(STREAM_TIME_PREFIX)}
    steps = len(requested)
    return Episode(
        observation=stacked,
        action=np.stack(requested),
        applied=np.stack(applied),
        time=time,
        stream_time={key.removeprefix(STREAM_TIME_PREFIX): value for key, value in streams.items()},
        source=("operator",) * steps,
        reward=np.full(steps, np.nan, dtype=np.float32),
        outcome=Outcome(success=end.success, reason=end.reason, steps=steps, duration_s=float(time[-1] - time[0])),
        meta=meta,
    )
