"""Time that passes only when told to, or when somebody sleeps."""


class FakeTime:
    """``now`` and ``sleep`` for clocks and guards.

    Args:
        oversleep: Added to every sleep [s].
    """

    def __init__(self, start=100.0, oversleep=0.0):
        self.time = start
        self.oversleep = oversleep
        self.slept = []

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += max(seconds + self.oversleep, 1e-6)

    def work(self, seconds):
        self.time += seconds
