"""A port without a wire: a driver and virtual servos in one process, in time that passes only while somebody waits for it."""

from robot_learning.core.errors import NotConnected
from robot_learning.hardware.twin.line import Line, span


class DirectPort:
    """A port whose other end is a :class:`Line`.

    Args:
        line: The line and its servos.
        baud: Rate [bit/s].
        name: How messages call it.
    """

    def __init__(self, line: Line, *, baud: int = 1_000_000, name: str = "twin") -> None:
        """Lay the cable."""
        self.line, self.baud, self.name = line, baud, name
        self._time = 0.0
        self._opened = False
        self._arriving: list[tuple[float, bytes]] = []

    def open(self) -> None:
        """Open the line; idempotent."""
        if not self.line.plugged:
            raise NotConnected(f"{self.name}: expected a serial port, got no device; is the cable in, is the board powered?")
        self._opened = True

    def close(self) -> None:
        """Close the line; idempotent."""
        self._opened = False
        self._arriving.clear()

    def now(self) -> float:
        """Return the time [s]."""
        return self._time

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._time += seconds
        self.line.bank.advance(seconds)

    def write(self, data: bytes) -> None:
        """Send bytes, which takes as long as their bits need."""
        self._check()
        self.sleep(span(data, self.baud))
        self._arriving += [(self._time + delay, answer) for delay, answer in self.line.ask(data, self.baud)]

    def read(self, until: float) -> bytes:
        """Return bytes as soon as some are there, none when ``until`` has come."""
        self._check()
        due = min((due for due, _ in self._arriving), default=until)
        self.sleep(max(0.0, min(due, until) - self._time))
        return b"".join(self._arrived())

    def discard(self) -> None:
        """Throw away what has come in."""
        self._check()
        self._arrived()

    def _arrived(self) -> list[bytes]:
        here = [data for due, data in self._arriving if due <= self._time]
        self._arriving = [entry for entry in self._arriving if entry[0] > self._time]
        return here

    def _check(self) -> None:
        if not self._opened:
            raise NotConnected(f"{self.name}: expected an open line, got none; call connect() first")
        if not self.line.plugged:
            self.close()
            raise NotConnected(f"{self.name}: the device went away; check its cable and power, plug it in, then connect again")
