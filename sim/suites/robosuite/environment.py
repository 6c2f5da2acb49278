"""Builds robosuite environments, and says in this project's terms what their robots observe and take."""

import logging
import warnings
from typing import Any

import mujoco

from robot_learning.core.errors import ConfigError, MissingExtra, UnknownName
from robot_learning.core.spec import ArraySpec

_TOOL_AXES = ("dx", "dy", "dz", "rx", "ry", "rz")
_JOINT_UNITS = {"JOINT_POSITION": "rad", "JOINT_VELOCITY": "rad/s", "JOINT_TORQUE": "Nm"}


def make_environment(task: str, robot: str, controller: str, control_hz: float) -> Any:
    """Return a robosuite environment with one arm on a fixed base, without renderer and without an end of its own.

    Raises:
        MissingExtra: robosuite is not installed.
        UnknownName: It ships no such arm or controller.
        ConfigError: It does not run this arm with this controller.
    """
    robosuite, composite, robots = _import()
    single = [name for name, kind in robots.ROBOT_CLASS_MAPPING.items() if kind is robots.FixedBaseRobot]
    arms = [name for name in single if robots.REGISTERED_ROBOTS[name].arms == ["right"]]
    if robot not in arms:
        raise UnknownName("robosuite arm", robot, arms)
    if controller not in robosuite.ALL_PART_CONTROLLERS:
        raise UnknownName("robosuite controller", controller, robosuite.ALL_PART_CONTROLLERS)
    part = robosuite.load_part_controller_config(default_controller=controller)
    try:
        return robosuite.make(
            task,
            robots=robot,
            controller_configs=composite.refactor_composite_controller_config(part, robot, ["right"]),
            control_freq=control_hz,
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            use_object_obs=False,
            renderer="mujoco",
            ignore_done=True,
        )
    except (AssertionError, AttributeError) as error:  # IK_POSE knows few arms; JOINT_VELOCITY is broken in 1.5.2
        got = f"{robot} with {controller}: {error}"
        raise ConfigError(f"robosuite: expected an arm and a controller that go together, got {got}") from error


def joint_spec(environment: Any, unit: str) -> ArraySpec:
    """Return the spec of a number per joint of the arm."""
    names = tuple(name.removeprefix("robot0_") for name in environment.robots[0].robot_joints)
    return ArraySpec((len(names),), unit=unit, names=names)


def gripper_spec(environment: Any) -> ArraySpec:
    """Return the spec of the positions of the gripper's joints."""
    model, joints = environment.sim.model._model, environment.robots[0].gripper_joints["right"]
    units = ("rad" if model.joint(name).type[0] == mujoco.mjtJoint.mjJNT_HINGE else "m" for name in joints)
    names = tuple(f"{name.removeprefix('gripper0_right_')} [{unit}]" for name, unit in zip(joints, units, strict=True))
    return ArraySpec((len(names),), unit="mixed", names=names)


def action_spec(environment: Any, controller: str) -> ArraySpec:
    """Return the spec of the environment's actions; a name such as ``dx [0.05 m]`` says what 1 stands for."""
    robot = environment.robots[0]
    arm = robot.composite_controller.part_controllers["right"]
    if controller in _JOINT_UNITS:
        joints = joint_spec(environment, "").names
        names = [f"{name} [{most:g} {_JOINT_UNITS[controller]}]" for name, most in zip(joints, arm.output_max, strict=True)]
    elif controller.startswith("OSC"):
        units = ("m",) * 3 + ("rad",) * 3
        names = [f"{axis} [{most:g} {unit}]" for axis, most, unit in zip(_TOOL_AXES, arm.output_max, units, strict=False)]
    else:
        names = list(_TOOL_AXES)  # IK_POSE scales its commands itself
    fingers = robot.gripper["right"].dof
    names += ["gripper [-1 open, 1 closed]"] if fingers == 1 else [f"gripper {index}" for index in range(fingers)]
    low, high = environment.action_spec
    return ArraySpec(low.shape, unit="mixed", names=tuple(names), low=low, high=high)


def _import() -> tuple[Any, Any, Any]:
    """Import robosuite without what it prints about itself; its errors still show."""
    logging.getLogger("robosuite_logs").addFilter(_is_trouble)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import robosuite
            from robosuite import robots
            from robosuite.controllers.composite import composite_controller_factory
    except ImportError as error:
        raise MissingExtra("robosuite", "robosuite") from error
    return robosuite, composite_controller_factory, robots


def _is_trouble(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
