"""A virtual STS3215: the registers of :data:`robot_learning.hardware.buses.feetech.STS`, and what they do.

Positions wrap at a turn, as in the real one: the present position is the encoder's minus the homing offset, from 0 to 4095,
and the motor turns the way that the numbers say, never through the gap between 4095 and 0. When the torque comes on it pulls
to whatever stands in ``goal_position``, old or not. Registers that are kept ignore writes while the torque is on, and forget
them with the power unless ``lock`` is 0.
"""

import math
from collections.abc import Mapping

from robot_learning.hardware.buses.feetech import BAUD_RATES, MIDDLE, MODELS, RESOLUTION, STS
from robot_learning.hardware.twin.body import Drive
from robot_learning.hardware.twin.servos import Fuse, Heat, Memory

STEP = 2 * math.pi / RESOLUTION
"""One step [rad]."""
MEMORY_SIZE = 128
MAX_VELOCITY = 3400
"""No-load speed of an STS3215 at 7.4 V [steps/s], 50 turns a minute."""
STALL_MA_PER_UNIT = 6.5
"""Unit of ``present_current`` [mA]."""
STALL_MA = 2400.0
"""Current of a stalled STS3215 at 7.4 V [mA], from its data sheet."""
BROWN_OUT_V = 4.0
"""Below this the servo's controller restarts."""

_KEPT_END = 40
_BY_ITSELF = range(56, 72)
"""Registers that the servo writes itself: writes from outside are ignored."""
FACTORY = {
    "firmware_major": 3,
    "firmware_minor": 10,
    "model": MODELS["sts3215"],
    "return_delay": 250,
    "response_level": 1,
    "max_position": 4095,
    "max_temperature": 70,
    "max_voltage": 80,
    "min_voltage": 40,
    "max_torque": 1000,
    "phase": 12,
    "unloading_condition": 0b101100,
    "position_p": 32,
    "position_d": 32,
    "min_start_force": 16,
    "protection_current": 500,
    "protective_torque": 20,
    "protection_time": 200,
    "overload_torque": 80,
    "torque_limit": 1000,
    "lock": 1,
}
"""What the registers hold in a new servo."""

_VOLTAGE, _HEAT, _OVERLOAD = 1 << 0, 1 << 2, 1 << 5


