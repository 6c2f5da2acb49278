"""Ctrl-C and SIGTERM as a wish that the loop reads between two steps, instead of a blow in the middle of one."""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupt:
    """While entered, remembers the first SIGINT or SIGTERM; a second one interrupts at once.

    Outside the main thread it does nothing, as Python delivers signals there only.

    Attributes:
        requested: Whether a signal came.
    """

    def __init__(self) -> None:
        self.requested = False
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
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        sys.stderr.write(f"\n{signal.Signals(number).name}: finishing the step and saving; once more stops at once\n")
