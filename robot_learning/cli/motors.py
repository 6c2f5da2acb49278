"""Set up the motors of an arm: give each its id, or let the arm go limp."""

import argparse
import os

from robot_learning.cli.calibrate import Terminal
from robot_learning.hardware.arms import so101
from robot_learning.hardware.arms.makers import FEETECH
from robot_learning.hardware.arms.setup import release, set_up
from robot_learning.hardware.buses.bus import UNHURRIED
from robot_learning.hardware.buses.feetech import BAUD_RATES
from robot_learning.hardware.buses.port import SerialPort

EXAMPLES = """examples:
  robot-learning motors setup so101 --port /dev/ttyACM0
  robot-learning motors release so101 --port /dev/ttyACM0
"""


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="robot-learning motors",
        description=(__doc__ or "").strip(),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("setup", "release"), help="setup: ids, one servo after the other; release: torque off")
    parser.add_argument("arm", choices=("so101",), help="kind of arm")
    parser.add_argument("--port", required=True, help="its serial port; `robot-learning find ports` lists them")
    arguments = parser.parse_args(argv)
    port, person = os.path.expanduser(arguments.port), Terminal()
    if arguments.what == "setup":
        ids = {joint: number for number, joint in enumerate(so101.JOINTS, 1)}
        set_up(lambda rate: SerialPort(port, rate), FEETECH, BAUD_RATES, ids, person)
        print("all servos have their ids; put them on one line and run `robot-learning calibrate`")
        return 0
    bus = so101.bus(port, UNHURRIED)
    bus.connect()
    person.wait("The arm will go limp: rest it on something or hold it.")
    release(bus)
    bus.close()
    print("all motors are off")
    return 0
