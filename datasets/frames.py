"""Read single images straight out of a store's shards, without zarr's overhead per call.

A shard is a file of independently compressed frames with an index at its end: for each frame its offset and length
(Zarr v3 ``sharding_indexed``). So a frame is one ``pread`` and one decode, about 50 microseconds for 96x96x3, in as
many threads as there are cores. Arrays that another tool laid out differently are read through zarr.
"""

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import zstd  # type: ignore[import-untyped]
from numpy.typing import NDArray

from robot_learning.core.errors import StoreCorrupt
from robot_learning.datasets.jpeg import JPEG_NAME, decode_jpeg
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.stores import DemoStores

Frames = NDArray[np.uint8] | NDArray[np.uint16]
"""Colour or depth images ``[n, y, x, c]``."""

_ABSENT = np.uint64(2**64 - 1)
_CRC_BYTES = 4
_FRAMES_PER_JOB = 8


class ShardedImages:
    """Random access to the frames of one image array of one store.

    Attributes:
        shape: Shape of a frame, y x c.
        dtype: Its bytes, or its millimetres of depth.
    """

    def __init__(self, store: DemoStore, key: str) -> None:
        self.shape = store.spec.observation[key].shape
        self.dtype = np.dtype(store.spec.observation[key].dtype).newbyteorder("<")
        self._store, self._key = store, key
        self._folder: Path = store.path / "data" / key
        codecs, self._rows = _shard_layout(json.loads((self._folder / "zarr.json").read_text()), self.shape)
        self._codec = {("bytes", "zstd"): "zstd", (JPEG_NAME,): "jpeg"}.get(codecs, "")

    def read(self, rows: NDArray[np.int64], out: Frames) -> None:
        """Decode frames ``rows`` into ``out`` ``[len(rows), y, x, c]``; fastest when rows rise."""
        if not self._codec:
            for position, row in enumerate(rows.tolist()):
                out[position] = self._store.read(self._key, row, row + 1)[0]
            return
        shards = rows // self._rows
        cuts = np.flatnonzero(np.diff(shards)) + 1
        for positions in np.split(np.arange(len(rows)), cuts):
            if len(positions):
                self._read_shard(int(shards[positions[0]]), rows[positions] % self._rows, out, positions)

    def _read_shard(self, shard: int, inside: NDArray[np.int64], out: Frames, positions: NDArray[np.int64]) -> None:
        path = self._folder / f"c.{shard}.0.0.0"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # a shard of nothing but zeros is not stored
            out[positions] = 0
            return
        try:
            index = self._read_index(descriptor)
            for position, (offset, length) in zip(positions.tolist(), index[inside].tolist(), strict=True):
                self._decode(os.pread(descriptor, length, offset) if offset != _ABSENT else b"", out[position])
        except (RuntimeError, ValueError, IndexError, OSError) as error:
            rows = (shard * self._rows + inside).tolist()
            raise StoreCorrupt(f"{path}: rows {rows} of {self._key!r} cannot be decoded: {error}") from error
        finally:
            os.close(descriptor)

    def _read_index(self, descriptor: int) -> NDArray[np.uint64]:
        size = self._rows * 16
        content = os.pread(descriptor, size, os.fstat(descriptor).st_size - size - _CRC_BYTES)
        return np.frombuffer(content, dtype="<u8").reshape(self._rows, 2)

    def _decode(self, encoded: bytes, out: Frames) -> None:
        if not encoded:
            out[...] = 0
        elif self._codec == "zstd":
            out[...] = np.frombuffer(zstd.decompress(encoded), self.dtype).reshape(self.shape)
        else:
            out[...] = decode_jpeg(encoded, self.shape)


