"""Packages that extend this one: policies, suites and whatever else a configuration can name, each with its own configs.

A package says so with an entry point in the group ``robot_learning.extensions`` whose value is the package's name. Once it is
installed, configurations and checkpoints may name its classes, and ``PACKAGE/configs`` is searched for YAML files beside ours.
"""

import functools
import sys
from importlib.metadata import entry_points

GROUP = "robot_learning.extensions"


def extensions() -> tuple[str, ...]:
    """Return the names of the installed extension packages, sorted; none of them is imported."""
    return _installed(tuple(sys.path))


def ours(target: str) -> bool:
    """Return whether a dotted name belongs to this package or to an installed extension."""
    return target.startswith(tuple(f"{name}." for name in ("robot_learning", *extensions())))


@functools.cache
def _installed(path: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG001 - what is installed depends on it
    return tuple(sorted({point.value for point in entry_points(group=GROUP)}))
