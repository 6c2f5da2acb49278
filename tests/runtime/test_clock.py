import numpy as np
import pytest

from robot_learning.core.errors import ConfigError
from robot_learning.runtime.clock import SimClock, WallClock
from tests.contracts.clock import ClockContract
from tests.runtime.fake_time import FakeTime


def wall(dt=0.05, **kwargs):
    source = FakeTime(**kwargs)
    clock = WallClock(dt, now=source.now, sleep=source.sleep)
    clock.reset()
    return clock, source


class TestSimClock(ClockContract):
    def make_clock(self, dt):
        return SimClock(dt)

    def test_time_is_the_number_of_ticks(self):
        clock = SimClock(0.1)
        for _ in range(3):
            clock.tick()
        assert clock.now() == pytest.approx(0.3)
        clock.reset()
        assert clock.now() == 0.0


class TestWallClock(ClockContract):
    def make_clock(self, dt):
        return wall(dt)[0]


def test_small_delays_do_not_add_up():
    clock, source = wall(0.05, oversleep=0.0004)
    start = source.time
    for _ in range(200):
        source.work(0.01)
        clock.tick()
    assert source.time - start == pytest.approx(10.0, abs=0.001)
    assert clock.overruns == 0
    assert len(clock.lateness) == 200
    assert np.max(clock.lateness) < 0.001


def test_the_last_part_of_a_wait_is_polled():
    clock, source = wall(0.05)
    clock.tick()
    assert source.slept[0] == pytest.approx(0.05 - clock.spin_s)
    assert set(source.slept[1:]) == {0.0}


def test_a_late_period_is_counted_and_the_schedule_realigned():
    clock, source = wall(0.05)
    start = source.time
    source.work(0.12)  # into the third period
    clock.tick()
    assert clock.overruns == 1
    assert source.time - start == pytest.approx(0.15, abs=1e-5)
    assert clock.lateness[0] == pytest.approx(0.07)
    for n in range(4, 8):  # one period each from here on: nothing is caught up
        clock.tick()
        assert source.time - start == pytest.approx(0.05 * n, abs=1e-5)
    assert clock.overruns == 1


def test_lateness_within_the_tolerance_is_jitter():
    clock, source = wall(0.05)
    start = source.time
    source.work(0.053)
    clock.tick()
    assert clock.overruns == 0
    assert source.time - start == pytest.approx(0.053)
    clock.tick()
    assert source.time - start == pytest.approx(0.1, abs=1e-5)


def test_waking_up_late_is_jitter_while_the_work_still_fits():
    clock, source = wall(0.05, oversleep=0.02)
    start = source.time
    for _ in range(10):
        source.work(0.025)
        clock.tick()
    assert clock.overruns == 0
    assert source.time - start == pytest.approx(0.5 + 0.02 - clock.spin_s, abs=1e-4)
    assert np.max(clock.lateness) == pytest.approx(0.02 - clock.spin_s, abs=1e-4)


def test_a_period_slept_through_is_an_overrun():
    clock, _ = wall(0.05, oversleep=0.06)
    clock.tick()
    assert clock.overruns == 1


@pytest.mark.parametrize("dt", [0.0, -0.1, float("nan"), float("inf")])
def test_a_period_must_be_positive(dt):
    for make in (SimClock, WallClock):
        with pytest.raises(ConfigError, match="period above 0"):
            make(dt)
