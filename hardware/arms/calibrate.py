"""Calibrate an arm of servos: which servos it has, where zero is, how far each joint goes, and how it rests.

1. every servo answers, with the model that it should have
2. a person holds the arm in the middle of its ranges; the homing offsets make that 2048, so that no range crosses a turn's end
3. a person moves each joint from stop to stop; the ends are kept, in the servos too
4. a person lays the arm to rest; that pose is where it may be let go
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from robot_learning.core.errors import BusError, HardwareError
from robot_learning.hardware.arms.makers import Maker
from robot_learning.hardware.buses.bus import ServoBus
from robot_learning.hardware.calibration import Calibration, JointCalibration, now

LEAST, MOST = 0.75, 1.2
"""A joint that moved less than this share of its range has not been moved to both stops; more is another arm."""

Ends = dict[str, tuple[int, int]]


class Guide(Protocol):
    """Whoever tells the person what to do."""

    def wait(self, text: str) -> None:
        """Say what to do and return once it is done."""
        ...

    def watch(self, text: str, poll: Callable[[], list[str]]) -> None:
        """Say what to do and call ``poll``, which returns lines to show, again and again until it is done."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is known about a kind of arm before it is calibrated.

    Attributes:
        arm: Kind and role.
        models: Model numbers that its servos may have.
        spans: How far each joint goes [steps]; joints left out may go any way beyond :attr:`least`.
        zero: Returns the position of zero angle from joint, low and high end.
        signs: 1 or -1 by joint; joints left out have 1.
        kept: Registers to set in a servo, by joint.
        least: Fewest steps of a joint without a known span.
    """

    arm: str
    models: frozenset[int]
    spans: Mapping[str, float]
    zero: Callable[[str, int, int], int]
    signs: Mapping[str, int]
    kept: Mapping[str, Mapping[str, int]]
    least: int = 300


def calibrate(bus: ServoBus, maker: Maker, plan: Plan, guide: Guide, *, name: str, operator: str, adapter: str) -> Calibration:
    """Calibrate the arm on a connected bus, write what belongs into its servos, and return the calibration.

    Raises:
        BusError: Servos are missing; the message lists which answer.
        HardwareError: A joint was not moved to its stops, or crossed the end of a turn; the servos have their former offsets
            again, begin anew.
    """
    models = _identify(bus, plan)
    if any(value for (value,) in bus.sync_read("torque_enable").values()):
        guide.wait("The motors are on, and go off now: hold the arm, or it falls.")
    former = {joint: offset for joint, (offset,) in bus.sync_read("homing_offset").items()}
    unlock(bus, maker)
    try:
        joints = _measure(bus, maker, plan, guide, models)
    except BaseException:
        with contextlib.suppress(HardwareError):
            for joint, offset in former.items():
                keep(bus, joint, {"homing_offset": offset})
            lock(bus, maker)
        raise
    for joint, found in joints.items():
        keep(bus, joint, {"min_position": found.low, "max_position": found.high, **plan.kept.get(joint, {})})
    lock(bus, maker)
    return Calibration(plan.arm, name, joints, now(), operator, adapter)


def _measure(bus: ServoBus, maker: Maker, plan: Plan, guide: Guide, models: Mapping[str, int]) -> dict[str, JointCalibration]:
    """Let the person move the arm, and return what was found."""
    guide.wait("The motors are off. Move every joint to about the middle of its range; docs/so101.md has a picture.")
    offsets = {joint: _home(bus, maker, joint) for joint in bus.motors}
    ends = _record(bus, guide)
    _check_spans(plan, ends)
    guide.wait("Lay the arm down in its resting pose, in which it may be let go: folded, on the table or on itself.")
    rest = {joint: position for joint, (position,) in bus.sync_read("present_position").items()}
    firmware = bus.sync_read(maker.firmware)
    return {
        joint: JointCalibration(
            id=number,
            model=models[joint],
            firmware=".".join(map(str, firmware[joint])),
            homing_offset=offsets[joint],
            low=ends[joint][0],
            high=ends[joint][1],
            zero=plan.zero(joint, *ends[joint]),
            sign=plan.signs.get(joint, 1),
            rest=min(max(rest[joint], ends[joint][0]), ends[joint][1]),
        )
        for joint, number in bus.motors.items()
    }


def unlock(bus: ServoBus, maker: Maker) -> None:
    """Take the torque off all servos and let them keep what is written."""
    for joint in bus.motors:
        bus.write("torque_enable", joint, 0)
        if maker.lock is not None:
            bus.write(maker.lock, joint, 0)


def lock(bus: ServoBus, maker: Maker) -> None:
    """Guard what the servos keep."""
    if maker.lock is not None:
        for joint in bus.motors:
            bus.write(maker.lock, joint, 1)


def keep(bus: ServoBus, joint: str, registers: Mapping[str, int]) -> None:
    """Write registers that are kept without power, and see that they took. Raises :class:`HardwareError`."""
    for register, value in registers.items():
        bus.write(register, joint, value)
        found = bus.read(register, joint)
        if found != value:
            raise HardwareError(f"{joint}: wrote {register} {value}, and it reads {found}; is another program on the bus?")


def _identify(bus: ServoBus, plan: Plan) -> dict[str, int]:
    found = bus.scan(bus.motors.values(), tries=bus.patience.tries)
    wrong = {number: model for number, model in found.items() if model not in plan.models}
    missing = [f"{joint} (id {number})" for joint, number in bus.motors.items() if number not in found]
    if missing or wrong:
        raise BusError(
            f"{bus.port.name}: expected {len(bus.motors)} servos of model {sorted(plan.models)}; no answer from "
            f"{', '.join(missing) or 'none'}; other models at ids {wrong or 'none'}. Check power and cables; give servos "
            "their ids with `robot-learning motors setup`"
        )
    return {joint: found[number] for joint, number in bus.motors.items()}


def _home(bus: ServoBus, maker: Maker, joint: str) -> int:
    """Make the present position of a joint the middle of a turn and return the homing offset that does it."""
    keep(bus, joint, {"homing_offset": 0})
    middle = maker.resolution // 2
    encoder = bus.read("present_position", joint)
    offset = maker.offset_sign * (middle - encoder)
    offset = min(max(offset, -maker.offset_limit), maker.offset_limit)
    keep(bus, joint, {"homing_offset": offset})
    return offset


def _record(bus: ServoBus, guide: Guide) -> Ends:
    """Return the lowest and the highest position that each joint is moved to."""
    last = {joint: position for joint, (position,) in bus.sync_read("present_position").items()}
    ends: Ends = {joint: (position, position) for joint, position in last.items()}

    def poll() -> list[str]:
        for joint, (position,) in bus.sync_read("present_position").items():
            if abs(position - last[joint]) > 2000:
                raise HardwareError(
                    f"{joint}: its position jumped from {last[joint]} to {position}, past the end of a turn; it was not in the "
                    "middle of its range when asked to be. Begin again"
                )
            last[joint] = position
            low, high = ends[joint]
            ends[joint] = min(low, position), max(high, position)
        return [f"{joint:<14} {low:>5} {last[joint]:>5} {high:>5}" for joint, (low, high) in ends.items()]

    guide.watch("Move every joint from one stop to the other, the gripper too.", poll)
    return ends


def _check_spans(plan: Plan, ends: Ends) -> None:
    for joint, (low, high) in ends.items():
        span = plan.spans.get(joint)
        if span is None:
            fits = high - low >= plan.least
            expected = f"at least {plan.least}"
        else:
            fits = LEAST * span <= high - low <= MOST * span
            expected = f"about {span:.0f}"
        if not fits:
            raise HardwareError(
                f"{joint}: moved over {high - low} steps, expected {expected}; move it to both stops. Begin again"
            )