class FrameFiles:
    """Frames of one image key over one or many stores, rows counted through all of them.

    Args:
        stores: Where the frames are.
        key: The image key.
        cache_bytes: Memory for frames already decoded.
    """

    def __init__(self, stores: DemoStore | DemoStores, key: str, *, cache_bytes: int = 0) -> None:
        parts = stores.stores if isinstance(stores, DemoStores) else (stores,)
        self.shape, self.dtype = stores.spec.observation[key].shape, np.dtype(stores.spec.observation[key].dtype)
        self._readers = [ShardedImages(store, key) for store in parts]
        self._ends = np.cumsum([store.n_rows for store in parts])
        self._capacity = cache_bytes // (int(np.prod(self.shape)) * self.dtype.itemsize)
        self._cache: dict[int, Frames] = {}

    def take(self, rows: NDArray[np.int64]) -> Frames:
        """Return frames at ``rows`` (any shape), each decoded once."""
        unique, inverse = np.unique(rows, return_inverse=True)
        frames = np.empty((len(unique), *self.shape), dtype=self.dtype)
        known = [self._cache.get(row) for row in unique.tolist()] if self._cache else [None] * len(unique)
        for position, frame in enumerate(known):
            if frame is not None:
                frames[position] = frame
        missing = np.array([position for position, frame in enumerate(known) if frame is None], dtype=np.int64)
        self._read(unique[missing], frames, missing)
        for position in missing[: max(0, self._capacity - len(self._cache))].tolist():
            self._cache[int(unique[position])] = frames[position].copy()
        return frames[inverse].reshape(*rows.shape, *self.shape)

    def load(self, rows: NDArray[np.int64]) -> Frames:
        """Return frames at ``rows`` ``[n]``, keeping none of them; fastest when rows rise."""
        frames = np.empty((len(rows), *self.shape), dtype=self.dtype)
        self._read(rows, frames, np.arange(len(rows)))
        return frames

    def _read(self, rows: NDArray[np.int64], out: Frames, positions: NDArray[np.int64]) -> None:
        """Decode ``rows`` into ``out[positions]``, in parallel when there are enough of them."""
        jobs = [
            (reader, rows[chunk] - (end - reader_rows), chunk)
            for reader, end, reader_rows, inside in self._by_reader(rows)
            for chunk in _chunks(inside)
        ]

        def run(job: tuple[ShardedImages, NDArray[np.int64], NDArray[np.int64]]) -> None:
            reader, local, chunk = job
            where = positions[chunk]
            if len(where) and where[-1] - where[0] == len(where) - 1:
                reader.read(local, out[where[0] : where[-1] + 1])
                return
            frames = np.empty((len(chunk), *self.shape), dtype=self.dtype)
            reader.read(local, frames)
            out[where] = frames

        _run_all(run, jobs)

    def _by_reader(self, rows: NDArray[np.int64]) -> Iterable[tuple[ShardedImages, int, int, NDArray[np.int64]]]:
        which = np.searchsorted(self._ends, rows, side="right")
        for number, reader in enumerate(self._readers):
            inside = np.flatnonzero(which == number)
            if len(inside):
                end = int(self._ends[number])
                yield reader, end, end - (int(self._ends[number - 1]) if number else 0), inside


def _shard_layout(metadata: dict[str, Any], shape: tuple[int, ...]) -> tuple[tuple[str, ...], int]:
    """Return codec names and frames per shard of an array laid out as this module reads it, else no codecs."""
    shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    codec = metadata["codecs"][0]
    settings = codec.get("configuration", {})
    expected = {
        "codec": codec["name"] == "sharding_indexed" and len(metadata["codecs"]) == 1,
        "frame": settings.get("chunk_shape") == [1, *shape] and shard[1:] == list(shape),
        "index": settings.get("index_location", "end") == "end",
        "checksum": [item["name"] for item in settings.get("index_codecs", [])] == ["bytes", "crc32c"],
        "separator": metadata["chunk_key_encoding"].get("configuration", {}).get("separator", "/") == ".",
        "fill": metadata["fill_value"] == 0,
        "order": all(item.get("configuration", {}).get("endian", "little") == "little" for item in settings.get("codecs", [])),
    }
    if not all(expected.values()):
        return (), int(shard[0])
    return tuple(item["name"] for item in settings["codecs"]), int(shard[0])


def _chunks(inside: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
    return np.array_split(inside, max(1, len(inside) // _FRAMES_PER_JOB))


def _run_all(run: Any, jobs: Sequence[Any]) -> None:
    threads = min(len(jobs), os.cpu_count() or 1)
    if threads <= 1:
        for job in jobs:
            run(job)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(run, jobs):
            pass
