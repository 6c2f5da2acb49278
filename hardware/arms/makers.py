"""What arms need to know about a maker's servos: registers that tell the state, units, and settings to begin with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from robot_learning.hardware.buses import dynamixel, feetech
from robot_learning.hardware.buses.registers import ControlTable
from robot_learning.hardware.buses.wire import Wire


@dataclass(frozen=True)
class Maker:
    """One family of servos.

    Attributes:
        wire: Packets.
        table: Registers.
        baud: Usual rate [bit/s].
        resolution: Steps of a turn.
        state: Registers of torque enable, position, velocity, load, voltage and temperature.
        speed: Register that limits how fast a servo moves.
        velocity_unit: [rad/s].
        load_unit: Fraction of full torque.
        firmware: Registers that make up the firmware's version.
        settings: What is written to every servo when an arm is connected, with the torque off.
        lock: Register that guards what is kept without power, 0 to unlock; None where there is none.
        offset_sign: Present position = encoder + offset_sign * homing offset.
        offset_limit: Largest homing offset [steps].
    """

    name: str
    wire: Wire
    table: ControlTable
    baud: int
    resolution: int
    state: tuple[str, str, str, str, str, str]
    speed: str
    velocity_unit: float
    load_unit: float
    firmware: tuple[str, ...]
    offset_sign: int
    offset_limit: int
    settings: Mapping[str, int] = field(default_factory=dict)
    lock: str | None = None

    @property
    def step(self) -> float:
        """Return one step [rad]."""
        return 2 * math.pi / self.resolution


FEETECH = Maker(
    name="feetech",
    wire=feetech.FeetechWire(),
    table=feetech.STS,
    baud=1_000_000,
    resolution=feetech.RESOLUTION,
    state=("torque_enable", "present_position", "present_velocity", "present_load", "present_voltage", "present_temperature"),
    speed="goal_velocity",
    velocity_unit=2 * math.pi / feetech.RESOLUTION,
    load_unit=0.001,
    firmware=("firmware_major", "firmware_minor"),
    # Answers at once; soft enough not to shake (the gains that SO-101 users found, see docs/so101.md); no wait in moving off.
    settings={"return_delay": 0, "operating_mode": 0, "position_p": 16, "position_i": 0, "position_d": 32, "acceleration": 254},
    lock="lock",
    offset_sign=-1,
    offset_limit=2047,
)
"""Feetech's STS servos."""

DYNAMIXEL = Maker(
    name="dynamixel",
    wire=dynamixel.DynamixelWire(),
    table=dynamixel.X_SERIES,
    baud=1_000_000,
    resolution=dynamixel.RESOLUTION,
    state=("torque_enable", "present_position", "present_velocity", "present_pwm", "present_voltage", "present_temperature"),
    speed="profile_velocity",
    velocity_unit=0.229 * 2 * math.pi / 60,
    load_unit=1 / 885,
    firmware=("firmware",),
    settings={"return_delay": 0, "operating_mode": 4},
    offset_sign=1,
    offset_limit=1_044_479,
)
"""Dynamixel's X series, in extended position mode: no gap where a turn ends."""
