"""The cable between a port and virtual servos, with whatever is wrong with it."""

import random
from dataclasses import dataclass, field

from robot_learning.hardware.buses.bus import BITS_PER_BYTE
from robot_learning.hardware.twin.bank import ServoBank

RETURN_DELAY_UNIT_S = 2e-6
"""Unit of a servo's register ``return_delay``, of both makers [s]."""


@dataclass
class Line:
    """A half-duplex line: one side speaks at a time, each byte takes as long as its bits.

    Attributes:
        bank: The servos at its end.
        seed: Seeds what happens at random.
        plugged: Whether the cable is in.
        noise: Share of the bytes, both ways, that are lost or have a bit turned.
        wrong_checks: Share of the answers whose check is wrong.
        silent: Ids that answer nothing.
        late_s: How much later than usual answers come [s].
    """

    bank: ServoBank
    seed: int = 0
    plugged: bool = True
    noise: float = 0.0
    wrong_checks: float = 0.0
    silent: frozenset[int] = frozenset()
    late_s: float = 0.0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Seed what happens at random."""
        self._random = random.Random(self.seed)

    def ask(self, data: bytes, baud: int) -> list[tuple[float, bytes]]:
        """Send bytes to the servos and return what comes back, each with its time from the end of ``data`` on [s]."""
        due, arriving = self.late_s, []
        for servo, answer in self.bank.receive(self._through(data), baud):
            due += servo.return_delay * RETURN_DELAY_UNIT_S + span(answer, baud)
            if servo.id not in self.silent:
                arriving.append((due, self._through(self._damaged(answer))))
        return arriving

    def _damaged(self, answer: bytes) -> bytes:
        wrong = self.wrong_checks and self._random.random() < self.wrong_checks
        return answer[:-1] + bytes((answer[-1] ^ 0xFF,)) if wrong else answer

    def _through(self, data: bytes) -> bytes:
        """Return what is left of bytes at the other end."""
        if not self.noise:
            return data
        arriving = bytearray()
        for byte in data:
            chance = self._random.random()
            if chance >= self.noise:
                arriving.append(byte)
            elif chance < self.noise / 2:
                arriving.append(byte ^ 1 << self._random.randrange(8))
        return bytes(arriving)


def span(data: bytes, baud: int) -> float:
    """Return how long bytes take on a line [s]."""
    return len(data) * BITS_PER_BYTE / baud
