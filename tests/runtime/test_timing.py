import io

import numpy as np
import pytest

from robot_learning.core.types import Outcome
from robot_learning.runtime.actors import HoldActor
from robot_learning.runtime.clock import WallClock
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import Guards
from robot_learning.runtime.timing import Percentiles, ProgressLine, Timing
from tests.runtime.fake_time import FakeTime
from tests.runtime.point_mass import SPEC, PointMass


class Thinker(HoldActor):
    """Takes its time: some seconds of fake time per step."""

    def __init__(self, source, seconds):
        super().__init__(SPEC)
        self._source = source
        self._seconds = iter(seconds)

    def act(self, observation):
        self._source.work(next(self._seconds))
        return super().act(observation)


def run(seconds, stream=None):
    source, robot = FakeTime(), PointMass()
    robot.connect()
    clock = WallClock(SPEC.dt, now=source.now, sleep=source.sleep)
    timing = Timing(clock)
    line = ProgressLine(timing, seconds=len(seconds) / 20, hz=20, stream=stream or io.StringIO())
    actor = Thinker(source, seconds)
    run_episode(robot, actor, Guards(), clock, max_steps=len(seconds), observers=[timing, line])
    return timing.report()


def test_a_regular_loop():
    report = run([0.004] * 60)
    assert report.steps == 60
    assert report.rate_hz == pytest.approx(20.0, abs=1e-3)
    assert report.seconds == pytest.approx(3.0, abs=1e-3)
    assert report.jitter.max == pytest.approx(0.0, abs=0.01)
    assert report.latency.p50 == pytest.approx(4.0, abs=0.01)
    assert (report.overruns_start, report.overruns) == (0, 0)


def test_overruns_in_the_first_second_are_counted_apart():
    work = [0.004] * 60
    work[3] = work[40] = work[50] = 0.08
    report = run(work)
    assert (report.overruns_start, report.overruns) == (1, 2)
    assert report.rate_hz == pytest.approx(59 / (62 * 0.05), abs=1e-3)
    assert report.jitter.max == pytest.approx(50.0, abs=0.1)
    assert report.latency.max == pytest.approx(80.0, abs=0.1)


def test_percentiles_by_hand():
    summary = Percentiles.of(np.arange(101) / 1000)
    assert (summary.p50, summary.p99, summary.max) == pytest.approx((50.0, 99.0, 100.0))
    assert str(summary) == "p50 50.0 ms, p99 99.0 ms, max 100.0 ms"
    assert np.isnan(Percentiles.of(np.array([])).p50)


def test_a_report_of_nothing():
    report = Timing(WallClock(0.05)).report()
    assert report.steps == 0
    assert np.isnan(report.rate_hz)
    assert report.to_json()["latency"]["p50"] is not None


def test_the_progress_line_is_written_once_a_second():
    stream = io.StringIO()
    run([0.004] * 60, stream)
    lines = [line.strip() for line in stream.getvalue().split("\r") if line]
    assert len(lines) == 4
    assert lines[0] == "running"
    assert lines[2].startswith("2 / 3 s   20.00 Hz   latency p99 4.0 ms   overruns 0 + 0")
    assert stream.getvalue().endswith("\n")
    ProgressLine(Timing(WallClock(0.05)), seconds=1, hz=20, stream=stream).on_end(Outcome())
