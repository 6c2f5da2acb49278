"""The motors of an arm in the arm's own units: angles in radians, by the arm's calibration."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import HardwareError, MotorFault, SpecMismatch
from robot_learning.hardware.arms.makers import Maker
from robot_learning.hardware.arms.setup import release
from robot_learning.hardware.buses.bus import ServoBus
from robot_learning.hardware.calibration import Calibration

Vector = NDArray[np.float64]

_ATTEMPTS = 3

SLACK_STEPS = 60
"""So far beyond its calibrated range a joint may stand, from play and give, before the calibration is called wrong."""


@dataclass(frozen=True)
class MotorState:
    """What the motors say, one number per joint, from one bus cycle.

    Attributes:
        position: [rad].
        velocity: [rad/s].
        load: Fraction of full torque, signed.
        voltage: [V].
        temperature: [degrees Celsius].
        torque: Whether the motor is on.
        time: When the bus cycle ended, monotonic [s].
        alerts: Complaints by joint, of those that have any.
    """

    position: Vector
    velocity: Vector
    load: Vector
    voltage: Vector
    temperature: Vector
    torque: NDArray[np.bool_]
    time: float
    alerts: Mapping[str, tuple[str, ...]]


class Motors:
    """The motors of one arm.

    Args:
        bus: The bus that they are on.
        maker: What kind they are.
        calibration: Which is which, and where zero is.
    """

    def __init__(self, bus: ServoBus, maker: Maker, calibration: Calibration) -> None:
        """Prepare the units."""
        if tuple(bus.motors) != tuple(calibration.joints):
            raise SpecMismatch(
                f"calibration of {calibration.name!r}: expected joints {list(bus.motors)}, got {list(calibration.joints)}"
            )
        self.bus, self.maker, self.calibration = bus, maker, calibration
        self.names = tuple(bus.motors)
        joints = [calibration.joints[name] for name in self.names]
        self._zero = np.array([joint.zero for joint in joints], dtype=np.float64)
        self._scale = np.array([joint.sign * maker.step for joint in joints])
        self._steps = np.array([[joint.low, joint.high] for joint in joints], dtype=np.float64)
        ends = np.sort((self._steps.T - self._zero) * self._scale, axis=0)
        self.low, self.high = ends
        self.rest: Vector = (np.array([joint.rest for joint in joints]) - self._zero) * self._scale

    def check(self) -> list[str]:
        """Return every way in which the servos disagree with the calibration, one line each; reads only."""
        lines = []
        offsets, models = self.bus.sync_read("homing_offset"), self.bus.sync_read("model")
        firmware = self.bus.sync_read(self.maker.firmware)
        positions = self.bus.sync_read("present_position")
        for name, joint in self.calibration.joints.items():
            version = ".".join(map(str, firmware[name]))
            pairs = (
                ("model", joint.model, models[name][0]),
                ("firmware", joint.firmware, version),
                ("homing offset", joint.homing_offset, offsets[name][0]),
            )
            lines += [f"{name} (id {joint.id}): expected {what} {then}, got {now}" for what, then, now in pairs if then != now]
            position = positions[name][0]
            if not joint.low - SLACK_STEPS <= position <= joint.high + SLACK_STEPS:
                lines.append(f"{name} (id {joint.id}): expected to stand at {joint.low} to {joint.high}, got {position}")
        return lines

    def identify(self) -> None:
        """Raise :class:`SpecMismatch` with every way in which the servos disagree with the calibration; nothing moves."""
        differences = self.check()
        if differences:
            calibration = self.calibration
            raise SpecMismatch(
                f"{calibration.arm} {calibration.name!r} at {self.bus.port.name}: the motors disagree with the calibration of "
                f"{calibration.made}\n  " + "\n  ".join(differences) + "\nnothing moved; are two arms swapped, or was a motor "
                "replaced? Plug in the right arm, or run `robot-learning calibrate`"
            )

    def prepare(self, velocity: float | None = None) -> None:
        """Write the maker's settings, and the fastest motion [rad/s], where they differ; servos forget some with the power."""
        settings = dict(self.maker.settings)
        if velocity is not None:
            settings[self.maker.speed] = max(1, round(velocity / self.maker.velocity_unit))
        for register, value in settings.items():
            for name, (present,) in self.bus.sync_read(register).items():
                if present != value:
                    self._write_kept(register, name, value)

    def read(self) -> MotorState:
        """Return the state, from one bus cycle. Raises :class:`BusError`, :class:`NotConnected`."""
        answers = self.bus.sync_read(self.maker.state)
        numbers = np.array([answers[name] for name in self.names], dtype=np.float64)
        sign = np.sign(self._scale)
        return MotorState(
            position=(numbers[:, 1] - self._zero) * self._scale,
            velocity=numbers[:, 2] * sign * self.maker.velocity_unit,
            load=numbers[:, 3] * sign * self.maker.load_unit,
            voltage=numbers[:, 4] * 0.1,
            temperature=numbers[:, 5],
            torque=numbers[:, 0] > 0,
            time=self.bus.port.now(),
            alerts={name: health.alerts for name, health in self.bus.health.items() if health.alerts},
        )

    def command(self, position: Vector) -> Vector:
        """Send goals [rad] and return what was really sent: within the calibrated range, in whole steps."""
        steps = np.clip(np.rint(position / self._scale + self._zero), *self._steps.T)
        self.bus.sync_write("goal_position", {name: int(step) for name, step in zip(self.names, steps, strict=True)})
        sent: Vector = (steps - self._zero) * self._scale
        return sent

    def hold(self, goals: Vector | None = None) -> Vector:
        """Make the motors hold ``goals`` [rad], or the arm where it is, with the torque on, and return what they hold.

        The goals are written before the torque comes on, because a servo pulls to whatever its goal register holds, and both
        are read back, because nobody answers a write to many.

        Raises:
            MotorFault: A motor does not take its goal or its torque; what is on stays on.
            BusError: A motor does not answer.
        """
        wanted = self._held(self.read().position if goals is None else goals)
        self._write_all("goal_position", wanted)
        self._write_all("torque_enable", dict.fromkeys(self.names, 1))
        held: Vector = (np.array([wanted[name] for name in self.names]) - self._zero) * self._scale
        return held

    def release(self) -> None:
        """Take the torque off: the arm goes limp and falls unless it rests on something.

        Raises:
            BusError: Some motors do not answer; all that do are off.
        """
        release(self.bus)

    def _held(self, goals: Vector) -> dict[str, int]:
        """Return goals [steps], which may lie as far beyond the calibrated range as a joint may stand."""
        slack = np.array([-SLACK_STEPS, SLACK_STEPS])[:, None]
        steps = np.clip(np.rint(goals / self._scale + self._zero), *(self._steps.T + slack))
        return {name: int(step) for name, step in zip(self.names, steps, strict=True)}

    def _write_all(self, register: str, values: Mapping[str, int]) -> None:
        """Write a register of all motors and see that they took it; what was lost is written again."""
        for _ in range(_ATTEMPTS):
            self.bus.sync_write(register, values)
            found = {name: value for name, (value,) in self.bus.sync_read(register).items()}
            wrong = [name for name, value in values.items() if found[name] != value]
            if not wrong:
                return
        raise MotorFault(f"{self.bus.port.name}, {', '.join(wrong)}: does not take {register}; switch the power off and on")

    @property
    def holding(self) -> bool:
        """Return whether all motors have their torque on."""
        return all(value for (value,) in self.bus.sync_read("torque_enable").values())

    def _write_kept(self, register: str, name: str, value: int) -> None:
        """Write a register that may be kept without power, and see that it took."""
        was_on = self.bus.read("torque_enable", name)
        kept = self.maker.table[register].kept
        if kept and was_on:
            raise HardwareError(
                f"{name}: expected {register} {value}, which can be set with the torque off only; rest the arm on something, "
                f"run `robot-learning motors release so101 --port {self.bus.port.name}`, and connect again"
            )
        if kept and self.maker.lock is not None:
            self.bus.write(self.maker.lock, name, 0)
        self.bus.write(register, name, value)
        if kept and self.maker.lock is not None:
            self.bus.write(self.maker.lock, name, 1)
        if self.bus.read(register, name) != value:
            raise HardwareError(f"{name}: wrote {register} {value}, and it reads otherwise; is another program on the bus?")
