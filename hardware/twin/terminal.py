"""A serial port of the operating system with virtual servos behind it: any program may open it, ours or a maker's own.

The port is a pseudo-terminal. The rate that a program sets is the one that the servos hear, so a wrong rate is as silent as on
a real bus. Pulling the cable closes the terminal; plugging it in makes a new one under the same name.
"""

import contextlib
import os
import select
import termios
import time
import tty
from collections.abc import Callable
from pathlib import Path

from robot_learning.hardware.twin.line import Line, span

_RATES = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[:1] == "B" and name[1:].isdigit()}
_CHUNK = 4096
LONGEST_STEP_S = 0.05
"""After a pause of the whole process the physics make up at most this much time at once."""


class Terminal:
    """A pseudo-terminal in front of a :class:`Line`.

    Args:
        line: The line and its servos.
        name: Path that the port shall have, a link to the terminal.

    Attributes:
        line: As given; change its faults while :meth:`serve` runs.
    """

    def __init__(self, line: Line, name: str | os.PathLike[str]) -> None:
        """Plug the cable in."""
        self.line, self.name = line, Path(name)
        self._near = self._far = -1
        self._plug()

    def serve(self, running: Callable[[], bool], *, idle_s: float = 0.002) -> None:
        """Answer until ``running`` says no: instructions at once, and the physics every ``idle_s`` besides."""
        last = time.monotonic()
        while running():
            self._follow_cable()
            heard = self._listen(idle_s)
            now = time.monotonic()
            self.line.bank.advance(min(now - last, LONGEST_STEP_S))
            last = now
            if heard:
                self._answer(heard)

    def close(self) -> None:
        """Pull the cable and take the name away; idempotent."""
        self._unplug()

    def __enter__(self) -> "Terminal":
        """Return the terminal."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    def _listen(self, seconds: float) -> bytes:
        if self._near < 0:
            time.sleep(seconds)
            return b""
        readable, _, _ = select.select([self._near], [], [], seconds)
        return os.read(self._near, _CHUNK) if readable else b""

    def _answer(self, heard: bytes) -> None:
        baud = _RATES.get(termios.tcgetattr(self._near)[4], 0)
        if not baud:
            return
        begun = time.monotonic() + span(heard, baud)
        for due, answer in self.line.ask(heard, baud):
            time.sleep(max(0.0, begun + due - time.monotonic()))
            with contextlib.suppress(BlockingIOError):  # nobody reads: the bytes are lost, as on a wire
                os.write(self._near, answer)

    def _follow_cable(self) -> None:
        if self.line.plugged and self._near < 0:
            self._plug()
        elif not self.line.plugged and self._near >= 0:
            self._unplug()

    def _plug(self) -> None:
        self._near, self._far = os.openpty()
        tty.setraw(self._far)  # this end stays open, or the terminal would hang up whenever a program closes it
        os.set_blocking(self._near, False)
        link = self.name.with_name(f".{self.name.name}.{os.getpid()}")
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(self._far))
        link.replace(self.name)

    def _unplug(self) -> None:
        for end in (self._near, self._far):
            if end >= 0:
                os.close(end)
        if self._near >= 0:
            self.name.unlink(missing_ok=True)
        self._near = self._far = -1
