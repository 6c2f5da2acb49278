"""How regularly a loop ran: rate, jitter, latency, overruns in its first second and after it."""

import sys
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.protocols import Clock
from robot_learning.core.types import Goal, Observation, Outcome, Step

START_S = 1.0
"""Overruns are counted apart in the first second, where caches are cold."""


@dataclass(frozen=True)
class Percentiles:
    """Summary of durations [ms].

    Attributes:
        p50: Median.
        p99: 99th percentile.
        max: Largest.
    """

    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: NDArray[np.float64]) -> "Percentiles":
        """Summarise durations given in seconds; NaN when there are none."""
        if len(seconds) == 0:
            return cls(float("nan"), float("nan"), float("nan"))
        p50, p99 = np.percentile(seconds, (50, 99)) * 1e3
        return cls(float(p50), float(p99), float(np.max(seconds) * 1e3))

    def __str__(self) -> str:
        """Return ``p50 1.2 ms, p99 3.4 ms, max 5.6 ms``."""
        return f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms, max {self.max:.1f} ms"


@dataclass(frozen=True)
class TimingReport:
    """What a :class:`Timing` observer saw.

    Attributes:
        steps: Control steps.
        seconds: From the first to the last step, plus one period.
        rate_hz: Steps per second.
        jitter: Deviations of the step intervals from their median.
        latency: From having an observation to its action's being sent.
        overruns_start: Overruns in the first second.
        overruns: Overruns after it.
    """

    steps: int
    seconds: float
    rate_hz: float
    jitter: Percentiles
    latency: Percentiles
    overruns_start: int
    overruns: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return asdict(self)


class Timing:
    """A StepObserver that measures the loop.

    Args:
        clock: The loop's clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reset()

    def on_reset(self, observation: Observation, *, goal: Goal | None, seed: int | None) -> None:  # noqa: ARG002
        """Start measuring."""
        self._reset()

    def on_step(self, step: Step) -> None:
        """Note the time and the latency of a step."""
        now = self._clock.now()
        self._times.append(now)
        self._latencies.append(step.latency_s)
        if now - self._times[0] < START_S:
            self._overruns_start = self._clock.overruns
        self._overruns_all = self._clock.overruns

    def on_end(self, outcome: Outcome) -> None:
        """Do nothing: the steps said it all."""

    def report(self) -> TimingReport:
        """Return the statistics so far."""
        intervals = np.diff(np.array(self._times))
        period = float(np.median(intervals)) if len(intervals) else float("nan")
        elapsed = float(np.sum(intervals))
        return TimingReport(
            steps=len(self._times),
            seconds=elapsed + (period if len(intervals) else 0.0),
            rate_hz=len(intervals) / elapsed if elapsed > 0 else float("nan"),
            jitter=Percentiles.of(np.abs(intervals - period)),
            latency=Percentiles.of(np.array(self._latencies)),
            overruns_start=self._overruns_start,
            overruns=self._overruns_all - self._overruns_start,
        )

    def _reset(self) -> None:
        self._times = array("d")
        self._latencies = array("d")
        self._overruns_start = 0
        self._overruns_all = 0


class ProgressLine:
    """A StepObserver that keeps one line of the terminal up to date.

    Args:
        timing: What it shows; must come earlier among the observers.
        seconds: Length of the run, for the time left.
        hz: Control rate; the line is written once a second.
        stream: Where to write.
        extra: More text, asked for at every update.
    """

    def __init__(
        self,
        timing: Timing,
        *,
        seconds: float,
        hz: float,
        stream: TextIO | None = None,
        extra: Callable[[], str] = str,
    ) -> None:
        self._timing = timing
        self._seconds = seconds
        self._every = max(1, round(hz))
        self._stream = sys.stderr if stream is None else stream
        self._extra = extra

    def on_reset(self, observation: Observation, *, goal: Goal | None, seed: int | None) -> None:  # noqa: ARG002
        """Say that it starts."""
        self._write("running")

    def on_step(self, step: Step) -> None:
        """Rewrite the line once a second."""
        if (step.index + 1) % self._every == 0:
            report = self._timing.report()
            self._write(
                f"{report.seconds:5.0f} / {self._seconds:.0f} s   {report.rate_hz:5.2f} Hz   "
                f"latency p99 {report.latency.p99:.1f} ms   "
                f"overruns {report.overruns_start} + {report.overruns}{self._extra()}"
            )

    def on_end(self, outcome: Outcome) -> None:  # noqa: ARG002 - the report says how it ended
        """Leave the line."""
        self._stream.write("\n")
        self._stream.flush()

    def _write(self, text: str) -> None:
        self._stream.write(f"\r{text:<100}")
        self._stream.flush()
