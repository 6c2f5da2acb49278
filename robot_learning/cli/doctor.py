"""Check this machine: Python, torch, rendering, disk, cores, cameras, serial ports."""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from robot_learning.cli.machine import Check, checks

EXAMPLES = """examples:
  robot-learning doctor
  robot-learning doctor --json
  robot-learning doctor --folder /data/runs
"""
MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def main(argv: list[str]) -> int:
    """Run the command; 1 when something that every command needs is missing."""
    parser = argparse.ArgumentParser(
        prog="robot-learning doctor",
        description=(__doc__ or "").strip(),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="where runs will be written (default: runs)")
    arguments = parser.parse_args(argv)
    found = checks(arguments.folder)
    failed = any(check.status == "fail" for check in found)
    if arguments.json:
        print(json.dumps({"ok": not failed, "checks": [asdict(check) for check in found]}, indent=1))
    else:
        print(table(found, width=shutil.get_terminal_size((110, 24)).columns))
        print(_summary(found), file=sys.stderr if failed else sys.stdout)
    return int(failed)


def table(found: Sequence[Check], width: int = 110) -> str:
    """Return the checks as aligned lines, advice below the finding it belongs to."""
    indent = " " * 20
    lines = []
    for check in found:
        head = f"{MARKS[check.status]}  {check.name:<14}"
        lines.append(textwrap.fill(check.found, max(width, 60), initial_indent=head, subsequent_indent=indent))
        if check.advice:
            advice = f"-> {check.advice}"
            lines.append(textwrap.fill(advice, max(width, 60), initial_indent=indent, subsequent_indent=indent + "   "))
    return "\n".join(lines)


def _summary(found: Sequence[Check]) -> str:
    count = {status: sum(check.status == status for check in found) for status in MARKS}
    if count["fail"]:
        return f"{count['fail']} required check(s) failed; see the advice above"
    return "this machine is ready" + (f", with {count['warn']} warning(s)" if count["warn"] else "")
