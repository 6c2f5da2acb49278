"""Calibrate an arm: where zero is, how far each joint goes, how it rests."""

import argparse
import getpass
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path

from robot_learning.core.errors import ConfigError
from robot_learning.hardware.arms import so101
from robot_learning.hardware.arms.calibrate import calibrate
from robot_learning.hardware.arms.makers import FEETECH
from robot_learning.hardware.buses.bus import UNHURRIED
from robot_learning.hardware.calibration import history

EXAMPLES = """examples:
  robot-learning calibrate so101 --port /dev/serial/by-id/usb-1a86_USB_Single_Serial_58CD176683-if00 --name left
  robot-learning calibrate so101 --role leader --port ~/.robot-learning/twin/so101-leader --name leader
"""
_POLL_S = 0.05


class Terminal:
    """A person in front of a terminal."""

    def wait(self, text: str) -> None:
        """Say what to do and wait for Enter."""
        print(f"\n{text}\nPress Enter when it is so. ", end="", flush=True)
        _line()

    def watch(self, text: str, poll: Callable[[], list[str]]) -> None:
        """Say what to do and show the lines of ``poll`` until Enter."""
        print(f"\n{text}\nPress Enter when all are done.\n{'joint':<14} {'low':>5} {'now':>5} {'high':>5}")
        lines = poll()
        print("\n".join(lines), flush=True)
        while not select.select([sys.stdin], [], [], _POLL_S)[0]:
            lines = poll()
            if sys.stdout.isatty():
                print(f"\x1b[{len(lines)}F" + "\n".join(f"\x1b[K{line}" for line in lines), flush=True)
        _line()
        lines = poll()
        print("\n".join(lines), flush=True)


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="robot-learning calibrate",
        description=(__doc__ or "").strip(),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("arm", choices=("so101",), help="kind of arm; the SO-100 is calibrated as so101")
    parser.add_argument("--role", choices=so101.ROLES, default="follower", help="what it is (default: follower)")
    parser.add_argument("--port", required=True, help="its serial port; `robot-learning find ports` lists them")
    parser.add_argument("--name", help="its own name (default: its role)")
    parser.add_argument("--folder", type=Path, default=so101.FOLDER, help=f"where to keep it (default: {so101.FOLDER})")
    parser.add_argument("--operator", default=None, help="who does it (default: your login)")
    arguments = parser.parse_args(argv)
    name, folder = arguments.name or arguments.role, arguments.folder.expanduser()
    before = len(history(folder, name))
    bus = so101.bus(arguments.port, UNHURRIED)
    bus.connect()
    try:
        found = calibrate(
            bus,
            FEETECH,
            so101.plan(arguments.role),
            Terminal(),
            name=name,
            operator=arguments.operator or getpass.getuser(),
            adapter=_adapter(arguments.port),
        )
    finally:
        bus.close()
    print(f"\n{found.save(folder)}" + (f" (calibration {before + 1} of {name})" if before else ""))
    return 0


def _adapter(port: str) -> str:
    """Return the lasting name of a port's adapter, which holds its serial number; empty where there is none."""
    folder, real = "/dev/serial/by-id", os.path.realpath(os.path.expanduser(port))
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return next((name for name in names if os.path.realpath(os.path.join(folder, name)) == real), "")


def _line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise ConfigError("calibrate: expected a person who presses Enter, got the end of the input")
    return line
