"""Random numbers keyed by (seed, epoch, index).

A sample's draw depends on nothing else, so workers, batch size and order cannot change it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # splitmix64 (Steele, Lea, Flood 2014): odd increment, 2^64 / golden ratio


@dataclass(frozen=True)
class KeyedRandom:
    """Uniform numbers as a pure function of seed, epoch, sample index and stream."""

    seed: int
    epoch: int = 0

    def uniform(self, indices: NDArray[np.int64], stream: int) -> NDArray[np.float64]:
        """Return one number in [0, 1) per index; other streams give independent ones."""
        key = np.uint64(_mix_int(_mix_int(_mix_int(self.seed) ^ self.epoch) ^ stream))
        bits = _mix(_mix(np.asarray(indices).astype(np.uint64) + key) ^ key)
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw(rng: KeyedRandom | np.random.Generator, indices: NDArray[np.int64], stream: int) -> NDArray[np.float64]:
    """Return one number in [0, 1) per index from either kind of generator."""
    if isinstance(rng, KeyedRandom):
        return rng.uniform(indices, stream)
    return rng.random(len(indices))


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(_GOLDEN)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _mix_int(value: int) -> int:
    return int(_mix(np.array([value & _MASK], dtype=np.uint64))[0])
