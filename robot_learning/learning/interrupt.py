"""Ctrl-C and SIGTERM as a wish that the loop reads between two steps, instead of a blow in the middle of one."""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from robot_learning.core.types import Goal, Observation, Outcome, Step


class Interrupt:
    """While entered, remembers the first SIGINT or SIGTERM; a second one interrupts at once.

    Outside the main thread it does nothing, as Python delivers signals there only.

    Args:
        launched: A launcher started this process: it passes signals on, so that one may come twice, and kills who does not end.
        quiet: Do not say that a signal came.
        gently: Let the loop finish its step; False interrupts at once, until somebody sets it.

    Attributes:
        requested: Whether a signal came.
        gently: As given; set it where a loop begins that reads ``requested``.
    """

    def __init__(self, *, launched: bool = False, quiet: bool = False, gently: bool = True) -> None:
        self.requested, self.gently = False, gently
        self._launched, self._quiet = launched, quiet
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give the signals back."""
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if (self.requested and not self._launched) or not self.gently:
            raise KeyboardInterrupt
        if not self.requested and not self._quiet:
            more = "" if self._launched else "; once more stops at once"
            sys.stderr.write(f"\n{signal.Signals(number).name}: finishing the step and saving{more}\n")
        self.requested = True


class Gently:
    """Observer of the loop: a signal while the robot drives to its start interrupts at once, in the loop after its step.

    Args:
        interrupt: Made with ``gently=False``.
    """

    def __init__(self, interrupt: Interrupt) -> None:
        self._interrupt = interrupt

    def on_reset(self, observation: Observation, *, goal: Goal | None, seed: int | None) -> None:  # noqa: ARG002
        """Begin to be gentle: the robot is at its start."""
        self._interrupt.gently = True

    def on_step(self, step: Step) -> None:
        """Do nothing."""

    def on_end(self, outcome: Outcome) -> None:  # noqa: ARG002
        """Be gentle no more: what follows is outside the loop."""
        self._interrupt.gently = False
