"""The ``robot-learning`` command: finds the subcommand, runs it, and prints errors as one message."""

import ast
import importlib
import importlib.util
import os
import select
import sys
import traceback
from pathlib import Path

from robot_learning import __version__
from robot_learning.core.errors import RobotLearningError, UnknownName

COMMANDS = (
    "quickstart",
    "collect",
    "train",
    "evaluate",
    "export",
    "deploy",
    "inspect",
    "probe",
    "data",
    "find",
    "motors",
    "calibrate",
    "teleoperate",
    "record",
    "twin",
    "doctor",
)
"""Subcommands in the order a newcomer needs them; each is the module of that name in this package."""


def main(argv: list[str] | None = None) -> int:
    """Run ``robot-learning COMMAND ...`` and return the exit status: 0 fine, 1 failed, 2 wrong input, 130 stopped."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"robot-learning {__version__}")
        return 0
    try:
        status = _run(arguments[0], arguments[1:])
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except RobotLearningError as error:
        if os.environ.get("ROBOT_LEARNING_TRACEBACK"):
            traceback.print_exc()
        print(f"robot-learning {arguments[0]}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nrobot-learning {arguments[0]}: stopped", file=sys.stderr)
        return 130


def _run(command: str, argv: list[str]) -> int:
    if command not in COMMANDS:
        raise UnknownName("command", command, COMMANDS)
    module = importlib.import_module(f"robot_learning.cli.{command}")
    status: int = module.main(argv)
    return status


def _reader_is_gone() -> bool:
    """Tell whether what reads our output has read enough and left, as in ``robot-learning train --help | head``."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _help() -> str:
    rows = "\n".join(f"  {name:<12}{_summary(name)}" for name in COMMANDS)
    return (
        "usage: robot-learning COMMAND [options]\n\n"
        "Collect demonstrations, train policies from them, deploy the policies.\n\n"
        f"{rows}\n\n"
        "`robot-learning COMMAND --help` explains a command and gives examples. "
        "ROBOT_LEARNING_TRACEBACK=1 shows where an error came from."
    )


def _summary(command: str) -> str:
    """Return the first line of a command's module docstring without importing it (imports cost seconds)."""
    spec = importlib.util.find_spec(f"robot_learning.cli.{command}")
    if spec is None or spec.origin is None:
        return ""
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
