"""The line that a bus stands on: bytes out, bytes in, and errors that say what to do."""

import contextlib
import errno
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from robot_learning.core.errors import MissingExtra, NotConnected

try:
    import termios
except ImportError:  # Windows
    _GONE: tuple[type[Exception], ...] = (OSError,)
else:
    _GONE = (OSError, termios.error)  # the latter, from emptying the line of a device that has gone, is no OSError

_UNUSABLE: tuple[type[Exception], ...] = (*_GONE, ValueError)  # ValueError: a rate that the adapter cannot do

_PATIENCE_S = 0.001
"""How long one wait for the first byte takes at most; waits end early when bytes come in."""


class Port(Protocol):
    """A line to a device."""

    @property
    def name(self) -> str:
        """Return how messages call it, e.g. ``/dev/ttyACM0``."""
        ...

    @property
    def baud(self) -> int:
        """Return its rate [bit/s]."""
        ...

    def open(self) -> None:
        """Open the line; idempotent. Raises :class:`NotConnected` with what to do."""
        ...

    def close(self) -> None:
        """Close the line; idempotent, never raises."""
        ...

    def now(self) -> float:
        """Return the time [s] that ``until`` is measured in."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes. Raises :class:`NotConnected` where the device has gone."""
        ...

    def read(self, until: float) -> bytes:
        """Return bytes as soon as some are there, none when ``until`` has come. Raises :class:`NotConnected`."""
        ...

    def discard(self) -> None:
        """Throw away what has come in and was not read."""
        ...


class SerialPort:
    """A serial line through pyserial, held by one program at a time.

    Args:
        path: Device file or name, e.g. ``/dev/ttyACM0``, or better its name under ``/dev/serial/by-id``.
        baud: Rate [bit/s].
    """

    def __init__(self, path: str, baud: int = 1_000_000) -> None:
        """Describe the line."""
        self.name, self.baud = path, baud
        self.now: Callable[[], float] = time.monotonic
        self._line: Any = None

    def open(self) -> None:
        """Open the line for this program alone; idempotent."""
        if self._line is not None:
            return
        serial = _pyserial()
        try:
            self._line = serial.Serial(self.name, self.baud, timeout=_PATIENCE_S, write_timeout=0.1, exclusive=True)
        except _UNUSABLE as error:
            raise NotConnected(_why_not(self.name, error)) from error
        with contextlib.suppress(AttributeError, NotImplementedError, ValueError, OSError):
            self._line.set_low_latency_mode(True)  # adapters that collect bytes for 16 ms pass them on at once; Linux only

    def close(self) -> None:
        """Close the line; idempotent."""
        if self._line is not None:
            line, self._line = self._line, None
            with contextlib.suppress(OSError):  # it went away before we did
                line.close()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._guarded(lambda line: line.write(data))

    def read(self, until: float) -> bytes:
        """Return bytes as soon as some are there, none when ``until`` has come."""
        while True:
            received: bytes = self._guarded(lambda line: line.read(line.in_waiting or 1))
            if received or self.now() >= until:
                return received

    def discard(self) -> None:
        """Throw away what has come in."""
        self._guarded(lambda line: line.reset_input_buffer())

    def _guarded(self, use: Callable[[Any], Any]) -> Any:
        """Use the line, and close it where the device has gone, so that ``open`` can try again."""
        if self._line is None:
            raise NotConnected(f"{self.name}: expected an open line, got none; call connect() first")
        try:
            return use(self._line)
        except _GONE as error:
            self.close()
            raise NotConnected(
                f"{self.name}: the device went away ({error}); check its cable and power, plug it in, then connect again"
            ) from error


def serial_ports() -> list[tuple[str, str]]:
    """Return the serial ports of this machine: the most lasting name of each, and what the system says about it."""
    _pyserial()
    from serial.tools import list_ports

    lasting = {os.path.realpath(entry.path): entry.path for entry in _entries("/dev/serial/by-id")}
    return sorted((lasting.get(port.device, port.device), port.description) for port in list_ports.comports())


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError:
        return []


def _pyserial() -> Any:
    try:
        import serial
    except ImportError as error:
        raise MissingExtra("pyserial", "so101") from error
    return serial


def _why_not(path: str, error: BaseException) -> str:
    """Return what is wrong with a port that does not open, and what to do."""
    number = getattr(error, "errno", None)
    if number in (errno.EACCES, errno.EPERM):
        return (
            f"{path}: expected a port that you may open, got no permission; as root write\n"
            '  SUBSYSTEM=="tty", ATTRS{idVendor}=="*", MODE="0660", GROUP="dialout", TAG+="uaccess"\n'
            "into /etc/udev/rules.d/99-robot-serial.rules, run `udevadm control --reload && udevadm trigger`, add yourself to "
            "the group: `usermod -aG dialout $USER`, and log in again"
        )
    if number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        return f"{path}: expected a free port, got one that another program holds; close that program (`fuser {path}` names it)"
    found = ", ".join(name for name, _ in serial_ports()) or "none"
    return f"{path}: expected a serial port, got {error}; ports here: {found}; is the cable in, is the board powered?"
