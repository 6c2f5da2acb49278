"""Meta-World's 50 tasks as a suite, one at a time, with its scripted experts (Yu et al., CoRL 2019; V3 of McLean et al. 2025).

The environments are Meta-World's own, physics, success signal and all. Three things are said in this project's terms:
quaternions are w x y z for every task (Meta-World mixes both orders), pictures are the right way up (its corner cameras hang
upside down), and the goal's position is a key of its own, so that each training configuration decides whether it may be seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.arguments import check_arguments
from robot_learning.core.errors import ConfigError, MissingExtra, NotConnected, SafetyStop, SpecMismatch, UnknownName
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Action, Goal, Observation, Trial
from robot_learning.sim.views import View, observed_views, view_specs

CONTROL_HZ = 80.0
"""Five physics steps of 2.5 ms."""
MAX_STEPS = 500
"""Control steps of an episode; Meta-World refuses more."""
UPSIDE_DOWN = ("corner", "corner2", "corner3", "corner4")
CAMERAS = ("topview", *UPSIDE_DOWN, "behindGripper", "gripperPOV")
_POSE = ("x [m]", "y [m]", "z [m]", "qw", "qx", "qy", "qz")
_OBJECTS = tuple(f"{which} {name}" for which in ("first", "second") for name in _POSE)
_STATE = {
    "hand_position": ArraySpec((3,), unit="m", names=("x", "y", "z")),
    "gripper_opening": ArraySpec((1,), low=np.zeros(1), high=np.ones(1)),  # of about 0.1 m
    "object_state": ArraySpec((14,), unit="mixed", names=_OBJECTS),
    "goal_position": ArraySpec((3,), unit="m", names=("x", "y", "z")),
    "success": ArraySpec((1,)),
}
_ACTION = ArraySpec(
    (4,),
    unit="mixed",
    names=("dx [0.01 m]", "dy [0.01 m]", "dz [0.01 m]", "gripper [-1 opens, 1 closes]"),
    low=np.full(4, -1.0),
    high=np.ones(4),
)


@dataclass(frozen=True)
class Camera(View):
    """A camera to observe from, one of :data:`CAMERAS`."""

    width: int = 128
    height: int = 128

    def __post_init__(self) -> None:
        """Check name and size."""
        super().__post_init__()
        if self.name not in CAMERAS:
            raise UnknownName("metaworld camera", self.name, CAMERAS)


class MetaWorldRobot:
    """The Sawyer arm in one of Meta-World's environments.

    Args:
        task: Which environment, e.g. ``door-open``.
        cameras: Cameras to observe from, as :class:`Camera` or as its fields by name.
    """

    def __init__(self, task: str = "door-open", cameras: Sequence[Camera | Mapping[str, Any]] = ()) -> None:
        """Keep the settings; nothing of Meta-World is imported yet."""
        self._task = task
        self._cameras = tuple(_camera(camera) for camera in cameras)
        self.spec = RobotSpec(_STATE | view_specs(self._cameras), _ACTION, CONTROL_HZ, f"metaworld {task}")
        self._env: Any = None
        self._ready, self._success, self._now = False, 0.0, 0.0
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}

    def connect(self) -> None:
        """Build the environment; idempotent.

        Raises:
            MissingExtra: Meta-World is not installed.
            UnknownName: It has no such task.
        """
        if self._env is None:
            self._env = _environments()[_known(self._task)]()
            self._env._freeze_rand_vec, self._env._set_task_called, self._env.seeded_rand_vec = False, True, True

    def close(self) -> None:
        """Free the environment; idempotent."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
        if self._env is not None:
            self._env.close()
        self._env, self._ready = None, False

    def stop(self) -> None:
        """Do nothing: between two actions time stands still."""

    def reset(self, *, seed: int | None = None, start: Mapping[str, NDArray[Any]] | None = None) -> Observation:
        """Draw objects and goal from ``seed``.

        Raises:
            SpecMismatch: ``start`` is given: what Meta-World observes is not enough to put its objects back.
        """
        if self._env is None:
            raise NotConnected("metaworld: expected connect() before use")
        if start is not None:
            raise SpecMismatch("metaworld start: expected none, its observations do not say how everything stands; give a seed")
        self._env.seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        self._env.reset()
        self._now += self.spec.dt
        self._ready, self._success = True, 0.0
        return self.observe()

    def observe(self) -> Observation:
        """Return the present observation; images only from the cameras asked for."""
        env = self._running()
        state = env._get_curr_obs_combined_no_goal()
        now = np.asarray(np.float64(self._now))
        observation: dict[str, NDArray[Any]] = {
            "hand_position": state[:3].astype(np.float32),
            "gripper_opening": state[3:4].astype(np.float32),
            "object_state": _w_first(self._task, state[4:]).astype(np.float32),
            "goal_position": np.asarray(env._target_pos, np.float32),
            "success": np.array([self._success], np.float32),
            "time": now,
        }
        return observation | observed_views(self._cameras, self._look, self._now, UPSIDE_DOWN)

    def apply(self, action: Action) -> Action:
        """Send one action, advance one control period, and return the action after clipping to its limits.

        Raises:
            SafetyStop: The action is not finite, or the episode has its 500 steps; nothing moved.
        """
        env = self._running()
        asked = self.spec.validate_action(action)
        if not np.isfinite(asked).all():
            raise SafetyStop(f"metaworld: expected a finite action, got {asked}")
        if env.curr_path_length >= env.max_path_length:
            raise SafetyStop(f"metaworld: expected at most {env.max_path_length} steps in an episode")
        sent: Action = np.clip(asked, self.spec.action.low, self.spec.action.high)
        info = env.step(sent.astype(np.float32))[4]
        self._success = float(info["success"])
        self._now += self.spec.dt
        return sent

    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """Return an RGB image, uint8 ``[height, width, 3]``, the right way up."""
        image: NDArray[np.uint8] = self._look(camera, width, height).render()
        return np.ascontiguousarray(image[::-1, ::-1]) if camera in UPSIDE_DOWN else image

    def _look(self, camera: str, width: int, height: int) -> mujoco.Renderer:
        env = self._running()
        renderer = self._renderers.get((width, height))
        if renderer is None:
            env.model.vis.global_.offwidth = max(width, env.model.vis.global_.offwidth)
            env.model.vis.global_.offheight = max(height, env.model.vis.global_.offheight)
            renderer = self._renderers[width, height] = mujoco.Renderer(env.model, height, width)
        renderer.update_scene(env.data, camera)
        return renderer

    def _running(self) -> Any:
        if not self._ready:
            raise NotConnected("metaworld: expected connect() and reset() before use")
        return self._env


