"""A virtual X-series servo: the registers of :data:`robot_learning.hardware.buses.dynamixel.X_SERIES`, and what they do.

The present position is the encoder's plus the homing offset, counting turns; in position mode (3) it starts within one turn
when the power comes on. Kept registers refuse writes while the torque is on. A servo that trips lets go, says so in
``hardware_error`` and obeys again after a reboot.
"""

import math
from collections.abc import Mapping

from robot_learning.hardware.buses.dynamixel import BAUD_RATES, MODELS, RESOLUTION, X_SERIES
from robot_learning.hardware.twin.body import Drive
from robot_learning.hardware.twin.servos import Fuse, Heat, Memory

STEP = 2 * math.pi / RESOLUTION
"""One step [rad]."""
VELOCITY_UNIT = 0.229 * 2 * math.pi / 60
"""Unit of velocities [rad/s]."""
MEMORY_SIZE = 147
BROWN_OUT_V = 3.5
"""Below this the servo's controller restarts."""
OVERLOAD_S = 2.0
"""How long a servo may pull with more than :data:`OVERLOAD` before it trips [s]."""
OVERLOAD = 0.9
POSITION, EXTENDED, CURRENT_POSITION = 3, 4, 5
"""Operating modes that follow a position."""
MODES = (0, 1, POSITION, EXTENDED, CURRENT_POSITION, 16)

_KEPT_END = 64
_READ_ONLY = range(122, 147)
_VOLTAGE, _HEAT, _OVERLOADED = 1 << 0, 1 << 2, 1 << 5
_ALERT, _RANGE, _LIMIT, _ACCESS = 0x80, 4, 6, 7
PWM_FULL = 885
"""The register value of full torque."""

FACTORY = {
    "model": MODELS["xl330-m288"],
    "firmware": 46,
    "baud_rate": 1,
    "return_delay": 250,
    "operating_mode": POSITION,
    "max_temperature": 70,
    "max_voltage": 70,
    "min_voltage": 35,
    "pwm_limit": 885,
    "current_limit": 1750,
    "velocity_limit": 445,
    "max_position": 4095,
    "shutdown": 0b110101,
    "response_level": 2,
    "velocity_p": 180,
    "velocity_i": 1600,
    "position_p": 400,
    "goal_pwm": 885,
    "goal_current": 1750,
}
"""What the registers hold in a new XL330-M288."""


