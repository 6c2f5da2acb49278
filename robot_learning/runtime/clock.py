"""Clocks that pace the loop: simulated time that never waits, and the wall clock on an absolute schedule.

A wall-clock period ends at ``start + n * dt``, so small delays do not add up. An overrun is a period whose work was not
done in time (or that was slept through): it is counted and the schedule re-aligns to the next multiple of ``dt``. Lost
periods are never made up by running faster, because a robot would execute them as a jerk. Waking up late from a wait
is jitter: the work still fits into the period, and ``lateness`` tells.
"""

import time
from array import array
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError


class SimClock:
    """Simulated time: every tick is exactly one control period and nothing waits.

    Args:
        dt: Control period [s].
    """

    def __init__(self, dt: float) -> None:
        self.dt = _checked_period(dt)
        self._ticks = 0

    @property
    def overruns(self) -> int:
        """Return 0: simulated periods cannot end late."""
        return 0

    def reset(self) -> None:
        """Start again at time zero."""
        self._ticks = 0

    def now(self) -> float:
        """Return the number of ticks since ``reset`` times the period [s]."""
        return self._ticks * self.dt

    def tick(self) -> None:
        """Move on by one control period."""
        self._ticks += 1


class WallClock:
    """Real time on the absolute schedule ``start + n * dt``.

    Args:
        dt: Control period [s].
        tolerance: Fraction of a period by which its work may be late: then the next period begins at once instead
            of one period later.
        spin_s: The last part of a wait is spent polling, because ``sleep`` alone overshoots by about 0.1 ms.
        now: Source of monotonic time [s].
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        dt: float,
        *,
        tolerance: float = 0.1,
        spin_s: float = 0.0005,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.dt = _checked_period(dt)
        self.tolerance_s = tolerance * dt
        self.spin_s = spin_s
        self._now = now
        self._sleep = sleep
        self._lateness = array("d")
        self._overruns = 0
        self._period = 0
        self._start = now()

    @property
    def overruns(self) -> int:
        """Return how many periods since ``reset`` did not hold their work, or were slept through."""
        return self._overruns

    @property
    def lateness(self) -> NDArray[np.float64]:
        """Return how late each period since ``reset`` ended [s], before any re-alignment."""
        return np.array(self._lateness)

    def reset(self) -> None:
        """Start the schedule now and forget the past."""
        self._lateness = array("d")
        self._overruns = 0
        self._period = 0
        self._start = self._now()

    def now(self) -> float:
        """Return monotonic time [s]."""
        return self._now()

    def tick(self) -> None:
        """Wait for the end of the current period; after a late one wait for the next multiple of the period."""
        self._period += 1
        deadline = self._start + self._period * self.dt
        too_late = self._now() - deadline > self.tolerance_s
        self._wait_until(deadline)
        late = self._now() - deadline
        self._lateness.append(late)
        if too_late or late >= self.dt:
            self._overruns += 1
            self._period = int((self._now() - self._start) // self.dt) + 1
            self._wait_until(self._start + self._period * self.dt)

    def _wait_until(self, deadline: float) -> None:
        remaining = deadline - self._now()
        if remaining > self.spin_s:
            self._sleep(remaining - self.spin_s)
        while self._now() < deadline:
            self._sleep(0.0)  # lets an inference thread have the interpreter


def _checked_period(dt: float) -> float:
    if not (np.isfinite(dt) and dt > 0):
        raise ConfigError(f"clock: expected a period above 0 s, got {dt}")
    return float(dt)
