"""Ctrl-C and SIGTERM as a wish that the loop reads between two steps, instead of a blow in the middle of one."""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupt:
    """While entered, remembers the first SIGINT or SIGTERM; a second one interrupts at once.

    Outside the main thread it does nothing, as Python delivers signals there only.

    Args:
        launched: A launcher started this process: it passes signals on, so that one may come twice, and kills who does not end.
        quiet: Do not say that a signal came.

    Attributes:
        requested: Whether a signal came.
    """

    def __init__(self, *, launched: bool = False, quiet: bool = False) -> None:
        self.requested = False
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
        if self.requested and not self._launched:
            raise KeyboardInterrupt
        if not self.requested and not self._quiet:
            more = "" if self._launched else "; once more stops at once"
            sys.stderr.write(f"\n{signal.Signals(number).name}: finishing the step and saving{more}\n")
        self.requested = True
