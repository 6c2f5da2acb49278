"""The SO-100 and SO-101: six STS3215 on one bus, as follower or as leader."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.hardware.arms.arm import AtClose, Limits, ServoArm
from robot_learning.hardware.arms.calibrate import Plan
from robot_learning.hardware.arms.makers import FEETECH
from robot_learning.hardware.arms.motors import Motors
from robot_learning.hardware.buses.bus import Patience, ServoBus
from robot_learning.hardware.buses.feetech import MODELS
from robot_learning.hardware.buses.port import Port, SerialPort
from robot_learning.hardware.calibration import load

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
"""The joints from the base to the gripper; their servos have the ids 1 to 6."""

ROLES = ("follower", "leader")

RANGES = {
    "shoulder_pan": (-1.92, 1.92),
    "shoulder_lift": (-1.745, 1.745),
    "elbow_flex": (-1.69, 1.69),
    "wrist_flex": (-1.658, 1.658),
    "wrist_roll": (-2.744, 2.841),
    "gripper": (-0.1745, 1.745),
}
"""How far each joint goes [rad], from the makers' model of the arm."""

PROTECTION = {
    "gripper": {"max_torque": 500, "protection_current": 250, "overload_torque": 25},
}
"""Registers that keep a motor from cooking itself on something it grips."""

FOLDER = Path("~/.robot-learning/calibrations")
"""Where calibrations are kept unless told otherwise."""


def bus(port: str | Port | None, patience: Patience | None = None) -> ServoBus:
    """Return the bus of an arm at a serial port, not opened. Raises :class:`ConfigError` where no port is given."""
    if port is None:
        raise ConfigError(
            "port of an SO-101: expected a serial port, got none; `robot-learning find ports` lists them, e.g. "
            "robot.port=/dev/ttyACM0 teleop.port=/dev/ttyACM1"
        )
    line = SerialPort(os.path.expanduser(port), FEETECH.baud) if isinstance(port, str) else port
    motors = {name: number for number, name in enumerate(JOINTS, 1)}
    return ServoBus(line, FEETECH.wire, FEETECH.table, motors, patience or Patience())


def motors(port: str | Port | None, name: str, calibrations: str | Path = FOLDER) -> Motors:
    """Return the motors of a calibrated arm.

    Args:
        port: Serial port, e.g. ``/dev/serial/by-id/usb-1a86_USB_Single_Serial_58CD176683-if00``.
        name: The arm's own name, that it was calibrated under.
        calibrations: Folder of calibrations, or one calibration's file.
    """
    return Motors(bus(port), FEETECH, load(Path(calibrations).expanduser(), name))


def follower(
    port: str | Port | None = None,
    name: str = "follower",
    *,
    calibrations: str | Path = FOLDER,
    control_hz: float = 50.0,
    limits: Mapping[str, float] | None = None,
    at_close: AtClose = "park",
    home: Mapping[str, float] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> ServoArm:
    """Return a follower arm behind the Robot protocol; see :class:`ServoArm` for the arguments."""
    return ServoArm(
        motors(port, name, calibrations),
        name="so101",
        control_hz=control_hz,
        limits=Limits(**(limits or {})),
        at_close=at_close,
        home=home,
        sleep=sleep,
    )


def plan(role: str = "follower") -> Plan:
    """Return what calibrating an arm goes by; a leader's gripper is a trigger with a range of its own.

    The ends of a range are where the arm's own stops are, which stay where they are; a pose shown by hand does not. So zero
    is worked out from the ends: the middle of the range that was found is the middle of the range in :data:`RANGES`.
    """
    if role not in ROLES:
        raise UnknownName("role", role, ROLES)
    known = [joint for joint in JOINTS if role == "follower" or joint != "gripper"]
    return Plan(
        arm=f"so101_{role}",
        models=frozenset({MODELS["sts3215"], MODELS["sts3250"]}),
        spans={joint: (RANGES[joint][1] - RANGES[joint][0]) / FEETECH.step for joint in known},
        zero=lambda joint, low, high: round((low + high) / 2 - sum(RANGES[joint]) / 2 / FEETECH.step),
        signs={},
        kept=PROTECTION if role == "follower" else {},
    )
