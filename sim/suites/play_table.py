"""The play table's 18 tasks as an evaluation suite: goals are the last moments of held-out scripted episodes."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.core.protocols import Actor
from robot_learning.core.types import Episode, Observation, Trial
from robot_learning.sim.demonstrations import scripted_episode, worked_on
from robot_learning.sim.kinematics import ArmKinematics, downward
from robot_learning.sim.operator.operators import TaskOperator
from robot_learning.sim.robot import Camera, PlayTableRobot
from robot_learning.sim.scene import Scene
from robot_learning.sim.tasks.table import TASKS, task

FREE_LOW = np.array([0.30, -0.40, 0.14])
FREE_HIGH = np.array([0.62, 0.40, 0.42])
"""Where the tool may start [m]: above blocks and furniture, within reach."""


class PlayTableSuite:
    """Goals to reach on the play table, each known to be reachable because the scripted operator reached it.

    A trial starts from the first observation of an episode and its goal is the last one. It succeeds when the task
    happens to the block that the episode worked on; the same to another block does not count.

    Args:
        goals: Held-out single-task episodes with ``meta["task"]``; empty: the scripted operator makes them on fresh
            scenes.
        cameras: Cameras of the robot; goals made here then hold their images.
        action_mode: What the robot takes: ``ee_delta`` or ``joint_position``.
        tasks: Which of the 18 tasks to evaluate; all by default.
        patience: Steps allowed, as a multiple of the steps that the operator took.
        perturb: Largest distance [m] that a trial's tool starts from where the operator's started; 0 starts there. The paper
            on learning latent plans from play goes up to 0.4.
        wordings: Which of a task's five wordings instructions are drawn from, e.g. 0 to 3 to collect with and 4 to evaluate
            with; None is all. Goals given keep theirs.
    """

    name = "play_table"

    def __init__(
        self,
        goals: Sequence[Episode] = (),
        *,
        cameras: Sequence[Camera | Mapping[str, Any]] = (),
        action_mode: str = "ee_delta",
        tasks: Sequence[str] | None = None,
        patience: float = 3.0,
        perturb: float = 0.0,
        wordings: Sequence[int] | None = None,
    ) -> None:
        """Sort the goals by task."""
        if perturb < 0:
            raise ConfigError(f"play_table perturb: expected 0 or more metres, got {perturb}")
        self.tasks: tuple[str, ...] = tuple(task(name).name for name in (TASKS if tasks is None else tasks))
        self._cameras = tuple(cameras)
        self._action_mode = action_mode
        self._patience = patience
        self._perturb = perturb
        self._wordings = _checked_wordings(wordings)
        self._goals: dict[str, list[Episode]] = {}
        for index, episode in enumerate(goals):
            self._goals.setdefault(_task_of(episode, index), []).append(episode)

    def make_robot(self) -> PlayTableRobot:
        """Return a new robot at the play table, not yet connected."""
        return PlayTableRobot(action_mode=self._action_mode, cameras=self._cameras)

    def trials(self, per_task: int, *, seed: int) -> list[Trial]:
        """Return ``per_task`` trials of every task, the same ones for the same seed, task by task.

        Raises:
            ConfigError: There are goals, but fewer than ``per_task`` of some task.
        """
        episodes = self._pick(per_task, seed) if self._goals else self._make(per_task, seed)
        return [self._trial(name, index, episode, seed) for name, index, episode in episodes]

    def score(self, trial: Trial, first: Observation, current: Observation) -> float:
        """Return 1 when the task has happened to what the goal shows it done to, else 0."""
        wanted, before, now = task(trial.task), Scene.of(first), Scene.of(current)
        blocks = worked_on(wanted, before, Scene.of(trial.goal)) or wanted.candidates(before)
        return float(any(wanted.done(before, now, block) for block in blocks))

    def expert(self, task: str) -> Actor:
        """Return the scripted operator for one of the suite's tasks; it moves the tool (``action_mode=ee_delta``)."""
        if task not in self.tasks:
            raise UnknownName("task", task, self.tasks)
        if self._action_mode != "ee_delta":
            raise ConfigError(f"play_table expert: expected action_mode=ee_delta, got {self._action_mode}")
        return TaskOperator(task)

    def _pick(self, per_task: int, seed: int) -> list[tuple[str, int, Episode]]:
        short = {name: len(self._goals.get(name, ())) for name in self.tasks}
        short = {name: count for name, count in short.items() if count < per_task}
        if short:
            raise ConfigError(f"play_table goals: expected {per_task} of every task, got {short}; collect more or ask less")
        picked = []
        for place, name in enumerate(self.tasks):
            order = np.random.default_rng([seed, place]).permutation(len(self._goals[name]))[:per_task]
            picked += [(name, index, self._goals[name][chosen]) for index, chosen in enumerate(order)]
        return picked

    def _make(self, per_task: int, seed: int) -> list[tuple[str, int, Episode]]:
        robot = PlayTableRobot(cameras=self._cameras)
        robot.connect()
        try:
            return [
                (name, index, scripted_episode(name, _seed(seed, name, index), robot, wordings=self._wordings))
                for name in self.tasks
                for index in range(per_task)
            ]
        finally:
            robot.close()

    def _trial(self, name: str, index: int, episode: Episode, seed: int) -> Trial:
        start: Observation = {key: value[0] for key, value in episode.observation.items()}
        if self._perturb > 0:
            start = displaced(start, self._perturb, np.random.default_rng([_seed(seed, name, index), 1]))
        return Trial(
            task=name,
            seed=_seed(seed, name, index),
            start=start,
            goal={key: value[-1] for key, value in episode.observation.items()},
            max_steps=ceil(self._patience * episode.steps),
            instruction=episode.instruction,
        )


def displaced(start: Observation, distance: float, rng: np.random.Generator) -> Observation:
    """Return what to start from with the tool elsewhere, up to ``distance`` [m] away in the free space above the furniture.

    Direction and distance are uniform; what would end outside that space is drawn again.
    """
    position = start["ee_pose"][:3].astype(np.float64)
    while True:
        direction = rng.normal(size=3)
        place = position + direction * (rng.uniform(0.0, distance) / np.linalg.norm(direction))
        if np.all(place >= FREE_LOW) and np.all(place <= FREE_HIGH):
            break
    joints = ArmKinematics().reach(place, downward(float(rng.uniform(-0.6, 0.6))))
    return {**start, "joint_position": joints.astype(np.float32), "joint_velocity": np.zeros_like(start["joint_velocity"])}


def _seed(seed: int, name: str, index: int) -> int:
    """Return the seed of one trial; it depends on neither the number of trials nor the choice of tasks."""
    return int(np.random.SeedSequence([seed, list(TASKS).index(name), index]).generate_state(1)[0])


def _checked_wordings(wordings: Sequence[int] | None) -> tuple[int, ...] | None:
    if wordings is None:
        return None
    count = len(next(iter(TASKS.values())).instructions)
    if not wordings or not all(0 <= number < count for number in wordings):
        raise ConfigError(f"play_table wordings: expected some of 0 to {count - 1}, got {list(wordings)}")
    return tuple(wordings)


def _task_of(episode: Episode, index: int) -> str:
    name = episode.meta.get("task")
    if not isinstance(name, str):
        raise ConfigError(f"play_table goals: episode {index}: expected meta['task'], got {name!r}; give single-task episodes")
    if name not in TASKS:
        raise UnknownName(f"task of episode {index}", name, TASKS)
    return name
