"""Summaries of what a store holds: exact ones, and for images without decoding a single frame.

Low-dimensional arrays are read whole. Pixel statistics come from the counts per value that every episode wrote when it
was recorded (``meta/histogram/<key>``), so they are exact too, quantiles included; those of depth to 16 mm, up to 4 m.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import StoreCorrupt
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.datasets.layout import DEPTH_STEP


class Readable(Protocol):
    """What statistics need of a store."""

    @property
    def spec(self) -> RobotSpec:
        """Return the robot's spec."""
        ...

    @property
    def n_rows(self) -> int:
        """Return the number of rows."""
        ...

    def read(self, name: str, start: int, stop: int) -> NDArray[np.generic]:
        """Return rows of one array."""
        ...

    def histograms(self, key: str) -> NDArray[np.uint32]:
        """Return pixel counts per episode."""
        ...


def store_statistics(stores: Sequence[Readable]) -> dict[str, Stats]:
    """Return statistics of every observation key and of ``action`` over all ``stores``."""
    if not sum(store.n_rows for store in stores):
        raise StoreCorrupt("statistics: expected at least one episode, got an empty store")
    spec = stores[0].spec
    found = {}
    for name in (*spec.observation, "action"):
        if name in spec.image_keys:
            counts = np.concatenate([store.histograms(name) for store in stores]).sum(axis=0, dtype=np.int64)
            step = DEPTH_STEP if spec.observation[name].is_depth else 1
            found[name] = histogram_statistics(counts, rows=sum(store.n_rows for store in stores), step=step)
        else:
            found[name] = array_statistics(np.concatenate([store.read(name, 0, store.n_rows) for store in stores]))
    return found


def array_statistics(values: NDArray[np.generic]) -> Stats:
    """Return statistics of ``[n, ...]`` over rows; rows with numbers that are not finite are left out."""
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers).reshape(len(numbers), -1).all(axis=1)
    numbers = numbers[finite]
    if not len(numbers):
        raise StoreCorrupt("statistics: expected at least one row of finite numbers, got none")
    low_quantile, high_quantile = np.quantile(numbers, [0.01, 0.99], axis=0)
    return Stats(
        count=len(numbers),
        mean=numbers.mean(axis=0),
        std=numbers.std(axis=0),
        low=numbers.min(axis=0),
        high=numbers.max(axis=0),
        q01=low_quantile,
        q99=high_quantile,
    )


def histogram_statistics(counts: NDArray[np.int64], rows: int, step: int = 1) -> Stats:
    """Return statistics per channel of pixels counted by value, ``[c, 256]``, in bins of ``step``."""
    value = np.arange(counts.shape[1], dtype=np.float64)
    weight = counts / counts.sum(axis=1, keepdims=True)
    mean = weight @ value
    cumulative = np.cumsum(weight, axis=1)
    bins = {
        "mean": mean,
        "std": np.sqrt((weight * (value - mean[:, None]) ** 2).sum(axis=1)),
        "low": (counts > 0).argmax(axis=1),
        "high": counts.shape[1] - 1 - (counts[:, ::-1] > 0).argmax(axis=1),
        "q01": (cumulative >= 0.01).argmax(axis=1),
        "q99": (cumulative >= 0.99).argmax(axis=1),
    }
    return Stats(count=rows, **{name: step * found.astype(np.float64) for name, found in bins.items()})
