"""Take turns with a program in another environment: it says ``ready``, then answers every line with one number."""

import subprocess
from pathlib import Path
from types import TracebackType


class Peer:
    """A running script of a peer's; a context manager.

    Args:
        python: Interpreter of the peer's environment.
        arguments: The script and its arguments.
    """

    def __init__(self, python: Path, *arguments: object) -> None:
        command = [str(python), *map(str, arguments)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._expect("ready")

    def turn(self, question: object) -> float:
        """Return the peer's answer to a question."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        print(question, file=self._process.stdin, flush=True)
        return float(self._expect("answer ").removeprefix("answer "))

    def _expect(self, start: str) -> str:
        """Return the next line that begins with ``start``; what a library prints between is none of ours."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        raise RuntimeError(f"{self._process.args}: ended without {start!r}; its message stands above")

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        self._process.stdin.close()  # its loop ends, and with it the workers it started
        self._process.wait()