class Expert:
    """Meta-World's scripted policy for a task; it sees what the suite's robot observes.

    Args:
        task: Which task, e.g. ``door-open``.
    """

    source = "expert"

    def __init__(self, task: str) -> None:
        """Find the policy."""
        import metaworld.policies

        self._task = task
        self._policy = metaworld.policies.ENV_POLICY_MAP[_known(task)]()

    def reset(self, *, seed: int | None = None, goal: Goal | None = None) -> None:
        """Do nothing: the policy looks at the present moment alone."""

    def act(self, observation: Observation) -> Action:
        """Return the action for this step, within the limits."""
        objects = _w_last(self._task, observation["object_state"].astype(np.float64))
        frame = np.concatenate([observation["hand_position"], observation["gripper_opening"], objects])
        action = self._policy.get_action(np.concatenate([frame, frame, observation["goal_position"]]))
        within: Action = np.clip(action, -1.0, 1.0).astype(np.float32)
        return within


class MetaWorldSuite:
    """One task of Meta-World; an episode succeeds when the environment's own ``info["success"]`` says so.

    Args:
        tasks: The task, a list of one: what the objects are differs from task to task.
        cameras: Cameras of the robot.
        max_steps: Control steps of a trial, up to 500.
    """

    name = "metaworld"
    film_camera = "corner2"

    def __init__(
        self,
        tasks: Sequence[str] = ("door-open",),
        *,
        cameras: Sequence[Camera | Mapping[str, Any]] = (),
        max_steps: int = MAX_STEPS,
    ) -> None:
        """Keep the settings; nothing of Meta-World is imported yet."""
        self.tasks = tuple(str(task) for task in tasks)
        if len(self.tasks) != 1:
            raise ConfigError(f"metaworld: expected one task at a time, got {list(self.tasks)}; say task=metaworld/door-open")
        if not 1 <= max_steps <= MAX_STEPS:
            raise ConfigError(f"metaworld max_steps: expected 1 to {MAX_STEPS}, got {max_steps}")
        self._cameras, self._max_steps = tuple(cameras), max_steps

    def make_robot(self) -> MetaWorldRobot:
        """Return a new robot, not yet connected."""
        return MetaWorldRobot(self.tasks[0], self._cameras)

    def trials(self, per_task: int, *, seed: int) -> list[Trial]:
        """Return trials that start from seeds of their own; the task is always the same."""
        seeds = [int(np.random.SeedSequence([seed, index]).generate_state(1)[0]) for index in range(per_task)]
        instruction = self.tasks[0].replace("-", " ")
        return [Trial(self.tasks[0], one, {}, self._max_steps, None, instruction) for one in seeds]

    def score(self, trial: Trial, first: Observation, current: Observation) -> float:  # noqa: ARG002 - the environment knows
        """Return 1 when the environment says that the task is done, else 0."""
        return float(current["success"][0])

    def expert(self, task: str) -> Expert:
        """Return the scripted expert for ``task``; raises :class:`UnknownName` where it is not this suite's."""
        if task not in self.tasks:
            raise UnknownName("task", task, self.tasks)
        _environments()
        return Expert(task)