class DynamixelServo:
    """One virtual X-series servo.

    Args:
        number: Its id.
        mounted: Where its encoder stands when the joint is at zero [steps].
        settings: Registers that differ from a new servo's.

    Attributes:
        memory: Its registers.
        heat: Its temperature.
        volts: What it is supplied with [V]; set it to starve the servo.
        load: Load beyond the joint's own [fraction of full torque], for tests of its protection.
    """

    supply = 5.0
    """What it should be supplied with [V]."""

    def __init__(self, number: int, *, mounted: int = 2048, settings: Mapping[str, int] | None = None) -> None:
        """Put it together."""
        self._mounted = mounted
        self.memory = Memory(X_SERIES, MEMORY_SIZE, {**FACTORY, **(settings or {}), "id": number})
        self.heat, self.volts, self.load = Heat(), self.supply, 0.0
        self._position = self._velocity = self._effort = 0.0
        self._turns = 0
        self._overload = Fuse()
        self._tripped = 0
        self._dark = False
        self._drive: Drive | None = None

    @property
    def id(self) -> int:
        """Return the id that it answers to."""
        return self.memory["id"]

    @property
    def baud(self) -> int:
        """Return the rate that it understands [bit/s]."""
        return BAUD_RATES[min(self.memory["baud_rate"], len(BAUD_RATES) - 1)]

    @property
    def identity(self) -> bytes:
        """Return model number and firmware."""
        memory = self.memory
        return X_SERIES["model"].encode(memory["model"]) + X_SERIES["firmware"].encode(memory["firmware"])

    @property
    def return_delay(self) -> int:
        """Return how long it waits before it answers [2 us]."""
        return self.memory["return_delay"]

    @property
    def error(self) -> int:
        """Return the alert bit."""
        return _ALERT if self._tripped else 0

    @property
    def powered(self) -> bool:
        """Return whether the voltage is enough for its controller."""
        return self.volts >= BROWN_OUT_V

    def answers(self, *, read: bool) -> bool:
        """Return whether it answers, by ``response_level``: 0 pings only, 1 reads too, 2 everything."""
        return self.powered and self.memory["response_level"] >= (1 if read else 2)

    def fetch(self, address: int, size: int) -> tuple[int, bytes]:
        """Return the error byte and the bytes asked for; none beyond the memory."""
        self._measure()
        if address + size > MEMORY_SIZE:
            return self.error | _RANGE, b""
        return self.error, bytes(self.memory.live[address : address + size])

    def store(self, address: int, data: bytes) -> int:
        """Write bytes, unless a rule of their register is against it, and return the error byte."""
        memory = self.memory
        if address + len(data) > MEMORY_SIZE:
            return self.error | _RANGE
        reason = self._objection(address, data)
        if reason:
            return self.error | reason
        memory.live[address : address + len(data)] = data
        if address < _KEPT_END:
            memory.keep(address, min(address + len(data), _KEPT_END))
        if address <= X_SERIES["torque_enable"].address < address + len(data) and self._tripped:
            memory["torque_enable"] = 0
        self._drive = None
        return self.error

    def drive(self) -> Drive:
        """Return what the electronics want of the joint."""
        if self._drive is None:  # asked for in every step of the physics, changed seldom
            self._drive = self._wanted()
        return self._drive

    def feel(self, seconds: float, position: float, velocity: float, effort: float) -> None:
        """Learn what the joint did, heat, and trip where it has to."""
        self._position, self._velocity, self._effort = position, velocity, min(max(effort + self.load, -1.0), 1.0)
        if not self.powered:
            self._dark, self._drive = True, None
            return
        if self._dark:
            self.power_cycle()
        self.heat.advance(seconds, self._effort)
        self._overload.watch(seconds, too_high=abs(self._effort) > OVERLOAD, patience_s=OVERLOAD_S)
        memory = self.memory.live
        low, high = memory[X_SERIES["min_voltage"].address], memory[X_SERIES["max_voltage"].address]
        hot = self.heat.celsius > memory[X_SERIES["max_temperature"].address]
        starved = not low <= round(10 * self.volts) <= high
        wrong = _VOLTAGE * starved | _HEAT * hot | _OVERLOADED * self._overload.tripped
        if wrong & ~self._tripped:
            self._tripped |= wrong
            if wrong & memory[X_SERIES["shutdown"].address]:
                self.memory["torque_enable"] = 0
            self._drive = None

    def power_cycle(self) -> None:
        """Come back from a loss of power or a reboot: limp, with what was kept, within one turn."""
        self.memory.power_cycle()
        for name in ("response_level", "velocity_p", "velocity_i", "position_p", "goal_pwm", "goal_current"):
            self.memory[name] = FACTORY[name]
        self._overload.clear()
        self._tripped, self._dark, self._drive = 0, False, None
        self._turns = (self._mounted + round(self._position / STEP)) // RESOLUTION
        self.memory["goal_position"] = self._present()

    def reset(self) -> None:
        """Go back to what it left the factory with, its id excepted."""
        self.memory = Memory(X_SERIES, MEMORY_SIZE, {**FACTORY, "id": self.id})
        self._drive = None

    def _objection(self, address: int, data: bytes) -> int:
        memory = self.memory
        if address in _READ_ONLY or (address < _KEPT_END and memory["torque_enable"]):
            return _ACCESS
        if address == X_SERIES["goal_position"].address and memory["operating_mode"] == POSITION:
            goal = X_SERIES["goal_position"].decode(data[:4])
            return 0 if len(data) >= 4 and memory["min_position"] <= goal <= memory["max_position"] else _LIMIT
        if address == X_SERIES["operating_mode"].address and data[0] not in MODES:
            return _LIMIT
        return 0

    def _present(self) -> int:
        encoder = self._mounted + round(self._position / STEP) - self._turns * RESOLUTION
        offset = self.memory["homing_offset"]
        return (-encoder if self._reversed else encoder) + offset

    @property
    def _reversed(self) -> bool:
        return bool(self.memory["drive_mode"] & 1)

    def _wanted(self) -> Drive:
        memory = self.memory
        ahead = (memory["goal_position"] - self._present()) * STEP
        torque = min(memory["goal_pwm"], memory["pwm_limit"]) / PWM_FULL
        if memory["operating_mode"] == CURRENT_POSITION:
            torque = min(torque, abs(memory["goal_current"]) / max(memory["current_limit"], 1))
        velocity = memory["profile_velocity"] or memory["velocity_limit"]
        acceleration = memory["profile_acceleration"] * 214.577 * 2 * math.pi / 3600
        return Drive(
            on=bool(memory["torque_enable"]) and memory["operating_mode"] in (POSITION, EXTENDED, CURRENT_POSITION),
            goal=self._position + (-ahead if self._reversed else ahead),
            torque=torque,
            velocity=velocity * VELOCITY_UNIT,
            acceleration=acceleration or math.inf,
        )

    def _measure(self) -> None:
        """Write the present registers."""
        memory, sign = self.memory, -1 if self._reversed else 1
        memory["present_position"] = self._present()
        memory["present_velocity"] = round(sign * self._velocity / VELOCITY_UNIT)
        memory["present_current"] = round(sign * self._effort * memory["current_limit"])
        memory["present_pwm"] = round(sign * self._effort * memory["pwm_limit"])
        memory["present_voltage"] = round(10 * self.volts)
        memory["present_temperature"] = round(self.heat.celsius)
        memory["moving"] = int(abs(self._velocity) > VELOCITY_UNIT)
        memory["hardware_error"] = self._tripped
