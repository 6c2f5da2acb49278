"""Twins for tests: a virtual arm behind a port in virtual time, or behind a pseudo-terminal served by a thread."""

import contextlib
import threading

from robot_learning.hardware.arms import so101
from robot_learning.hardware.arms.arm import ServoArm
from robot_learning.hardware.arms.makers import FEETECH
from robot_learning.hardware.arms.motors import Motors
from robot_learning.hardware.buses.bus import ServoBus
from robot_learning.hardware.buses.dynamixel import X_SERIES, DynamixelWire
from robot_learning.hardware.buses.feetech import STS, FeetechWire
from robot_learning.hardware.buses.port import SerialPort
from robot_learning.hardware.calibration import Calibration, JointCalibration
from robot_learning.hardware.teleop.leader import Leader
from robot_learning.hardware.twin.arm import ArmBody
from robot_learning.hardware.twin.bank import ServoBank
from robot_learning.hardware.twin.direct import DirectPort
from robot_learning.hardware.twin.dynamixel import DynamixelServo
from robot_learning.hardware.twin.feetech import STEP, FeetechServo
from robot_learning.hardware.twin.line import Line
from robot_learning.hardware.twin.terminal import Terminal

MAKERS = {"feetech": (FeetechWire, STS, FeetechServo), "dynamixel": (DynamixelWire, X_SERIES, DynamixelServo)}


def make_line(maker="feetech", **settings):
    """A line of six servos on an SO-101's joints, all encoders in the middle at zero."""
    wire, _, servo = MAKERS[maker]
    body = ArmBody("so101")
    return Line(ServoBank(wire(), [servo(number + 1, settings=settings) for number in range(len(body.joints))], body))


def make_bus(port, maker="feetech", **arguments):
    """A bus to those servos."""
    wire, table, _ = MAKERS[maker]
    names = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    return ServoBus(port, wire(), table, {name: number for number, name in enumerate(names, 1)}, **arguments)


def direct(maker="feetech", *, baud=1_000_000, **settings):
    """A connected bus in virtual time, and its line."""
    line = make_line(maker, **settings)
    bus = make_bus(DirectPort(line, baud=baud), maker)
    bus.connect()
    return bus, line


@contextlib.contextmanager
def served(folder, line, name="arm"):
    """A pseudo-terminal in front of a line, served while the context lasts."""
    running = threading.Event()
    running.set()
    with Terminal(line, folder / name) as terminal:
        thread = threading.Thread(target=terminal.serve, args=(running.is_set,), daemon=True)
        thread.start()
        try:
            yield terminal
        finally:
            running.clear()
            thread.join(timeout=5)


MOUNTED = (2100, 1900, 2500, 1700, 2048, 1400)
"""Where the encoders of the test arm stand at zero: nobody mounts servos exactly."""


def so101_line(**settings):
    """The line of an SO-101 whose servos are mounted askew and homed so that the middle of each range reads 2048."""
    body = ArmBody("so101")
    offsets = [round(mounted + sum(ends) / 2 / STEP) - 2048 for mounted, ends in zip(MOUNTED, body.range, strict=True)]
    servos = [
        FeetechServo(number, mounted=mounted, settings={"homing_offset": offset, "return_delay": 0, **settings})
        for number, (mounted, offset) in enumerate(zip(MOUNTED, offsets, strict=True), 1)
    ]
    return Line(ServoBank(FeetechWire(), servos, body))


REST = {"shoulder_pan": 0.0, "shoulder_lift": -1.6, "elbow_flex": 1.6, "wrist_flex": 1.0, "wrist_roll": 0.0, "gripper": 0.0}
"""A pose in which the arm lies on itself or hangs still [rad]."""


def so101_calibration(line, name="follower"):
    """What calibrating that arm would give."""
    joints = {}
    for joint, servo, (low, high) in zip(so101.JOINTS, line.bank.servos, line.bank.body.range, strict=True):
        zero = 2048 - round((low + high) / 2 / STEP)
        joints[joint] = JointCalibration(
            id=servo.id,
            model=777,
            firmware="3.10",
            homing_offset=servo.memory["homing_offset"],
            low=zero + round(low / STEP),
            high=zero + round(high / STEP),
            zero=zero,
            sign=1,
            rest=zero + round(REST[joint] / STEP),
        )
    return Calibration(arm="so101", name=name, joints=joints, made="2026-11-21T12:00:00+00:00", operator="test")


def so101_arm(line=None, port=None, **arguments):
    """A follower on a twin, in virtual time unless a port is given."""
    line = line or so101_line()
    port = port or DirectPort(line)
    motors = Motors(so101.bus(port), FEETECH, so101_calibration(line))
    return ServoArm(motors, name="so101", sleep=port.sleep, **arguments)


def serial_bus(terminal, maker="feetech", *, baud=1_000_000, **arguments):
    """A bus through the operating system's serial port."""
    return make_bus(SerialPort(str(terminal.name), baud), maker, **arguments)


class TwinClock:
    """A loop's clock over ports in virtual time: a tick is a period on each of them."""

    def __init__(self, dt, *ports):
        self.dt, self.ports, self.overruns = dt, ports, 0
        self.reset()

    def reset(self):
        self._starts, self._ticks = [port.now() for port in self.ports], 0

    def now(self):
        return self.ports[0].now()

    def tick(self):
        self._ticks += 1
        for port, start in zip(self.ports, self._starts, strict=True):
            port.sleep(max(0.0, start + self._ticks * self.dt - port.now()))


def so101_leader(line=None, **arguments):
    """A leader on a twin, in virtual time."""
    line = line or so101_line()
    port = DirectPort(line)
    motors = Motors(so101.bus(port), FEETECH, so101_calibration(line, "leader"))
    return Leader(motors, now=port.now, **arguments)
