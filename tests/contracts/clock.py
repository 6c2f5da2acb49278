"""What every clock promises; inherit :class:`ClockContract` and say how to make one."""

from robot_learning.core.protocols import Clock


class ClockContract:
    """Tests of the Clock protocol; a subclass defines ``make_clock(self, dt)``, which must not wait in real time."""

    dt = 0.05

    def make_clock(self, dt) -> Clock:
        raise NotImplementedError

    def test_is_a_clock(self):
        assert isinstance(self.make_clock(self.dt), Clock)

    def test_time_never_runs_backwards(self):
        clock = self.make_clock(self.dt)
        clock.reset()
        times = []
        for _ in range(5):
            times.append(clock.now())
            clock.tick()
            times.append(clock.now())
        assert times == sorted(times)

    def test_a_tick_ends_the_period(self):
        clock = self.make_clock(self.dt)
        clock.reset()
        start = clock.now()
        for n in range(1, 6):
            clock.tick()
            assert abs(clock.now() - start - n * self.dt) < 0.1 * self.dt
        assert clock.overruns == 0

    def test_reset_zeroes_the_counter(self):
        clock = self.make_clock(self.dt)
        clock.reset()
        clock.tick()
        clock.reset()
        assert clock.overruns == 0
