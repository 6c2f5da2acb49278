"""The arrays behind windows, indexed by row: packed in memory where they fit, read from disk where they do not.

Rows are counted through the chosen episodes only, so training and held-out windows together hold every row once. What was asked
in words is a column like any other, the same in all rows of an episode.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import psutil
from numpy.typing import NDArray

from robot_learning.core.language import INSTRUCTION, encode_instruction, goal_spec
from robot_learning.core.spec import ArraySpec
from robot_learning.datasets.frames import FrameFiles, Frames
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.stores import DemoStores

DEFAULT_IMAGE_BUDGET = 4 << 30
_BLOCK = 1024
"""Frames that are read from disk at a time."""


class RowSource(Protocol):
    """Where windows' rows come from: NumPy arrays here, or tensors on a training device."""

    def action(self, rows: Any, zero: Any) -> Any:
        """Return actions of ``rows`` (any shape) as a new array, zero where ``zero`` is True."""
        ...

    def take(self, keys: Sequence[str], rows: Any) -> dict[str, Any]:
        """Return each key's values at ``rows`` (any shape)."""
        ...


class Columns:
    """Observation keys and actions over some row ranges of a store.

    Attributes:
        packed: Low-dimensional keys side by side, one matrix ``[n, d]`` per dtype.
        slices: Where a low-dimensional key lies: dtype, first and past-the-end column, shape of one row.
        images: Decoded images ``[n, y, x, c]`` by key.
        frames: Readers of images from disk, by key; used for those that are not in ``images``.
        actions: Requested actions ``[n, a]``; NaN in rows without one.
    """

    def __init__(
        self,
        stores: DemoStore | DemoStores,
        keys: Sequence[str],
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        *,
        image_budget: int | None = None,
    ) -> None:
        self._global_rows = _concatenate_ranges(starts, lengths)
        self.actions = self._load(stores, "action")
        self.packed: dict[str, NDArray[Any]] = {}
        self.slices: dict[str, tuple[str, int, int, tuple[int, ...]]] = {}
        specs = {key: goal_spec(stores.spec, key) for key in keys}
        self._pack(stores, {key: spec for key, spec in specs.items() if not spec.is_image})
        image_keys = [key for key, spec in specs.items() if spec.is_image]
        self.images: dict[str, Frames] = {}
        frame_bytes = sum(int(np.prod(specs[key].shape)) * np.dtype(specs[key].dtype).itemsize for key in image_keys)
        self._image_bytes = len(self._global_rows) * frame_bytes
        budget = _budget(image_budget)
        fits = self._image_bytes <= budget
        self.frames = {key: FrameFiles(stores, key, cache_bytes=0 if fits else budget // len(image_keys)) for key in image_keys}
        if fits:
            self.images = {key: frames.load(self._global_rows) for key, frames in self.frames.items()}

    @property
    def nbytes(self) -> int:
        """Return the bytes that all rows take in memory, images decoded."""
        return self.actions.nbytes + sum(values.nbytes for values in self.packed.values()) + self._image_bytes

    def blocks(self, key: str) -> Iterator[NDArray[Any]]:
        """Yield all rows of a key, images that are not in memory a block at a time."""
        if key in self.slices:
            dtype, first, stop, shape = self.slices[key]
            yield self.packed[dtype][:, first:stop].reshape(len(self._global_rows), *shape)
        elif key in self.images:
            yield self.images[key]
        else:
            for start in range(0, len(self._global_rows), _BLOCK):
                yield self.frames[key].load(self._global_rows[start : start + _BLOCK])

    def release(self) -> None:
        """Give up decoded images, which somebody else holds now; asked again, they come from disk."""
        self.images = {}

    def action(self, rows: NDArray[np.int64], zero: NDArray[np.bool_]) -> NDArray[Any]:
        """Return actions of ``rows`` (any shape) as a new array, zero where ``zero`` is True."""
        values = self.actions.take(rows, axis=0)
        values[zero] = 0
        return values

    def take(self, keys: Sequence[str], rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return each key's values at ``rows`` (any shape)."""
        low = {self.slices[key][0] for key in keys if key in self.slices}
        gathered = {dtype: self.packed[dtype].take(rows, axis=0) for dtype in low}
        found = {}
        for key in keys:
            if key in self.slices:
                dtype, first, stop, shape = self.slices[key]
                found[key] = gathered[dtype][..., first:stop].reshape(*rows.shape, *shape)
            elif key in self.images:
                found[key] = self.images[key].take(rows, axis=0)
            else:
                found[key] = self.frames[key].take(self._global_rows[rows])
        return found

    def _pack(self, stores: DemoStore | DemoStores, specs: Mapping[str, ArraySpec]) -> None:
        parts: dict[str, list[NDArray[Any]]] = {}
        for key, spec in specs.items():
            values = self._instructions(stores) if key == INSTRUCTION else self._load(stores, key)
            values = values.reshape(len(self._global_rows), int(np.prod(spec.shape)))
            first = sum(part.shape[1] for part in parts.get(spec.dtype, []))
            parts.setdefault(spec.dtype, []).append(values)
            self.slices[key] = (spec.dtype, first, first + values.shape[1], spec.shape)
        self.packed = {dtype: np.ascontiguousarray(np.concatenate(parts[dtype], axis=1)) for dtype in parts}

    def _load(self, stores: DemoStore | DemoStores, name: str) -> NDArray[Any]:
        values = stores.read(name, 0, stores.n_rows)
        return values if np.array_equal(self._global_rows, np.arange(len(values))) else values[self._global_rows]

    def _instructions(self, stores: DemoStore | DemoStores) -> NDArray[np.uint8]:
        texts = stores.table["instruction"]
        encoded = np.stack([encode_instruction(text, f"instruction of episode {i}") for i, text in enumerate(texts)])
        return encoded[np.searchsorted(stores.episode_ends, self._global_rows, side="right")]


def _concatenate_ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    ranges = [np.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return np.concatenate([np.zeros(0, np.int64), *ranges])


def _budget(image_budget: int | None) -> int:
    if image_budget is not None:
        return image_budget
    return min(DEFAULT_IMAGE_BUDGET, int(psutil.virtual_memory().available // 2))
