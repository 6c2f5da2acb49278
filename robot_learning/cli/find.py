"""Find what is connected: serial ports, and the motors on one of them."""

import argparse
import sys
from collections.abc import Mapping

from robot_learning.core.errors import ConfigError, NotConnected
from robot_learning.hardware.arms.makers import DYNAMIXEL, FEETECH, Maker
from robot_learning.hardware.buses.bus import Patience, ServoBus
from robot_learning.hardware.buses.dynamixel import BAUD_RATES as DYNAMIXEL_RATES
from robot_learning.hardware.buses.dynamixel import MODELS as DYNAMIXEL_MODELS
from robot_learning.hardware.buses.feetech import BAUD_RATES as FEETECH_RATES
from robot_learning.hardware.buses.feetech import MODELS as FEETECH_MODELS
from robot_learning.hardware.buses.port import SerialPort, serial_ports
from robot_learning.hardware.buses.wire import BROADCAST

EXAMPLES = """examples:
  robot-learning find ports
  robot-learning find ports --watch
  robot-learning find motors --port /dev/ttyACM0
  robot-learning find motors --port ~/.robot-learning/twin/so101-follower --ids 1-10
"""
KINDS: tuple[tuple[Maker, tuple[int, ...], Mapping[str, int]], ...] = (
    (FEETECH, FEETECH_RATES, FEETECH_MODELS),
    (DYNAMIXEL, DYNAMIXEL_RATES, DYNAMIXEL_MODELS),
)

PATIENCE = Patience(answer_s=0.015)
"""Longer than in a control loop: an adapter may collect bytes for up to 16 ms."""


def main(argv: list[str]) -> int:
    """Run the command; 1 when nothing was found."""
    parser = argparse.ArgumentParser(
        prog="robot-learning find",
        description=(__doc__ or "").strip(),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="what", required=True, metavar="ports|motors")
    ports = kinds.add_parser("ports", help="serial ports of this machine")
    ports.add_argument("--watch", action="store_true", help="tell which port goes away when you pull a cable")
    motors = kinds.add_parser("motors", help="servos on a port, of either maker, at any rate")
    motors.add_argument("--port", required=True, help="serial port")
    motors.add_argument("--ids", default="0-20", help="ids to try, FIRST-LAST (default: 0-20)")
    arguments = parser.parse_args(argv)
    if arguments.what == "motors":
        return _motors(arguments.port, arguments.ids)
    return _watch() if arguments.watch else _ports()


def _ports() -> int:
    found = serial_ports()
    for name, description in found:
        print(f"{name}\t{description}")
    if not found:
        print("no serial port; is the cable in, is the board powered?", file=sys.stderr)
    return int(not found)


def _watch() -> int:
    before = dict(serial_ports())
    input("pull the cable of the arm that you look for, then press Enter ")
    gone = sorted(set(before) - set(dict(serial_ports())))
    if len(gone) != 1:
        raise NotConnected(f"expected one port to go away, got {', '.join(gone) or 'none'}; try again")
    print(gone[0])
    return 0


def _motors(port: str, ids: str) -> int:
    numbers, found = _numbers(ids), 0
    for maker, rates, models in KINDS:
        names = {number: name for name, number in models.items()}
        for rate in rates:
            bus = ServoBus(SerialPort(port, rate), maker.wire, maker.table, {}, PATIENCE)
            bus.connect()
            for number, model in bus.scan(numbers).items():
                print(f"id {number:<4}{names.get(model, f'model {model}'):<14}{maker.name}, {rate} bit/s")
                found += 1
            bus.close()
    if not found:
        print(f"{port}: no servo answers at any rate; is the board powered, is a servo plugged in?", file=sys.stderr)
    return int(not found)


def _numbers(ids: str) -> range:
    first, _, last = ids.partition("-")
    numbers = range(int(first), int(last) + 1) if first.isdigit() and last.isdigit() else range(0)
    if ids.isdigit():
        numbers = range(int(ids), int(ids) + 1)
    if not numbers or numbers[-1] >= BROADCAST:
        raise ConfigError(f"ids: expected FIRST-LAST or one id, from 0 to {BROADCAST - 1}, got {ids!r}")
    return numbers
