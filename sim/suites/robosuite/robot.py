"""A robosuite environment behind the Robot protocol: state and cameras, actions as its controllers take them."""

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.arguments import check_arguments
from robot_learning.core.errors import ConfigError, NotConnected, SafetyStop, SpecMismatch, UnknownName
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Action, Observation
from robot_learning.sim.suites.robosuite import environment
from robot_learning.sim.suites.robosuite.tasks import POSE, object_state, restore, state_spec, task_of
from robot_learning.sim.views import View, observed_views, view_specs

CONTROL_HZ, PHYSICS_HZ = 20.0, 500.0
_DOWN = np.array([0.0, np.sqrt(0.5), np.sqrt(0.5), 0.0])
"""The tool pointing down with its fingers across, as the arms start; quaternions of the tool are given on its side."""
_RESTORED = ("joint_position", "joint_velocity", "gripper_position", "object_state")


class Camera(View):
    """A camera to observe from: any of robosuite's, e.g. ``agentview`` or ``robot0_eye_in_hand``."""


class RobosuiteRobot:
    """One arm in one robosuite environment.

    Every reset draws the whole environment anew from its seed, model included (Lift's cube has a size of its own). The
    ``spec`` depends on arm and controller: asking for it builds the environment.

    Args:
        task: Which environment, one of :data:`robot_learning.sim.suites.robosuite.tasks.TASKS`.
        robot: Arm, e.g. ``Panda``, ``Sawyer``, ``UR5e``.
        controller: What actions mean, e.g. ``OSC_POSE``, ``OSC_POSITION``, ``JOINT_POSITION``.
        cameras: Cameras to observe from, as :class:`Camera` or as its fields by name.
        control_hz: Actions per second, a divisor of 500.
    """

    def __init__(
        self,
        task: str = "Lift",
        robot: str = "Panda",
        controller: str = "OSC_POSE",
        cameras: Sequence[Camera | Mapping[str, Any]] = (),
        control_hz: float = CONTROL_HZ,
    ) -> None:
        """Keep the settings; nothing of robosuite is imported yet."""
        self._task = task_of(task)
        if control_hz <= 0 or int(PHYSICS_HZ / control_hz) != PHYSICS_HZ / control_hz:
            raise ConfigError(f"robosuite control_hz: expected a divisor of {PHYSICS_HZ:g} Hz, the physics, got {control_hz}")
        self._settings = (task, robot, controller, float(control_hz))
        self._cameras = tuple(_camera(camera) for camera in cameras)
        self._spec: RobotSpec | None = None
        self._env: Any = None
        self._connected = self._ready = False
        self._now = 0.0
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}

    @property
    def spec(self) -> RobotSpec:
        """Return what the robot observes and accepts."""
        if self._spec is None:
            self._spec = self._describe(self._environment())
        return self._spec

    def connect(self) -> None:
        """Build the environment; idempotent."""
        self._environment()
        self._connected = True

    def close(self) -> None:
        """Free the environment; idempotent."""
        self._free_renderers()
        if self._env is not None:
            self._env.close()
        self._env, self._connected, self._ready = None, False, False

    def stop(self) -> None:
        """Do nothing: between two actions time stands still."""

    def reset(self, *, seed: int | None = None, start: Mapping[str, NDArray[Any]] | None = None) -> Observation:
        """Draw arm, objects and their sizes from ``seed``; then put arm and objects where ``start`` has them."""
        if not self._connected:
            raise NotConnected("robosuite: expected connect() before use")
        self._free_renderers()
        # The samplers of the environment share its generator, so it is rewound in place.
        self._env.rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
        self._env.reset()
        if start is not None:
            self._restore(start)
        self._now += self.spec.dt
        self._ready = True
        return self.observe()

    def observe(self) -> Observation:
        """Return the present observation; images only from the cameras asked for."""
        env = self._running()
        robot, data = env.robots[0], env.sim.data._data
        site = data.site(robot.eef_site_id["right"])
        rotation = np.empty(4)
        mujoco.mju_mat2Quat(rotation, site.xmat)
        rotation *= np.sign(rotation @ _DOWN) or 1.0
        now = np.asarray(np.float64(self._now))
        observation: dict[str, NDArray[Any]] = {
            "joint_position": data.qpos[robot._ref_joint_pos_indexes].astype(np.float32),
            "joint_velocity": data.qvel[robot._ref_joint_vel_indexes].astype(np.float32),
            "ee_pose": np.concatenate((site.xpos, rotation), dtype=np.float32),
            "ee_rotation6d": site.xmat.reshape(3, 3)[:, :2].T.astype(np.float32).reshape(6),
            "gripper_position": data.qpos[robot._ref_gripper_joint_pos_indexes["right"]].astype(np.float32),
            "object_state": object_state(self._task, data, site.xpos),
            "success": np.array([env._check_success()], np.float32),
            "time": now,
        }
        return observation | observed_views(self._cameras, self._look, self._now)

    def apply(self, action: Action) -> Action:
        """Send one action, advance one control period, and return the action after clipping to its limits.

        Raises:
            SafetyStop: The action is not finite; nothing moved.
        """
        env = self._running()
        asked = self.spec.validate_action(action)
        if not np.isfinite(asked).all():
            raise SafetyStop(f"robosuite: expected a finite action, got {asked}")
        sent: Action = np.clip(asked, self.spec.action.low, self.spec.action.high)
        env.step(sent.astype(np.float64))
        # Poses and contacts lag one physics step behind the joints; this touches nothing that the next step starts from.
        mujoco.mj_fwdPosition(env.sim.model._model, env.sim.data._data)
        self._now += self.spec.dt
        return sent

    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """Return an RGB image, uint8 ``[height, width, 3]``, from one of the environment's cameras, the right way up."""
        image: NDArray[np.uint8] = self._look(camera, width, height).render()
        return image

    def _look(self, camera: str, width: int, height: int) -> mujoco.Renderer:
        env = self._running()
        model, data = env.sim.model._model, env.sim.data._data
        if camera not in (names := _camera_names(model)):
            raise UnknownName("robosuite camera", camera, names)
        renderer = self._renderers.get((width, height))
        if renderer is None:
            model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
            model.vis.global_.offheight = max(height, model.vis.global_.offheight)
            renderer = self._renderers[width, height] = mujoco.Renderer(model, height, width)
        renderer.update_scene(data, camera, _visual_only())
        return renderer

    def _environment(self) -> Any:
        if self._env is None:
            self._env = environment.make_environment(*self._settings)
            names = _camera_names(self._env.sim.model._model)
            for camera in self._cameras:
                if camera.name not in names:
                    raise UnknownName("robosuite camera", camera.name, names)
        return self._env

    def _describe(self, env: Any) -> RobotSpec:
        task, robot, controller, control_hz = self._settings
        observation = {
            "joint_position": environment.joint_spec(env, "rad"),
            "joint_velocity": environment.joint_spec(env, "rad/s"),
            "ee_pose": ArraySpec((7,), unit="mixed", names=POSE),
            "ee_rotation6d": ArraySpec((6,), names=("xx", "xy", "xz", "yx", "yy", "yz")),
            "gripper_position": environment.gripper_spec(env),
            "object_state": state_spec(self._task),
            "success": ArraySpec((1,)),
        }
        observation |= view_specs(self._cameras)
        return RobotSpec(observation, environment.action_spec(env, controller), control_hz, f"robosuite {task} {robot}")

    def _restore(self, start: Mapping[str, NDArray[Any]]) -> None:
        missing = [key for key in _RESTORED if key not in start]
        if missing:
            raise SpecMismatch(f"robosuite start: missing {missing}; a start needs {list(_RESTORED)}")
        robot, data = self._env.robots[0], self._env.sim.data._data
        data.qpos[robot._ref_joint_pos_indexes] = start["joint_position"]
        data.qvel[robot._ref_joint_vel_indexes] = start["joint_velocity"]
        data.qpos[robot._ref_gripper_joint_pos_indexes["right"]] = start["gripper_position"]
        restore(self._task, self._env.sim.model._model, data, start["object_state"])
        robot.composite_controller.update_state()
        robot.composite_controller.reset()

    def _free_renderers(self) -> None:
        """Close what drew the model of the last episode."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _running(self) -> Any:
        if not self._ready:
            raise NotConnected("robosuite: expected connect() and reset() before use")
        return self._env


def _camera(camera: Camera | Mapping[str, Any]) -> Camera:
    if isinstance(camera, Camera):
        return camera
    check_arguments(Camera, camera, what="camera")
    return Camera(**camera)


def _camera_names(model: Any) -> list[str]:
    return [model.camera(index).name for index in range(model.ncam)]


def _visual_only() -> mujoco.MjvOption:
    """Return what to draw: robosuite's collision shapes are group 0, what is to be seen is group 1."""
    option = mujoco.MjvOption()
    option.geomgroup[0] = 0
    return option
