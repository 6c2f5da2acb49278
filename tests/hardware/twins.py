"""Twins for tests: a virtual arm behind a port in virtual time, or behind a pseudo-terminal served by a thread."""

import contextlib
import threading

from robot_learning.hardware.buses.bus import ServoBus
from robot_learning.hardware.buses.dynamixel import X_SERIES, DynamixelWire
from robot_learning.hardware.buses.feetech import STS, FeetechWire
from robot_learning.hardware.buses.port import SerialPort
from robot_learning.hardware.twin.arm import ArmBody
from robot_learning.hardware.twin.bank import ServoBank
from robot_learning.hardware.twin.direct import DirectPort
from robot_learning.hardware.twin.dynamixel import DynamixelServo
from robot_learning.hardware.twin.feetech import FeetechServo
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


def serial_bus(terminal, maker="feetech", *, baud=1_000_000, **arguments):
    """A bus through the operating system's serial port."""
    return make_bus(SerialPort(str(terminal.name), baud), maker, **arguments)
