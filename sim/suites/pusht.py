"""Push-T behind the Robot and TaskSuite protocols: gym-pusht, evaluated as in the Diffusion Policy paper.

A round pusher moves a T-shaped block onto a target pose (Florence et al. 2021; Chi et al., "Diffusion Policy", RSS 2023). All
lengths are pixels of a 512 x 512 table, as in the human demonstrations. The result of an episode is the highest
``coverage / 0.95`` (at most 1) within 300 steps of 0.1 s; the paper reports its mean over 50 unseen starts.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import MissingExtra, NotConnected, SafetyStop
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Action, Observation, Trial

SIZE = 512.0
CONTROL_HZ = 10.0
MAX_STEPS = 300
SOLVED = 0.95
"""Share of the target that the block must cover."""
GOAL_POSE = np.array([256.0, 256.0, np.pi / 4])
KEYPOINTS = np.array(
    [
        (9.270, 90.042),
        (-60.984, -1.188),
        (60.912, -1.394),
        (-0.270, 25.543),
        (-14.065, 122.813),
        (39.002, 32.857),
        (-39.967, 32.728),
        (-16.824, 62.860),
        (23.542, -1.701),
    ]
)
"""The nine keypoints of the human data in the block's frame [px], fitted to it: they reproduce its ``keypoint`` to 0.04 px."""


class PushTRobot:
    """gym-pusht as a robot.

    Args:
        image: Also observe ``image``, a 96 x 96 view.
    """

    def __init__(self, image: bool = False) -> None:
        """Describe the robot; ``connect`` imports gym-pusht."""
        self.spec = RobotSpec(_observation_spec(image), _action_spec(), CONTROL_HZ, "pusht")
        self._image = image
        self._env: Any = None
        self._ready = False
        self._now = 0.0

    def connect(self) -> None:
        """Make the environment; idempotent."""
        if self._env is None:
            self._env = _make_env()

    def close(self) -> None:
        """Free the environment; idempotent."""
        if self._env is not None:
            self._env.close()
        self._env, self._ready = None, False

    def stop(self) -> None:
        """Do nothing: the pusher stands still between two actions."""

    def reset(self, *, seed: int | None = None, start: Mapping[str, NDArray[Any]] | None = None) -> Observation:
        """Start from the environment's own distribution, or from ``start``'s ``agent_pos`` and ``block_pose``."""
        if self._env is None:
            raise NotConnected("pusht: expected connect() before use")
        self._env.reset(seed=seed)
        if start is not None:
            self._place(np.asarray(start["agent_pos"], float), np.asarray(start["block_pose"], float))
        self._now += 1.0 / CONTROL_HZ
        self._ready = True
        return self.observe()

    def observe(self) -> Observation:
        """Return the present observation."""
        env = self._running()
        block = np.array([*env.block.position, env.block.angle % (2 * np.pi)])
        observation: dict[str, NDArray[Any]] = {
            "agent_pos": np.array(env.agent.position, dtype=np.float32),
            "block_pose": block.astype(np.float32),
            "keypoint": keypoints(block).astype(np.float32),
            "coverage": np.array([env._get_coverage()], dtype=np.float32),
            "time": np.asarray(np.float64(self._now)),
        }
        if self._image:
            observation["image"] = self.render("top", 96, 96)
        return observation

    def apply(self, action: Action) -> Action:
        """Send the pusher toward a point [px] for one control period; return the point after clipping to the table."""
        env = self._running()
        asked = self.spec.validate_action(action)
        if not np.isfinite(asked).all():
            raise SafetyStop(f"pusht: expected a finite action, got {asked}")
        sent: Action = np.clip(asked, 0.0, SIZE).astype(np.float32)
        env.step(sent.astype(np.float64))
        self._now += 1.0 / CONTROL_HZ
        return sent

    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:  # noqa: ARG002 - there is one view
        """Return an RGB image, uint8 ``[height, width, 3]``, from above."""
        env = self._running()
        image: NDArray[np.uint8] = env._get_img(env._draw(), width=width, height=height)
        return image

    def _place(self, agent: NDArray[np.float64], block: NDArray[np.float64]) -> None:
        """Put pusher and block where given, at rest; the angle first, because it turns about the centre of mass."""
        env = self._env
        env.agent.position = agent.tolist()
        env.block.angle = float(block[2])
        env.block.position = block[:2].tolist()
        for body in (env.agent, env.block):
            body.velocity, body.angular_velocity = (0.0, 0.0), 0.0
        env.space.reindex_shapes_for_body(env.agent)
        env.space.reindex_shapes_for_body(env.block)

    def _running(self) -> Any:
        if not self._ready:
            raise NotConnected("pusht: expected connect() and reset() before use")
        return self._env


class PushTSuite:
    """The Push-T task: one goal, many starts.

    Args:
        image: Also observe a 96 x 96 view.
        max_steps: Control steps of a trial.
    """

    name = "pusht"
    tasks = ("pusht",)
    film_camera = "top"

    def __init__(self, image: bool = False, max_steps: int = MAX_STEPS) -> None:
        """Keep the settings."""
        self._image, self._max_steps = image, max_steps

    def make_robot(self) -> PushTRobot:
        """Return a new robot, not yet connected."""
        return PushTRobot(self._image)

    def trials(self, per_task: int, *, seed: int) -> list[Trial]:
        """Return trials with the seeds ``100000 + seed`` and on, which no demonstration started from."""
        goal = {
            "agent_pos": np.array([256.0, 400.0], np.float32),
            "block_pose": GOAL_POSE.astype(np.float32),
            "keypoint": keypoints(GOAL_POSE).astype(np.float32),
        }
        first = 100_000 + seed
        instruction = "push the T-shaped block onto the target"
        return [Trial("pusht", first + i, goal, self._max_steps, None, instruction) for i in range(per_task)]

    def score(self, trial: Trial, first: Observation, current: Observation) -> float:  # noqa: ARG002 - one task
        """Return how much of the target is covered, 1 from 95 % on."""
        return min(float(current["coverage"][0]) / SOLVED, 1.0)


def keypoints(block_pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nine keypoints ``x y`` [px], flat, of a block at a pose ``x y`` [px], angle [rad]."""
    cosine, sine = np.cos(block_pose[2]), np.sin(block_pose[2])
    turned: NDArray[np.float64] = KEYPOINTS @ np.array([[cosine, sine], [-sine, cosine]]) + block_pose[:2]
    return turned.ravel()


def _make_env() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pygame and pymunk warn about their own imports
            from gym_pusht.envs.pusht import PushTEnv
    except ImportError as error:
        raise MissingExtra("gym-pusht", "pusht") from error
    return PushTEnv(obs_type="state")


def _action_spec() -> ArraySpec:
    return ArraySpec((2,), unit="px", names=("x", "y"), low=np.zeros(2), high=np.full(2, SIZE))


def _observation_spec(image: bool) -> dict[str, ArraySpec]:
    spec = {
        "agent_pos": ArraySpec((2,), unit="px", names=("x", "y")),
        "block_pose": ArraySpec((3,), unit="mixed", names=("x [px]", "y [px]", "angle [rad]")),
        "keypoint": ArraySpec((18,), unit="px"),
        "coverage": ArraySpec((1,)),
    }
    return spec | ({"image": ArraySpec((96, 96, 3), dtype="uint8", unit="rgb")} if image else {})
