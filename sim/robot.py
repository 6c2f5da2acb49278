"""The play table behind the Robot protocol: a Panda that takes tool motions or joint positions at 20 Hz."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.arguments import check_arguments
from robot_learning.core.errors import ConfigError, NotConnected, SafetyStop, SpecMismatch, UnknownName
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Action, Observation
from robot_learning.sim import panda, playroom, sampling
from robot_learning.sim.kinematics import ArmKinematics, downward, rotation_matrix, rotation_vector
from robot_learning.sim.views import View, observed_views, view_specs
from robot_learning.sim.world import SUBSTEPS, World, block_axis_products, start_arrays

CONTROL_HZ = 20.0
MAX_TRANSLATION = 0.03
"""Largest motion of the tool per step and axis [m]: 0.6 m/s."""
MAX_ROTATION = 0.15
"""Largest turn of the tool per step and axis [rad]."""
LEASH = 0.04
"""The commanded pose stays this close to the measured one [m], so that pushing against something never winds up."""
LEASH_ROTATION = 0.3
WORKSPACE_LOW = np.array([0.20, -0.42, -0.052])
WORKSPACE_HIGH = np.array([0.76, 0.42, 0.50])
ACTION_MODES = ("ee_delta", "joint_position")
_DOWN = np.array([0.0, 1.0, 0.0, 0.0])
_STEP = 1.0 / CONTROL_HZ
_SETTLE_S = 0.3
CAMERAS = ("static", "front", "wrist")


@dataclass(frozen=True)
class Camera(View):
    """A camera to observe from: ``static``, ``front`` or ``wrist``."""

    def __post_init__(self) -> None:
        """Check the name and the size."""
        if self.name not in CAMERAS:
            raise UnknownName("camera", self.name, CAMERAS)
        widest, tallest = playroom.RENDER_WIDTH, playroom.RENDER_HEIGHT
        if not (1 <= self.width <= widest and 1 <= self.height <= tallest):
            got = f"{self.width} x {self.height}"
            raise ConfigError(f"camera {self.name!r}: expected 1 x 1 to {widest} x {tallest} pixels, got {got}")


class PlayTableRobot:
    """Simulated Panda at the play table.

    Args:
        action_mode: ``ee_delta``: motion of the tool (3 x [m], rotation vector 3 x [rad], base frame) and gripper
            command (-1 closed to 1 open); ``joint_position``: seven joint targets [rad] and the gripper command.
        cameras: Cameras to observe from, as :class:`Camera` or as its fields by name; rendered at every observation,
            so ask only for what is used.
    """

    def __init__(self, action_mode: str = "ee_delta", cameras: Sequence[Camera | Mapping[str, Any]] = ()) -> None:
        """Describe the robot; ``connect`` builds the simulation."""
        if action_mode not in ACTION_MODES:
            raise UnknownName("action mode", action_mode, ACTION_MODES)
        self.action_mode = action_mode
        self._cameras = tuple(_camera(camera) for camera in cameras)
        self.spec = RobotSpec(
            observation=_observation_spec(self._cameras),
            action=_action_spec(action_mode),
            control_hz=CONTROL_HZ,
            name="play_table",
        )
        self._world: World | None = None
        self._kinematics = ArmKinematics()
        self._ready = False
        self._base_time = 0.0
        self._joints = panda.HOME.copy()
        self._width = panda.GRIPPER_MAX_WIDTH
        self._position, self._rotation = self._kinematics.forward(self._joints)
        self._measured = (self._position, self._rotation)

    @property
    def world(self) -> World:
        """Return the simulated room (for tests, videos and the scripted operator's set-up)."""
        if self._world is None:
            raise NotConnected("play_table: expected connect() before use")
        return self._world

    def connect(self) -> None:
        """Build the simulation; idempotent."""
        if self._world is None:
            self._world = World()

    def close(self) -> None:
        """Free the simulation; idempotent."""
        if self._world is not None:
            self._world.close()
        self._world, self._ready = None, False

    def stop(self) -> None:
        """Hold the measured pose; never raises."""
        if self._world is not None and self._ready:
            self._hold()

    def reset(self, *, seed: int | None = None, start: Mapping[str, NDArray[Any]] | None = None) -> Observation:
        """Start an episode from a drawn scene, or from the scene that ``start`` (an observation) shows."""
        if start is not None:
            return self._restore(start)
        scene = sampling.draw(np.random.default_rng(seed))
        return self.reset_to(scene)

    def reset_to(self, scene: sampling.StartScene) -> Observation:
        """Start an episode from a given scene, after letting it come to rest."""
        world = self._begin(scene.lights)
        joints = self._kinematics.reach(np.asarray(scene.tool), downward(scene.yaw))
        slides = np.array([scene.drawer * playroom.DRAWER_TRAVEL, scene.door * playroom.DOOR_TRAVEL])
        world.place(joints=joints, width=panda.GRIPPER_MAX_WIDTH, slides=slides, blocks=scene.poses)
        world.settle(_SETTLE_S)
        self._hold()
        return self.observe()

    def observe(self) -> Observation:
        """Return the present observation; images only from the cameras asked for."""
        world = self._running()
        qpos = world.data.qpos
        joints = qpos[world.arm]
        position, rotation = self._measured = self._kinematics.forward(joints)
        blocks = world.blocks
        pose = np.empty(7, dtype=np.float32)
        quaternion = np.empty(4)
        mujoco.mju_mat2Quat(quaternion, rotation.ravel())
        pose[:3], pose[3:] = position, quaternion if quaternion @ _DOWN >= 0 else -quaternion
        now = np.float64(self._base_time + world.data.time)
        observation: dict[str, NDArray[Any]] = {
            "joint_position": joints.astype(np.float32),
            "joint_velocity": world.data.qvel[world.arm].astype(np.float32),
            "ee_pose": pose,
            "ee_rotation6d": rotation[:, :2].T.astype(np.float32).reshape(6),
            "gripper_width": np.array([qpos[7] + qpos[8]], dtype=np.float32),
            "furniture": np.concatenate((world.slides, world.buttons, world.lights), dtype=np.float32),
            "block_position": blocks[:, :3].astype(np.float32).reshape(9),
            "block_quaternion": blocks[:, 3:].astype(np.float32).reshape(12),
            "block_axis": block_axis_products(blocks[:, 3:]).astype(np.float32),
            "block_in_tool": (blocks[:, :3] - position).astype(np.float32).reshape(9),
            "time": np.asarray(now),
        }
        return observation | observed_views(self._cameras, world.look, now)

    def apply(self, action: Action) -> Action:
        """Send one action, advance one control period, and return the action after the robot's limits.

        Raises:
            SafetyStop: The action is not finite; nothing moved.
        """
        world = self._running()
        asked = self.spec.validate_action(action)
        if not np.isfinite(asked).all():
            raise SafetyStop(f"play_table: expected a finite action, got {asked}")
        sent: Action = np.clip(asked, self.spec.action.low, self.spec.action.high)
        wanted = self._joint_target(sent) if self.action_mode == "ee_delta" else sent[:7].astype(np.float64)
        reach = panda.JOINT_VELOCITY * _STEP
        self._joints = np.minimum(np.maximum(wanted, self._joints - reach), self._joints + reach)
        opening = 0.5 * (float(sent[-1]) + 1.0) * panda.GRIPPER_MAX_WIDTH
        change = panda.GRIPPER_SPEED * _STEP
        self._width = min(max(opening, self._width - change), self._width + change)
        world.step(self._joints, self._width)
        self._measured = self._kinematics.forward(world.data.qpos[world.arm])
        return sent

    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """Return an RGB image, uint8 ``[height, width, 3]``, for videos."""
        return self._running().render(camera, width, height)

    def _joint_target(self, sent: Action) -> NDArray[np.float64]:
        """Move the commanded tool pose by the action, keep it near the measured pose, and solve for joints."""
        measured_position, measured_rotation = self._measured
        position = self._position + sent[:3]
        position = np.minimum(np.maximum(position, measured_position - LEASH), measured_position + LEASH)
        self._position = np.minimum(np.maximum(position, WORKSPACE_LOW), WORKSPACE_HIGH)
        rotation = rotation_matrix(sent[3:6]) @ self._rotation
        lead = rotation_vector(rotation @ measured_rotation.T)
        size = float(np.sqrt(lead @ lead))
        if size > LEASH_ROTATION:
            rotation = rotation_matrix(lead * (LEASH_ROTATION / size)) @ measured_rotation
        self._rotation = rotation
        return self._kinematics.solve(self._joints, self._position, rotation)

    def _restore(self, start: Mapping[str, NDArray[Any]]) -> Observation:
        missing = [key for key in _RESTORED if key not in start]
        if missing:
            raise SpecMismatch(f"play_table start: missing {missing}; a start needs {list(_RESTORED)}")
        arrays = start_arrays(start)
        world = self._begin(arrays.pop("lights"))
        world.place(width=float(np.asarray(start["gripper_width"]).ravel()[0]), **arrays)
        if "joint_velocity" in start:
            world.data.qvel[world.arm] = start["joint_velocity"]
        self._hold()
        return self.observe()

    def _begin(self, lights: NDArray[np.float64]) -> World:
        world = self.world
        self._base_time += float(world.data.time) + _STEP
        world.clear(lights)
        self._ready = True
        return world

    def _hold(self) -> None:
        """Command what is measured."""
        world = self.world
        self._joints = world.data.qpos[world.arm].copy()
        self._width = float(world.data.qpos[world.fingers].sum())
        self._position, self._rotation = self._measured = self._kinematics.forward(self._joints)

    def _running(self) -> World:
        if not self._ready:
            raise NotConnected("play_table: expected connect() and reset() before use")
        return self.world


_RESTORED = ("joint_position", "gripper_width", "furniture", "block_position", "block_quaternion")


def _camera(camera: Camera | Mapping[str, Any]) -> Camera:
    if isinstance(camera, Camera):
        return camera
    check_arguments(Camera, camera, what="camera")
    return Camera(**camera)


def _action_spec(mode: str) -> ArraySpec:
    if mode == "joint_position":
        return ArraySpec(
            shape=(8,),
            unit="mixed",
            names=(*(f"{name} [rad]" for name in panda.JOINT_NAMES), "gripper [-1 closed, 1 open]"),
            low=np.append(panda.JOINT_LOW, -1.0),
            high=np.append(panda.JOINT_HIGH, 1.0),
        )
    high = np.array([MAX_TRANSLATION] * 3 + [MAX_ROTATION] * 3 + [1.0])
    return ArraySpec(
        shape=(7,),
        unit="mixed",
        names=("dx [m]", "dy [m]", "dz [m]", "rx [rad]", "ry [rad]", "rz [rad]", "gripper [-1 closed, 1 open]"),
        low=-high,
        high=high,
    )


def _observation_spec(cameras: Sequence[Camera]) -> dict[str, ArraySpec]:
    blocks = playroom.BLOCK_NAMES
    spec = {
        "joint_position": ArraySpec((7,), unit="rad", names=panda.JOINT_NAMES),
        "joint_velocity": ArraySpec((7,), unit="rad/s", names=panda.JOINT_NAMES),
        "ee_pose": ArraySpec((7,), unit="mixed", names=("x [m]", "y [m]", "z [m]", "qw", "qx", "qy", "qz")),
        "ee_rotation6d": ArraySpec((6,), names=("xx", "xy", "xz", "yx", "yy", "yz")),
        "gripper_width": ArraySpec((1,), unit="m"),
        "furniture": ArraySpec(
            (8,),
            unit="mixed",
            names=(
                "drawer [m]",
                "door [m]",
                *(f"{name} button [m]" for name in playroom.BUTTON_NAMES),
                *(f"{name} light" for name in playroom.BUTTON_NAMES),
            ),
        ),
        "block_position": ArraySpec((9,), unit="m", names=tuple(f"{b} {a}" for b in blocks for a in "xyz")),
        "block_quaternion": ArraySpec((12,), names=tuple(f"{b} {a}" for b in blocks for a in ("qw", "qx", "qy", "qz"))),
        "block_axis": ArraySpec((18,), names=tuple(f"{b} {a}" for b in blocks for a in ("xx", "yy", "zz", "xy", "xz", "yz"))),
        "block_in_tool": ArraySpec((9,), unit="m", names=tuple(f"{b} {a}" for b in blocks for a in "xyz")),
    }
    return spec | view_specs(cameras, unit="")  # as it is in stores recorded so far


__all__ = ["ACTION_MODES", "CONTROL_HZ", "SUBSTEPS", "Camera", "PlayTableRobot"]
