"""The play table as a Gymnasium environment; importing this module registers ``robot-learning/PlayTable-v0``.

    import gymnasium, robot_learning.sim.gym
    env = gymnasium.make("robot-learning/PlayTable-v0", task="open_drawer", render_mode="rgb_array")

Gymnasium's own spelling does both at once: ``gymnasium.make("robot_learning.sim.gym:robot-learning/PlayTable-v0")``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.spec import ArraySpec
from robot_learning.core.types import Observation
from robot_learning.sim.demonstrations import feasible_start
from robot_learning.sim.robot import CONTROL_HZ, Camera, PlayTableRobot
from robot_learning.sim.scene import Scene
from robot_learning.sim.tasks import table

ENV_ID = "robot-learning/PlayTable-v0"
BOUND = 10.0
"""Observations are clipped to this in their own unit (m, rad, rad/s), because spaces should be bounded; nothing on the
desk comes near it."""
_MAX_EPISODE_STEPS = 300


class PlayTableEnv(gymnasium.Env[dict[str, NDArray[Any]], NDArray[np.float32]]):  # type: ignore[misc]
    """One task, or free play, on the play table.

    Observations are the robot's, a ``Dict`` with one ``Box`` per key. Actions are the robot's, scaled to -1..1 between
    its limits. With a task the reward is 1 and the episode terminates when it is done; ``info["success"]`` says so.

    Args:
        task: One of the 18 tasks, in scenes that allow it; None: free play, reward 0.
        action_mode: ``ee_delta`` or ``joint_position``.
        cameras: Cameras to observe from.
        render_mode: ``rgb_array`` or None.
        render_camera: Camera of ``render``.
        render_size: Width and height of ``render`` [pixels].

    Attributes:
        robot: The robot behind the environment.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": round(CONTROL_HZ)}

    def __init__(
        self,
        task: str | None = None,
        action_mode: str = "ee_delta",
        cameras: Sequence[Camera | Mapping[str, Any]] = (),
        render_mode: str | None = None,
        render_camera: str = "static",
        render_size: tuple[int, int] = (480, 360),
    ) -> None:
        """Build the simulation."""
        self._task = None if task is None else table.task(task)
        self.render_mode = render_mode
        self._view = Camera(render_camera, *render_size)
        self.robot = PlayTableRobot(action_mode=action_mode, cameras=cameras)
        self.robot.connect()
        spec = self.robot.spec
        self._low, self._high = np.array(spec.action.low), np.array(spec.action.high)
        self.observation_space = gymnasium.spaces.Dict({key: _box(value) for key, value in spec.observation.items()})
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, spec.action.shape, np.float32)
        self._before: Scene | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Draw a scene; ``options={"start": observation}`` restores one instead."""
        super().reset(seed=seed)
        start = (options or {}).get("start")
        if start is not None:
            first = self.robot.reset(start=start)
        elif self._task is not None:
            first, _ = feasible_start(self.robot, self._task.name, self.np_random)
        else:
            first = self.robot.reset(seed=int(self.np_random.integers(2**31)))
        self._before = Scene.of(first)
        return self._visible(first), {"success": False}

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        """Advance one control period; ``info["applied"]`` is the action sent, in the robot's units."""
        share = (np.asarray(action, dtype=np.float32) + 1.0) / 2.0
        applied = self.robot.apply(self._low + share * (self._high - self._low))
        now = self.robot.observe()
        done = self._task is not None and self._before is not None and self._task.success(self._before, Scene.of(now))
        return self._visible(now), float(done), done, False, {"success": done, "applied": applied}

    def render(self) -> NDArray[np.uint8] | None:
        """Return an RGB image when the render mode is ``rgb_array``."""
        if self.render_mode is None:
            return None
        return self.robot.render(self._view.name, self._view.width, self._view.height)

    def close(self) -> None:
        """Free the simulation."""
        self.robot.close()

    def _visible(self, observation: Observation) -> dict[str, NDArray[Any]]:
        spec = self.robot.spec.observation
        return {key: observation[key] if spec[key].is_image else np.clip(observation[key], -BOUND, BOUND) for key in spec}


def _box(spec: ArraySpec) -> gymnasium.spaces.Box:
    if spec.is_image:
        return gymnasium.spaces.Box(0, int(np.iinfo(spec.dtype).max), spec.shape, np.dtype(spec.dtype).type)
    return gymnasium.spaces.Box(-BOUND, BOUND, spec.shape, np.float32)


if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point=PlayTableEnv, max_episode_steps=_MAX_EPISODE_STEPS)
