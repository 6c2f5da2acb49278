"""robosuite's single-arm tasks as an evaluation suite, one task at a time (Zhu et al. 2020, arXiv 2009.12293)."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.core.types import Observation, Trial
from robot_learning.sim.suites.robosuite.experts import Expert
from robot_learning.sim.suites.robosuite.robot import CONTROL_HZ, Camera, RobosuiteRobot
from robot_learning.sim.suites.robosuite.tasks import task_of

EXPERT_HAND = ("Panda", "OSC_POSE")
MAX_STEPS = 400
"""Control steps of an evaluation episode of Lift, Can and Square in robomimic (Mandlekar et al. 2021)."""


class RobosuiteSuite:
    """One task of robosuite; an episode succeeds when the environment's own ``_check_success`` says so.

    Args:
        tasks: The task, a list of one: the objects are part of what the robot observes, so two tasks are two robots.
        robot: Arm, e.g. ``Panda``, ``Sawyer``, ``UR5e``.
        controller: What actions mean, e.g. ``OSC_POSE``, ``OSC_POSITION``, ``JOINT_POSITION``.
        cameras: Cameras of the robot.
        control_hz: Actions per second.
        max_steps: Control steps of a trial.
    """

    name = "robosuite"
    film_camera = "agentview"

    def __init__(
        self,
        tasks: Sequence[str] = ("Lift",),
        *,
        robot: str = "Panda",
        controller: str = "OSC_POSE",
        cameras: Sequence[Camera | Mapping[str, Any]] = (),
        control_hz: float = CONTROL_HZ,
        max_steps: int = MAX_STEPS,
    ) -> None:
        """Check the task; nothing of robosuite is imported yet."""
        self.tasks = tuple(tasks)
        if len(self.tasks) != 1:
            raise ConfigError(f"robosuite: expected one task at a time, got {list(self.tasks)}; say task=robosuite/Lift")
        self._task = task_of(self.tasks[0])
        self._make_robot = partial(RobosuiteRobot, self.tasks[0], robot, controller, tuple(cameras), control_hz)
        self._hand, self._max_steps = (robot, controller), max_steps

    def make_robot(self) -> RobosuiteRobot:
        """Return a new robot, not yet connected."""
        return self._make_robot()

    def trials(self, per_task: int, *, seed: int) -> list[Trial]:
        """Return trials that start from seeds of their own; no goal, the task is always the same."""
        seeds = [int(np.random.SeedSequence([seed, index]).generate_state(1)[0]) for index in range(per_task)]
        return [Trial(self.tasks[0], one, {}, self._max_steps, None, self._task.instruction) for one in seeds]

    def score(self, trial: Trial, first: Observation, current: Observation) -> float:  # noqa: ARG002 - one task
        """Return 1 when the environment says that the task is done, else 0."""
        return float(current["success"][0])

    def expert(self, task: str) -> Expert:
        """Return the scripted expert for ``task``; it knows the Panda's hand and acts through ``OSC_POSE``.

        Raises:
            UnknownName: Not a task of this suite, or one without an expert.
            ConfigError: The suite's robot is another one.
        """
        if task not in self.tasks:
            raise UnknownName("task", task, self.tasks)
        if self._hand != EXPERT_HAND:
            raise ConfigError(f"robosuite expert: expected {' with '.join(EXPERT_HAND)}, got {' with '.join(self._hand)}")
        return Expert(task)