class FeetechServo:
    """One virtual STS3215.

    Args:
        number: Its id.
        mounted: Where its encoder stands when the joint is at zero [steps]; calibration has to find out.
        settings: Registers that differ from a new servo's.

    Attributes:
        memory: Its registers.
        heat: Its temperature.
        volts: What it is supplied with [V]; set it to starve the servo.
        load: Load beyond the joint's own [fraction of full torque], for tests of its protection.
    """

    supply = 7.4
    """What it should be supplied with [V]."""

    def __init__(self, number: int, *, mounted: int = 2048, settings: Mapping[str, int] | None = None) -> None:
        """Put it together."""
        self._mounted = mounted
        self._settings = dict(settings or {})
        self.memory = Memory(STS, MEMORY_SIZE, {**FACTORY, **self._settings, "id": number})
        self.heat, self.volts, self.load = Heat(), self.supply, 0.0
        self._position = self._velocity = self._effort = 0.0
        self._overload = Fuse()
        self._dark = False
        self._drive: tuple[tuple[int, int], Drive] | None = None

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
        """Return nothing: these servos answer a ping with their error byte alone."""
        return b""

    @property
    def return_delay(self) -> int:
        """Return how long it waits before it answers [2 us]."""
        return self._limit("return_delay")

    @property
    def error(self) -> int:
        """Return the alerts."""
        starved = not self._limit("min_voltage") <= round(10 * self.volts) <= self._limit("max_voltage")
        hot = self.heat.celsius > self._limit("max_temperature")
        return _VOLTAGE * starved | _HEAT * hot | _OVERLOAD * self._overload.tripped

    @property
    def powered(self) -> bool:
        """Return whether the voltage is enough for its controller."""
        return self.volts >= BROWN_OUT_V

    def answers(self, *, read: bool) -> bool:
        """Return whether it answers: reads always, writes where ``response_level`` says so."""
        return self.powered and (read or self.memory["response_level"] != 0)

    def fetch(self, address: int, size: int) -> tuple[int, bytes]:
        """Return the error byte and the bytes asked for; beyond the memory there are zeros."""
        self._measure()
        return self.error, bytes(self.memory.live[address : address + size]).ljust(size, b"\0")

    def store(self, address: int, data: bytes) -> int:
        """Write bytes, each by the rules of its register, and return the error byte."""
        memory = self.memory
        torque = memory["torque_enable"]
        for place, byte in enumerate(data, address):
            protected = place < _KEPT_END and torque
            if place < MEMORY_SIZE and place not in _BY_ITSELF and not protected:
                memory.live[place] = byte
                if place < _KEPT_END and memory["lock"] == 0:
                    memory.keep(place, place + 1)
        if address <= STS["torque_enable"].address < address + len(data):
            self._torque_written()
        self._drive = None
        return self.error

    def drive(self) -> Drive:
        """Return what the electronics want of the joint."""
        state = self.error, self._encoder // RESOLUTION
        if self._drive is None or self._drive[0] != state:  # asked for in every step of the physics, changed seldom
            self._drive = state, self._wanted()
        return self._drive[1]

    def feel(self, seconds: float, position: float, velocity: float, effort: float) -> None:
        """Learn what the joint did, heat, and trip where it has to."""
        self._position, self._velocity, self._effort = position, velocity, min(max(effort + self.load, -1.0), 1.0)
        if not self.powered:
            self._dark, self._drive = True, None
            return
        if self._dark:
            self.power_cycle()
        self.heat.advance(seconds, self._effort)
        high = 100 * abs(self._effort) > self._limit("overload_torque")
        self._overload.watch(seconds, too_high=high, patience_s=0.01 * self._limit("protection_time"))

    def power_cycle(self) -> None:
        """Come back from a loss of power: limp, with what was kept."""
        self.memory.power_cycle()
        self._overload.clear()
        self._dark, self._drive = False, None
        self.memory["torque_limit"] = self.memory["max_torque"]
        self.memory["goal_position"] = self.memory["present_position"] = self._present()

    def reset(self) -> None:
        """Go back to what it left the factory with, its id excepted."""
        self.memory = Memory(STS, MEMORY_SIZE, {**FACTORY, "id": self.id})
        self._drive = None

    @property
    def _encoder(self) -> int:
        """Return where the encoder stands [steps], turns included."""
        return self._mounted + round(self._position / STEP) - self._offset

    @property
    def _offset(self) -> int:
        return self.memory["homing_offset"]

    def _limit(self, name: str) -> int:
        """Return a register of one byte."""
        return self.memory.live[STS[name].address]

    def _present(self) -> int:
        """Return the encoder's position minus the homing offset, from 0 to 4095."""
        return self._encoder % RESOLUTION

    def _wanted(self) -> Drive:
        memory = self.memory
        goal = memory["goal_position"]
        low, high = memory["min_position"], memory["max_position"]
        if (low, high) != (0, 0):
            goal = min(max(goal, low), high)
        velocity = abs(memory["goal_velocity"]) or MAX_VELOCITY
        acceleration = 100 * memory["acceleration"]
        torque = memory["protective_torque"] / 100 if self._overload.tripped else memory["torque_limit"] / 1000
        let_go = self.error & memory["unloading_condition"] & ~_OVERLOAD
        return Drive(
            on=bool(memory["torque_enable"]) and not let_go and self.powered,
            goal=self._position + (goal - self._present()) * STEP,
            torque=min(torque, memory["max_torque"] / 1000),
            velocity=min(velocity, MAX_VELOCITY) * STEP,
            acceleration=acceleration * STEP if acceleration else math.inf,
        )

    def _measure(self) -> None:
        """Write the present registers."""
        memory = self.memory
        memory["present_position"] = self._present()
        memory["present_velocity"] = round(self._velocity / STEP)
        memory["present_load"] = round(1000 * self._effort)
        memory["present_voltage"] = round(10 * self.volts)
        memory["present_temperature"] = round(self.heat.celsius)
        memory["present_current"] = round(abs(self._effort) * STALL_MA / STALL_MA_PER_UNIT)
        memory["moving"] = int(abs(self._velocity) > 5 * STEP)
        memory["status"] = self.error

    def _torque_written(self) -> None:
        memory = self.memory
        self._overload.clear()
        if memory["torque_enable"] == MIDDLE:
            encoder = (self._encoder + self._offset) % RESOLUTION
            memory["homing_offset"] = encoder - RESOLUTION // 2
            entry = STS["homing_offset"]
            memory.keep(entry.address, entry.address + entry.size)
            memory["torque_enable"] = 0
