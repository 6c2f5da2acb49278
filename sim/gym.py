"""The play table as a Gymnasium environment; importing this module registers ``robot-learning/PlayTable-v0``.

    import gymnasium, robot_learning.sim.gym
    env = gymnasium.make("robot-learning/PlayTable-v0", task="open_drawer", render_mode="rgb_array")

Gymnasium's own spelling does both at once: ``gymnasium.make("robot_learning.sim.gym:robot-learning/PlayTable-v0")``.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.spec import ArraySpec
from robot_learning.core.types import Observation
from robot_learning.sim.demonstrations import feasible_start
from robot_learning.sim.robot import CONTROL_HZ, Camera, PlayTableRobot
from robot_learning.sim.scene import Scene
from robot_learning.sim.tasks.table import task

ENV_ID = "robot-learning/PlayTable-v0"
_MAX_EPISODE_STEPS = 300


class PlayTableEnv(gymnasium.Env[dict[str, NDArray[Any]], NDArray[np.float32]]):
    """One task, or free play, on the play table.

    Observations are the robot's (a ``Dict`` of one ``Box`` per key), actions the robot's own units. With a task the
    reward is 1 and the episode terminates when it is done; ``info["success"]`` says the same.

    Args:
        task: One of the 18 tasks, drawn in scenes that allow it; None: free play, reward 0.
        action_mode: ``ee_delta`` or ``joint_position``.
        cameras: Cameras to observe from.
        render_mode: ``rgb_array`` or None.
        render_camera: Camera of ``render``.
        render_size: Width and height of ``render`` [pixels].
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": round(CONTROL_HZ)}

    def __init__(
        self,
        task: str | None = None,
        action_mode: str = "ee_delta",
        cameras: Sequence[Camera] = (),
        render_mode: str | None = None,
        render_camera: str = "static",
        render_size: tuple[int, int] = (480, 360),
    ) -> None:
        """Build the simulation."""
        self._task = None if task is None else _look_up(task)
        self.render_mode = render_mode
        self._view = (render_camera, *render_size)
        self._robot = PlayTableRobot(action_mode=action_mode, cameras=cameras)
        self._robot.connect()
        spec = self._robot.spec
        self.observation_space = gymnasium.spaces.Dict({key: _box(value) for key, value in spec.observation.items()})
        self.action_space = _box(spec.action)
        self._before: Scene | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Draw a scene; ``options={"start": observation}`` restores one instead."""
        super().reset(seed=seed)
        start = (options or {}).get("start")
        if start is not None:
            first = self._robot.reset(start=start)
        elif self._task is not None:
            first, _ = feasible_start(self._robot, self._task.name, self.np_random)
        else:
            first = self._robot.reset(seed=int(self.np_random.integers(2**31)))
        self._before = Scene.of(first)
        return self._visible(first), {"time": float(first["time"])}

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        """Advance one control period (50 ms)."""
        applied = self._robot.apply(action)
        now = self._robot.observe()
        scene = Scene.of(now)
        done = self._task is not None and self._before is not None and self._task.success(self._before, scene)
        info = {"success": done, "applied": applied, "time": float(now["time"])}
        return self._visible(now), float(done), done, False, info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """Return an RGB image when the render mode is ``rgb_array``."""
        return self._robot.render(*self._view) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the simulation."""
        self._robot.close()

    def _visible(self, observation: Observation) -> dict[str, NDArray[Any]]:
        return {key: observation[key] for key in self._robot.spec.observation}


_look_up = task


def _box(spec: ArraySpec) -> gymnasium.spaces.Box:
    if spec.is_image:
        return gymnasium.spaces.Box(0, 255, spec.shape, np.uint8)
    low = np.full(spec.shape, -np.inf) if spec.low is None else spec.low
    high = np.full(spec.shape, np.inf) if spec.high is None else spec.high
    return gymnasium.spaces.Box(low.astype(spec.dtype), high.astype(spec.dtype), dtype=np.dtype(spec.dtype).type)


if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point=PlayTableEnv, max_episode_steps=_MAX_EPISODE_STEPS)
