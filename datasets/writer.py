"""Write one episode, all at once or in pieces; it exists from :meth:`EpisodeWriter.commit` on.

Rows go straight to the end of the arrays. Nothing refers to them until the commit (see ``table.py``), so dropping an
episode, or dying in the middle of it, leaves a tail that the next writer cuts. A *checkpoint* between pieces makes the
rows so far recoverable: the next writer turns them into an episode marked ``recovered`` instead of cutting them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import SpecMismatch
from robot_learning.core.spec import TIME_KEY, RobotSpec
from robot_learning.core.types import STREAM_TIME_PREFIX, Outcome
from robot_learning.datasets.arrays import StoreArrays, histogram_array
from robot_learning.datasets.durable import in_parallel
from robot_learning.datasets.layout import DEPTH_STEP, NOBODY, STREAM_PREFIX, array_specs
from robot_learning.datasets.table import EpisodeTable

Rows = Mapping[str, NDArray[Any]]
"""Arrays with one leading axis of rows, by name under ``data/`` (streams as ``time/<stream>``)."""


class EpisodeWriter:
    """The episode being written to a store.

    Attributes:
        rows: Number of rows written so far.
    """

    def __init__(self, arrays: StoreArrays, table: EpisodeTable, spec: RobotSpec, lossy: frozenset[str]) -> None:
        self.rows = 0
        self._arrays, self._table, self._lossy = arrays, table, lossy
        self._start = table.rows
        self._specs = array_specs(spec)
        self._images = spec.image_keys
        self._hashes: dict[str, Any] = {}
        self._histograms = {key: np.zeros((spec.observation[key].shape[-1], 256), dtype=np.int64) for key in self._images}
        self._source_names: list[str] = list(arrays.attributes("data/source").get("source_names", []))

    def extend(self, rows: Rows, source: Sequence[str]) -> None:
        """Write the next rows.

        Args:
            rows: Every observation key, ``action``, ``applied``, ``reward``, ``time`` and any ``time/<stream>``.
            source: Who acted, one name per row; empty where no action follows.
        """
        count = len(source)
        given = {_array_name(name) for name in rows}
        checked = self._check({**rows, "source": self._encode(source)}, count)
        first = self._start + self.rows

        def write(name: str) -> None:
            values = checked[name]
            self._arrays.write(f"data/{name}", first, values)
            if name in self._lossy:
                values = self._arrays.read_back(f"data/{name}", first, first + count)
            if name in given or name in self._specs:
                self._account(name, values)

        in_parallel(write, checked)
        self.rows += count

    def adopt(self, rows: int) -> None:
        """Take over rows that an earlier writer left behind the last episode."""
        stop = self._start + rows
        streams = [STREAM_PREFIX + stream for stream in self._arrays.stream_names()]
        present = [name for name in streams if not np.isnan(self._arrays.read(f"data/{name}", self._start, stop)).all()]
        for name in (*self._specs, *present):
            for values in self._arrays.blocks(f"data/{name}", self._start, stop):
                self._account(name, values)
        self.rows = rows

    def checkpoint(self, instruction: str, meta: Mapping[str, Any]) -> None:
        """Make the rows so far recoverable, should this process die."""
        self._arrays.sync()
        note = {"start": self._start, "rows": self.rows, "instruction": instruction, "meta": dict(meta)}
        self._table.write_partial(note)

    def commit(self, outcome: Outcome, instruction: str, meta: Mapping[str, Any], *, steps: int) -> int:
        """Make the episode exist and return its index.

        Args:
            outcome: How it ended.
            instruction: What was asked in words.
            meta: JSON-ready extras.
            steps: Number of actions: ``rows``, or ``rows - 1`` when the last observation has none.
        """
        index = len(self._table.ends)
        for key, counts in self._histograms.items():
            self._arrays.write(histogram_array(key), index, counts[None].astype(np.uint32))
        self._arrays.sync()
        record = {
            "rows": self.rows,
            "steps": steps,
            "outcome": asdict(outcome),
            "instruction": instruction,
            "meta": dict(meta),
            "checksums": {name: state.hexdigest() for name, state in self._hashes.items()},
        }
        self._table.commit(self._start + self.rows, record)
        self._table.clear_partial()
        return index

    def _check(self, rows: Rows, count: int) -> dict[str, NDArray[Any]]:
        checked = {}
        for name, spec in self._specs.items():
            value = np.asarray(rows[name])
            if value.shape != (count, *spec.shape):
                raise SpecMismatch(f"{name}: expected shape {(count, *spec.shape)}, got {value.shape}")
            if not np.can_cast(value.dtype, spec.dtype, casting="same_kind"):
                raise SpecMismatch(f"{name}: expected dtype {spec.dtype}, got {value.dtype}")
            checked[name] = np.ascontiguousarray(value, dtype=spec.dtype)
        streams = {name.removeprefix(STREAM_TIME_PREFIX) for name in rows if name.startswith(STREAM_TIME_PREFIX)}
        for stream in streams - set(self._arrays.stream_names()):
            self._arrays.create_stream(stream, self._start + self.rows)
        for stream in self._arrays.stream_names():
            absent = np.full(count, np.nan)
            checked[STREAM_PREFIX + stream] = np.asarray(rows.get(STREAM_TIME_PREFIX + stream, absent), np.float64)
        return checked

    def _encode(self, source: Sequence[str]) -> NDArray[np.int16]:
        new = sorted(set(source) - set(self._source_names) - {""})
        if new:
            self._source_names += new
            self._arrays.set_attribute("data/source", "source_names", self._source_names)
        codes = {name: code for code, name in enumerate(self._source_names)} | {"": NOBODY}
        return np.array([codes[name] for name in source], dtype=np.int16)

    def _account(self, name: str, values: NDArray[Any]) -> None:
        if name not in self._hashes:
            self._hashes[name] = hashlib.blake2b(digest_size=16)
        self._hashes[name].update(checksum_bytes(name, values, self._source_names))
        if name in self._images:
            self._histograms[name] += count_pixels(values)


def _array_name(name: str) -> str:
    """Return the name of a row array under ``data/``: ``time/<stream>`` of rows is ``time_<stream>`` there."""
    return name.replace(STREAM_TIME_PREFIX, STREAM_PREFIX, 1) if name.startswith(STREAM_TIME_PREFIX) else name


def checksum_bytes(name: str, values: NDArray[Any], source_names: Sequence[str]) -> bytes:
    """Return what is hashed: the values themselves, but the *names* of sources (merging renumbers them)."""
    if name == "source":
        names = [source_names[code] if 0 <= code < len(source_names) else "" for code in values]
        return "".join(f"{item}\n" for item in names).encode()
    return np.ascontiguousarray(values).tobytes()


def count_pixels(images: NDArray[np.uint8 | np.uint16]) -> NDArray[np.int64]:
    """Return how often each value occurs per channel of ``[n, y, x, c]``, shape ``[c, 256]``.

    Depth is counted in steps of :data:`robot_learning.datasets.layout.DEPTH_STEP`; the last one takes all that is farther.
    """
    if images.dtype == np.uint16:
        images = np.minimum(images // DEPTH_STEP, 255)
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for block in np.array_split(images, max(1, images.size // (1 << 22))):
        for channel in range(channels):
            counts[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
    return counts


def check_values(time: NDArray[np.float64], action: NDArray[Any], applied: NDArray[Any]) -> None:
    """Raise where a clock runs backwards or an action is not finite (NaN marks rows without an action)."""
    if not np.all(np.isfinite(time)) or np.any(np.diff(time) < 0):
        raise SpecMismatch(f"{TIME_KEY}: expected finite seconds that never fall, got {time}")
    for name, values in (("action", action), ("applied", applied)):
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=-1))
        if len(wrong):
            raise SpecMismatch(f"{name}: expected finite numbers, got {values[wrong[0]]} in step {wrong[0]}")
