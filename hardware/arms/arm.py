"""An arm of servos behind the Robot protocol: joint angles in, joint angles out, and never a command beyond its limits."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import (
    BusError,
    ConfigError,
    HardwareError,
    MotorFault,
    NotConnected,
    SafetyStop,
    SpecMismatch,
    Stale,
)
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Action, Observation
from robot_learning.hardware.arms.motors import Motors, MotorState, Vector

_LOG = logging.getLogger(__name__)

ARRIVED = 0.15
"""A joint this close to its goal is there: gravity and play take no more [rad]."""

AtClose = Literal["park", "hold", "release"]
"""What an arm does when it is closed: go to its resting pose and let go, hold where it is, or let go at once (and fall)."""


@dataclass(frozen=True)
class Limits:
    """What an arm's driver allows, whatever it is asked.

    Attributes:
        velocity: Fastest motion of a joint [rad/s].
        blind_s: How long observations may repeat the last reading while the bus does not answer [s].
        approach: Fastest motion of a joint on the way to a start or to the resting pose [rad/s].
        load: Share of full torque that the approach may need; more means that something is in the way.
        lead: How far a goal may be ahead of its joint [rad], so that a joint that was held back does not leap when it is free.
    """

    velocity: float = 3.0
    blind_s: float = 0.1
    approach: float = 0.8
    load: float = 0.9
    lead: float = 0.4

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not (min(self.velocity, self.blind_s, self.approach, self.lead) > 0 and 0 < self.load <= 1):
            raise ConfigError(f"limits of an arm: expected values above 0 and a load of at most 1, got {self}")


class ServoArm:
    """A robot arm of servos on one bus.

    An action is one target per joint [rad]; the last joint may be a gripper, whose target is 0 closed to 1 open. The arm
    observes ``joint_position``, in the same units as the action, ``joint_velocity`` and ``joint_load``, all from one bus
    cycle whose time is ``time/joints``.

    Args:
        motors: The motors, by the arm's calibration.
        name: Kind of arm, e.g. ``so101``; two arms of a kind have the same spec.
        control_hz: Rate of the control loop [1/s].
        gripper: Name of the joint that is a gripper; None for none.
        limits: What the driver allows.
        at_close: What to do when closed.
        home: Where an episode starts by joint, in the action's units; None starts wherever the arm is.
        sleep: Waits for seconds.
    """

    def __init__(
        self,
        motors: Motors,
        *,
        name: str,
        control_hz: float = 50.0,
        gripper: str | None = "gripper",
        limits: Limits | None = None,
        at_close: AtClose = "park",
        home: Mapping[str, float] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Describe the arm; ``connect`` opens its bus."""
        if at_close not in ("park", "hold", "release"):
            raise ConfigError(f"at_close: expected park, hold or release, got {at_close!r}")
        self.motors, self.limits, self.at_close = motors, limits or Limits(), at_close
        self._sleep = sleep
        is_gripper = np.array([joint == gripper for joint in motors.names])
        self._base = np.where(is_gripper, motors.low, 0.0)
        self._unit = np.where(is_gripper, motors.high - motors.low, 1.0)
        self.spec = _spec(motors, name, control_hz, is_gripper, self._inside(motors.low), self._inside(motors.high))
        self._gripper, self._is_gripper = gripper, is_gripper
        self._home = None if home is None else self._pose(home)
        self._state: MotorState | None = None
        self._sent: Vector | None = None
        self._connected = False

    def connect(self) -> None:
        """Open the bus, see that this is the calibrated arm, and hold it where it is; idempotent.

        Raises:
            NotConnected: No such port.
            BusError: A motor does not answer.
            SpecMismatch: The motors disagree with the calibration; nothing moved.
        """
        if self._connected:
            return
        self.motors.bus.connect()
        try:
            with self.motors.bus.unhurried():
                self.motors.identify()
                self._hold_anew()
        except BaseException:
            self.motors.bus.close()
            raise
        self._connected = True

    def reset(self, *, seed: int | None = None, start: Mapping[str, NDArray[Any]] | None = None) -> Observation:  # noqa: ARG002
        """Drive slowly to where ``start`` shows the joints, or home, and return the first observation there."""
        self._check_connected()
        with self.motors.bus.unhurried():
            self._hold_anew()
        if start is not None:
            if "joint_position" not in start:
                raise SpecMismatch(f"{self.spec.name} start: expected joint_position, got {sorted(start)}")
            self.approach(self.spec.observation["joint_position"].validate(start["joint_position"], "start"))
        elif self._home is not None:
            self.approach(self._home)
        return self.observe()

    def observe(self) -> Observation:
        """Return the present state; the last one where the bus does not answer, for ``limits.blind_s`` at most.

        Raises:
            Stale: The last reading is older than that.
            MotorFault: A motor complains of heat, load or voltage, or has let go.
            NotConnected: The cable is out.
        """
        state = self._look()
        return {
            "joint_position": self._inside(state.position).astype(np.float32),
            "joint_velocity": (state.velocity / self._unit).astype(np.float32),
            "joint_load": state.load.astype(np.float32),
            "time": np.asarray(self.motors.bus.port.now(), np.float64),
            "time/joints": np.asarray(state.time, np.float64),
        }

    def apply(self, action: Action) -> Action:
        """Send one action and return what was really sent: within the calibrated range and the velocity limit.

        Raises:
            SafetyStop: The action is not finite; nothing was sent.
        """
        self._check_connected()
        asked = self.spec.validate_action(action).astype(np.float64)
        if not np.isfinite(asked).all():
            raise SafetyStop(f"{self.spec.name}: expected a finite action, got {asked}")
        return self._send(asked * self._unit + self._base, self.limits.velocity)

    def approach(self, goal: Action) -> None:
        """Drive to a pose in the action's units, slowly, and stop where something is in the way.

        Raises:
            SafetyStop: A motor pulls hard and its joint does not follow, or the arm does not arrive; the arm holds.
        """
        if not np.isfinite(goal).all():
            raise SafetyStop(f"{self.spec.name}: expected a finite pose to drive to, got {goal}")
        target = np.clip(np.asarray(goal, np.float64) * self._unit + self._base, self.motors.low, self.motors.high)
        if self._sent is None:
            self._sent = self.motors.hold()
        steps = int(np.ceil(np.abs(target - self._sent).max() / (self.limits.approach * self.spec.dt)))
        for _ in range(steps):
            self._send(target, self.limits.approach)
            self._sleep(self.spec.dt)
            self._check_way()
        self._sleep(10 * self.spec.dt)  # what is left of the lag
        self._check_arrival(target)

    def park(self) -> None:
        """Drive to the resting pose, slowly, and let go there."""
        self.approach(self._inside(self.motors.rest))
        self.motors.release()
        self._sent = None

    def stop(self) -> None:
        """Hold where the arm is; never raises. Where the bus is gone the servos hold their last goal by themselves."""
        if self._connected and self._sent is not None:
            with contextlib.suppress(HardwareError):
                here = self.motors.read().position
                near = np.abs(self._sent - here) < ARRIVED
                # Goals that are near stay, or each stop would sag a little; a gripper's stays, or it would drop what it holds.
                self._sent = self.motors.hold(np.where(near | self._is_gripper, self._sent, here))

    def close(self) -> None:
        """Park, hold or release, as ``at_close`` says, and close the bus; idempotent.

        An arm that cannot be parked (no bus, something in the way) holds where it is, and a warning says why.
        """
        if not self._connected:
            return
        try:
            if self.at_close == "park":
                self.park()
            elif self.at_close == "release":
                self.motors.release()
        except (HardwareError, SafetyStop) as error:
            _LOG.warning(
                "%s: could not %s (%s); its motors may be on: rest it on something and run `robot-learning motors release "
                "so101 --port %s`",
                self.spec.name,
                self.at_close,
                error,
                self.motors.bus.port.name,
            )
        finally:
            self._connected, self._state, self._sent = False, None, None
            self.motors.bus.close()

    def _look(self) -> MotorState:
        self._check_connected()
        try:
            self._state = self.motors.read()
        except BusError as error:
            age = np.inf if self._state is None else self.motors.bus.port.now() - self._state.time
            if self._state is None or age > self.limits.blind_s:
                raise Stale(f"{error}; the last answer came {age:.2f} s ago") from error
        state = self._state
        if self._gripping(state) and len(state.alerts) == 1:
            return state
        if self._sent is not None and not state.torque.all():
            limp = ", ".join(name for name, on in zip(self.motors.names, state.torque, strict=True) if not on)
            raise MotorFault(
                f"{self.spec.name}: {limp} let go by itself (lowest voltage {state.voltage.min():.1f} V), as after a restart; "
                "check the supply and the cable, hold the arm, then reset"
            )
        if state.alerts:
            told = "; ".join(f"{joint} {', '.join(alerts)}" for joint, alerts in state.alerts.items())
            warmest, lowest = state.temperature.max(), state.voltage.min()
            raise MotorFault(
                f"{self.spec.name}: {told} (hottest {warmest:.0f} C, lowest voltage {lowest:.1f} V); free it, let it cool, "
                "check the supply, then reset"
            )
        return state

    def _send(self, target: Vector, velocity: float) -> Action:
        """Send the target as far as range and velocity allow."""
        if self._sent is None:
            self._sent = self.motors.hold()
        if self._state is not None and self._gripping(self._state):
            self._let_go(target)
        reach = velocity * self.spec.dt
        near = np.clip(target, self._sent - reach, self._sent + reach)
        if self._state is not None:
            near = np.clip(near, self._state.position - self.limits.lead, self._state.position + self.limits.lead)
        self._sent = self.motors.command(np.clip(near, self.motors.low, self.motors.high))
        sent: Action = self._inside(self._sent).astype(np.float32)
        return np.clip(sent, self.spec.action.low, self.spec.action.high)  # what rounding took beyond

    def _check_arrival(self, target: Vector) -> None:
        """Raise :class:`SafetyStop` where a joint is not where it was driven to; a gripper may hold something."""
        far = (np.abs(self._look().position - target) > ARRIVED) & ~self._is_gripper
        if far.any():
            joint = self.motors.names[int(np.argmax(far))]
            self.stop()
            raise SafetyStop(
                f"{self.spec.name}: {joint} does not get to where it was driven; what is in the way? The arm holds"
            )

    def _hold_anew(self) -> None:
        """Write what servos forget when they restart, and hold the arm where it is."""
        self.motors.prepare(self.limits.velocity)
        self._sent = self.motors.hold()
        self._state = self.motors.read()

    def _gripping(self, state: MotorState) -> bool:
        """Return whether the gripper is overloaded and nothing else: it holds something, weakened by its own protection."""
        return self._gripper is not None and state.alerts.get(self._gripper) == ("overloaded",)

    def _let_go(self, target: Vector) -> None:
        """Give a gripper that tripped its full torque back as soon as it shall open."""
        if self._gripper is None or self._state is None:
            return
        index = self.motors.names.index(self._gripper)
        if target[index] > self._state.position[index] + 0.02:
            self.motors.bus.write("torque_enable", self._gripper, 1)

    def _check_way(self) -> None:
        state = self._look()
        if self._sent is None:
            return
        behind = np.abs(self._sent - state.position)
        stuck = (behind > 0.25) & (np.abs(state.load) > self.limits.load)
        if stuck.any():
            joint = self.motors.names[int(np.argmax(stuck))]
            self.stop()
            raise SafetyStop(f"{self.spec.name}: {joint} pulls hard and does not follow; what is in the way? The arm holds")

    def _inside(self, position: Vector) -> Vector:
        """Return angles in the action's units."""
        scaled: Vector = (position - self._base) / self._unit
        return scaled

    def _pose(self, joints: Mapping[str, float]) -> Vector:
        unknown = sorted(set(joints) ^ set(self.motors.names))
        if unknown:
            raise ConfigError(f"home: expected one value for each of {list(self.motors.names)}, got {sorted(joints)}")
        return np.array([joints[name] for name in self.motors.names])

    def _check_connected(self) -> None:
        if not self._connected:
            raise NotConnected(f"{self.spec.name}: expected connect() before use")


def _spec(motors: Motors, name: str, control_hz: float, is_gripper: NDArray[np.bool_], low: Vector, high: Vector) -> RobotSpec:
    joints: Sequence[tuple[str, bool]] = list(zip(motors.names, map(bool, is_gripper), strict=True))
    mixed = bool(is_gripper.any())

    def named(unit: str, of_gripper: str) -> tuple[str, ...]:
        return tuple(f"{joint} [{of_gripper if gripper else unit}]" for joint, gripper in joints)

    size, unit = len(joints), "mixed" if mixed else "rad"
    positions, speeds = named("rad", "0 closed, 1 open"), named("rad/s", "1/s")
    return RobotSpec(
        observation={
            "joint_position": ArraySpec((size,), unit=unit, names=positions),
            "joint_velocity": ArraySpec((size,), unit="mixed" if mixed else "rad/s", names=speeds),
            "joint_load": ArraySpec((size,), unit="of full torque", names=motors.names),
        },
        action=ArraySpec((size,), unit=unit, names=positions, low=low, high=high),
        control_hz=control_hz,
        name=name,
    )