def task_names() -> tuple[str, ...]:
    """Return the names of all 50 tasks."""
    return tuple(name.removesuffix("-v3") for name in _environments())


def _environments() -> Mapping[str, Any]:
    try:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    except ImportError as error:
        raise MissingExtra("metaworld", "metaworld") from error
    found: Mapping[str, Any] = ALL_V3_ENVIRONMENTS
    return found


def _known(task: str) -> str:
    """Return Meta-World's own name of a task."""
    if f"{task}-v3" not in _environments():
        raise UnknownName("metaworld task", task, task_names())
    return f"{task}-v3"


W_LAST = frozenset(
    {
        *("coffee-pull", "coffee-push", "door-close", "door-open", "lever-pull", "peg-insert-side", "pick-place"),
        *("pick-place-wall", "plate-slide", "plate-slide-back", "plate-slide-back-side", "plate-slide-side", "push"),
        *("push-back", "push-wall", "reach", "reach-wall", "shelf-place", "soccer", "stick-pull", "stick-push", "sweep-into"),
    }
)
"""Tasks whose environments give quaternions as x y z w, from scipy; the others give MuJoCo's w x y z."""


def _w_first(task: str, objects: NDArray[np.float64]) -> NDArray[np.float64]:
    return _turned(objects, 1) if task in W_LAST else objects


def _w_last(task: str, objects: NDArray[np.float64]) -> NDArray[np.float64]:
    return _turned(objects, -1) if task in W_LAST else objects


def _turned(objects: NDArray[np.float64], places: int) -> NDArray[np.float64]:
    """Return both objects ``position, quaternion`` with their quaternions rolled by so many places."""
    parts = objects.reshape(2, 7)
    return np.concatenate([parts[:, :3], np.roll(parts[:, 3:], places, axis=1)], axis=1).ravel()


def _camera(camera: Camera | Mapping[str, Any]) -> Camera:
    if isinstance(camera, Camera):
        return camera
    check_arguments(Camera, camera, what="camera")
    return Camera(**camera)
