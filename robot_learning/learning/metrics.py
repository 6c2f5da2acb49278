"""Where the figures of a run go: JSON lines always, TensorBoard beside them, a bar or lines for the reader."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tqdm import tqdm

from robot_learning.core.errors import UnknownName

Display = Literal["auto", "bar", "lines", "none"]
LINE_EVERY_S = 15.0
"""Seconds between two progress lines where there is no terminal to draw a bar in."""


class MetricsLog:
    """Writes one JSON object per call to a file and, if asked, the same figures to TensorBoard."""

    def __init__(self, path: Path, *, tensorboard: bool = True, resume_step: int = 0) -> None:
        """Open the log; lines of a former attempt beyond ``resume_step`` are cut off.

        Args:
            path: The JSON-lines file.
            tensorboard: Also write events into ``tensorboard/`` beside it.
            resume_step: The step that training goes on from, 0 for a new run.
        """
        kept = [line for line in _lines(path) if line.get("step", 0) <= resume_step] if resume_step else []
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        draft.replace(path)
        self._file = path.open("a", encoding="utf-8")
        self._writer = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(path.parent / "tensorboard"), purge_step=resume_step + 1)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Write the figures that belong to ``step`` and flush them."""
        self._file.write(json.dumps({"step": step, **figures}) + "\n")
        self._file.flush()
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files; idempotent."""
        self._file.close()
        if self._writer:
            self._writer.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Return the lines of a metrics file, oldest first; a torn last line is left out."""
    return _lines(path)


class Progress:
    """Shows how far training is: a bar in a terminal, a line now and then elsewhere."""

    def __init__(self, total: int, done: int, *, display: Display = "auto", name: str = "train") -> None:
        """Start at ``done`` of ``total`` steps."""
        if display not in ("auto", "bar", "lines", "none"):
            raise UnknownName("trainer.progress", str(display), ("auto", "bar", "lines", "none"))
        chosen = ("bar" if sys.stderr.isatty() else "lines") if display == "auto" else display
        self._total, self._done, self._name = total, done, name
        self._lines = chosen == "lines"
        self._started = self._written = time.monotonic()
        self._first = done
        self._note = ""
        self._bar = tqdm(total=total, initial=done, desc=name, unit="step", disable=chosen != "bar", dynamic_ncols=True)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the bar."""
        self._bar.close()
        if self._lines:
            self._write_line()

    def advance(self) -> None:
        """Count one step."""
        self._done += 1
        self._bar.update()
        if self._lines and time.monotonic() - self._written >= LINE_EVERY_S:
            self._write_line()

    def note(self, figures: Mapping[str, float]) -> None:
        """Show figures beside the bar, e.g. the loss."""
        self._note = ", ".join(f"{name}={value:.4g}" for name, value in figures.items())
        self._bar.set_postfix_str(self._note, refresh=False)

    def _write_line(self) -> None:
        self._written = time.monotonic()
        rate = (self._done - self._first) / max(self._written - self._started, 1e-9)
        left = (self._total - self._done) / rate if rate > 0 else 0.0
        sys.stderr.write(
            f"{self._name}: {self._done}/{self._total} steps, {rate:.1f} steps/s, {clock(left)} left"
            f"{', ' if self._note else ''}{self._note}\n"
        )
        sys.stderr.flush()


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"


def _lines(path: Path) -> list[dict[str, float]]:
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
