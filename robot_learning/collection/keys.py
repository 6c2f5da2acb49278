"""Keys that a person presses while a loop runs, from a terminal without waiting for Enter, or line by line from a pipe."""

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from typing import IO, Protocol


class Keys(Protocol):
    """Where keys come from."""

    def poll(self) -> str:
        """Return the key pressed since the last call, empty where there is none; never waits."""
        ...


class TypedKeys:
    """Keys from standard input. A line from a pipe counts as its first letter, an empty one as Enter.

    Args:
        stream: Where to read.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        """Read from ``stream``, standard input unless given."""
        self._stream = sys.stdin if stream is None else stream
        self._raw = self._stream.isatty()
        self._rest = b""
        self._ended = False

    def poll(self) -> str:
        """Return the next key; ``q`` once the input has ended, so that nobody records for ever."""
        if not self._ended and select.select([self._stream], [], [], 0)[0]:
            read = os.read(self._stream.fileno(), 4096)
            self._ended = not read
            self._rest += read
        return self._next_key() if self._raw else self._next_line()

    def _next_key(self) -> str:
        key, self._rest = self._rest[:1], self._rest[1:]
        return key.decode(errors="ignore") or ("q" if self._ended else "")

    def _next_line(self) -> str:
        line, found, rest = self._rest.partition(b"\n")
        if not found:
            return "q" if self._ended else ""
        self._rest = rest
        return line.decode(errors="ignore").strip()[:1] or "\n"


@contextlib.contextmanager
def single_keys(stream: IO[str] | None = None) -> Iterator[TypedKeys]:
    """Let a terminal hand over each key at once, without showing it, and give it back as it was."""
    keys = TypedKeys(stream)
    source = sys.stdin if stream is None else stream
    if not source.isatty():
        yield keys
        return
    import termios  # Unix only, as terminals with these modes are
    import tty

    former = termios.tcgetattr(source.fileno())
    try:
        tty.setcbreak(source.fileno())
        yield keys
    finally:
        termios.tcsetattr(source.fileno(), termios.TCSADRAIN, former)
