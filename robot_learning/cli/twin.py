"""Start virtual arms behind real serial ports: to try everything without hardware."""

import argparse
import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path

from robot_learning.core.errors import RobotLearningError
from robot_learning.hardware.twin.arm import MODELS
from robot_learning.hardware.twin.faults import HELP
from robot_learning.hardware.twin.station import Station

FOLDER = Path("~/.robot-learning/twin")
EXAMPLES = f"""examples:
  robot-learning twin so101
  robot-learning twin so101 --pair
  echo "follower unplug" | robot-learning twin so101 --pair

While it runs, type the name of an arm and what shall happen to it, e.g. `follower hand sweep`:
{HELP}
"""


def main(argv: list[str]) -> int:
    """Run the command until Ctrl-C or `quit`."""
    parser = argparse.ArgumentParser(
        prog="robot-learning twin",
        description=(__doc__ or "").strip(),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("arm", choices=MODELS, help="kind of arm")
    parser.add_argument("--pair", action="store_true", help="a leader beside the follower")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where ports and memories are kept (default: {FOLDER})")
    arguments = parser.parse_args(argv)
    names = ("follower", "leader") if arguments.pair else ("follower",)
    with Station(arguments.arm, names, arguments.folder.expanduser()) as station:
        for name, port in station.ports.items():
            print(f"{name:<10}{port}")
        print("type ARM COMMAND, `help`, or `quit`; Ctrl-C ends it too", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            listen(station, sys.stdin)
    return 0


def listen(station: Station, lines: Iterable[str]) -> None:
    """Do what is typed until `quit`; where nothing can be typed any more, go on until Ctrl-C."""
    for line in lines:
        words = line.split()
        if words in (["quit"], ["exit"]):
            return
        if words == ["help"]:
            print(HELP, flush=True)
        elif words:
            try:
                station.tell(words[0], words[1:])
            except RobotLearningError as error:
                print(error, file=sys.stderr, flush=True)
    station.wait()
