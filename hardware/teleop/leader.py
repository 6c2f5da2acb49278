"""A leader arm: a person moves a limp arm, and a follower does the same."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from robot_learning.core.errors import BusError, ConfigError, MotorFault, NotConnected, Stale
from robot_learning.core.types import Action, Goal, Observation
from robot_learning.hardware.arms import so101
from robot_learning.hardware.arms.motors import Motors, Vector
from robot_learning.hardware.buses.port import Port

AGREED = 0.06
"""Leader and follower agree where no joint differs by more [rad, or share of the gripper's range]."""


class Leader:
    """A leader arm as an Actor, for followers whose actions are joint angles in the same order.

    The follower never jumps: at first it approaches the leader slowly, and follows at once from the moment that they agree.

    Args:
        motors: The leader's motors, by its calibration.
        gripper: Name of the joint whose range is told as 0 closed to 1 open; None for none.
        control_hz: Rate of the control loop [1/s].
        approach: Speed of the follower until both agree [rad/s, or gripper ranges/s].
        blind_s: How long the last pose counts while the leader does not answer [s].
        now: Monotonic time [s].

    Attributes:
        engaged: Whether leader and follower have agreed since ``reset``.
        delay_s: From the leader's last reading to the return of :meth:`act` [s].
    """

    def __init__(
        self,
        motors: Motors,
        *,
        gripper: str | None = "gripper",
        control_hz: float = 50.0,
        approach: float = 0.8,
        blind_s: float = 0.3,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe the leader; :meth:`connect` opens its bus."""
        if not (control_hz > 0 and approach > 0 and blind_s > 0):
            raise ConfigError(f"leader: expected values above 0, got {control_hz}, {approach} and {blind_s}")
        self.motors, self.engaged, self.delay_s = motors, False, 0.0
        is_gripper = np.array([joint == gripper for joint in motors.names])
        self._base = np.where(is_gripper, motors.low, 0.0)
        self._unit = np.where(is_gripper, motors.high - motors.low, 1.0)
        self._reach, self._blind_s, self._now = approach / control_hz, blind_s, now
        self._last: Vector | None = None
        self._pose: tuple[float, Vector] | None = None
        self._connected = False

    @property
    def source(self) -> str:
        """Return ``human``."""
        return "human"

    def connect(self) -> None:
        """Open the bus, see that this is the calibrated arm, and let go of it; idempotent.

        Raises:
            NotConnected: No such port.
            BusError: A motor does not answer.
            SpecMismatch: The motors disagree with the calibration.
        """
        if self._connected:
            return
        self.motors.bus.connect()
        try:
            with self.motors.bus.unhurried():
                self.motors.identify()
                self.motors.release()
                self.motors.prepare()
        except BaseException:
            self.motors.bus.close()
            raise
        self._connected = True

    def close(self) -> None:
        """Close the bus; idempotent. The leader stays limp."""
        self._connected = False
        self.motors.bus.close()

    def reset(self, *, seed: int | None = None, goal: Goal | None = None) -> None:  # noqa: ARG002 - a person knows the goal
        """Begin again with the slow approach."""
        self.engaged, self._last = False, None

    def act(self, observation: Observation) -> Action:
        """Return the leader's pose, or the next step of the slow approach to it.

        Raises:
            Stale: The leader has not answered for too long.
            NotConnected: Its cable is out, or ``connect`` was not called.
        """
        if not self._connected:
            raise NotConnected("leader: expected connect() before use")
        pose = self._read()
        if self._last is None:
            self._last = np.asarray(observation["joint_position"], np.float64)
        if not self.engaged:
            self.engaged = bool(np.abs(pose - self._last).max() < AGREED)
            pose = self._last + np.clip(pose - self._last, -self._reach, self._reach)
        self._last = pose
        action: Action = pose.astype(np.float32)
        return action

    def _read(self) -> Vector:
        began = self._now()
        try:
            state = self.motors.read()
        except BusError as error:
            if self._pose is None or began - self._pose[0] > self._blind_s:
                raise Stale(f"leader: {error}; the follower holds") from error
            return self._pose[1]
        if state.alerts:
            told = "; ".join(f"{joint} {', '.join(alerts)}" for joint, alerts in state.alerts.items())
            raise MotorFault(f"leader: {told}; check its supply")
        self._pose = began, (state.position - self._base) / self._unit
        self.delay_s = self._now() - began
        return self._pose[1]


def so101_leader(
    port: str | Port | None = None,
    name: str = "leader",
    *,
    calibrations: str | Path = so101.FOLDER,
    control_hz: float = 50.0,
    approach: float = 0.8,
) -> Leader:
    """Return an SO-101 leader arm; see :class:`Leader` for the arguments and :func:`so101.motors` for the rest."""
    return Leader(so101.motors(port, name, calibrations), control_hz=control_hz, approach=approach)
