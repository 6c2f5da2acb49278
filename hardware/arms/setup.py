"""Give new servos their ids and their rate, one by one: all leave the factory with the same."""

from collections.abc import Callable, Sequence

from robot_learning.core.errors import BusError, HardwareError
from robot_learning.hardware.arms.calibrate import Guide, keep
from robot_learning.hardware.arms.makers import Maker
from robot_learning.hardware.buses.bus import ServoBus
from robot_learning.hardware.buses.port import Port
from robot_learning.hardware.buses.wire import BROADCAST

NAME = "servo"


def set_up(open_port: Callable[[int], Port], maker: Maker, rates: Sequence[int], joints: dict[str, int], guide: Guide) -> None:
    """Ask for one servo after the other and give each the id of its joint and the usual rate.

    Args:
        open_port: Returns the port at a rate [bit/s], not opened.
        maker: What kind the servos are.
        rates: Rates by the value of their register.
        joints: Ids by joint.
        guide: Tells the person what to plug in.

    Raises:
        HardwareError: No servo, or more than one, is plugged in.
    """
    for joint, number in joints.items():
        guide.wait(f"Plug in the servo of {joint} and no other one, with the power on.")
        give_id(open_port, maker, rates, number)


def give_id(open_port: Callable[[int], Port], maker: Maker, rates: Sequence[int], number: int) -> None:
    """Give the only servo on the line an id and the usual rate. Raises :class:`HardwareError` where there is not just one."""
    found = [(rate, old) for rate in rates for old in _scan(open_port(rate), maker)]
    if len(found) != 1:
        told = ", ".join(f"id {old} at {rate} bit/s" for rate, old in found) or "none"
        raise HardwareError(f"expected one servo on the line, got {told}; check its power and cable, and unplug the others")
    rate, old = found[0]
    _change(open_port(rate), maker, old, {"id": number})
    if rate != maker.baud:
        _change(open_port(rate), maker, number, {"baud_rate": rates.index(maker.baud)})
    bus = ServoBus(open_port(maker.baud), maker.wire, maker.table, {NAME: number})
    bus.connect()
    answers = bus.ping(number)
    if answers and maker.lock is not None:
        bus.write(maker.lock, NAME, 1)
    bus.close()
    if not answers:
        raise HardwareError(f"the servo took id {number} and does not answer; switch its power off and on, and begin again")


def release(bus: ServoBus) -> None:
    """Take the torque off every servo of a connected bus. Raises :class:`BusError` for those that do not answer."""
    bus.sync_write("torque_enable", dict.fromkeys(bus.motors, 0))
    silent = []
    for joint, number in bus.motors.items():
        try:
            bus.write("torque_enable", joint, 0)
        except BusError:
            silent.append(f"{joint} (id {number})")
    if silent:
        raise BusError(f"{bus.port.name}: no answer from {', '.join(silent)}, which may hold on; the others are off")


def _scan(port: Port, maker: Maker) -> list[int]:
    bus = ServoBus(port, maker.wire, maker.table, {})
    bus.connect()
    found = list(bus.scan(range(BROADCAST)))
    bus.close()
    return found


def _change(port: Port, maker: Maker, number: int, registers: dict[str, int]) -> None:
    """Write kept registers of a servo that answers under another id or at another rate from then on."""
    bus = ServoBus(port, maker.wire, maker.table, {NAME: number})
    bus.connect()
    keep(bus, NAME, {"torque_enable": 0} | ({} if maker.lock is None else {maker.lock: 0}))
    for register, value in registers.items():
        bus.tell(register, NAME, value)
    bus.close()
