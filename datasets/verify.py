"""Check every byte of a store against what was recorded, and say which array of which episode is wrong."""

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import StoreCorrupt
from robot_learning.datasets.arrays import histogram_array
from robot_learning.datasets.creation import header_was_changed, read_header
from robot_learning.datasets.layout import array_specs
from robot_learning.datasets.plain import digest
from robot_learning.datasets.writer import checksum_bytes, count_pixels

if TYPE_CHECKING:
    from robot_learning.datasets.store import DemoStore

_Histograms = dict[str, NDArray[np.uint32]]


def verify_store(store: "DemoStore", progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Return one line per problem of ``store``; empty when there is none."""
    histograms: _Histograms = {}
    problems = [*_store_problems(store), *_array_problems(store), *_load_histograms(store, histograms)]
    broken = {line.split(":", 1)[0] for line in problems}
    for index in range(len(store)):
        problems += _episode_problems(store, index, broken, histograms)
        if progress is not None:
            progress(index + 1, len(store))
    return problems


def _store_problems(store: "DemoStore") -> Iterator[str]:
    if header_was_changed(read_header(store.path)):
        yield "zarr.json: spec, image codec or notes were changed after the store was created"
    lost = store.lost_episodes()
    if lost:
        yield f"meta/episode_ends: expected the ends of {len(store) + lost} episodes or more, got {len(store)}"


def _load_histograms(store: "DemoStore", histograms: _Histograms) -> Iterator[str]:
    for key in store.spec.image_keys:
        try:
            counts = store.histograms(key)
        except (StoreCorrupt, ValueError, RuntimeError, OSError) as error:
            yield f"{histogram_array(key)}: cannot be read: {error}"
            continue
        if len(counts) < len(store):
            yield f"{histogram_array(key)}: expected counts of {len(store)} episodes, got {len(counts)}"
        else:
            histograms[key] = counts


def _array_problems(store: "DemoStore") -> Iterator[str]:
    for name, spec in array_specs(store.spec).items():
        try:
            sample = store.read(name, 0, 0)
            length = store.array_length(name)
        except Exception as error:
            yield f"data/{name}: cannot be opened: {error}"
            continue
        if sample.shape[1:] != spec.shape or sample.dtype != np.dtype(spec.dtype):
            got = f"{sample.dtype}{list(sample.shape[1:])}"
            yield f"data/{name}: expected {spec.dtype}{list(spec.shape)} per row, got {got}"
        elif length < store.n_rows:
            yield f"data/{name}: expected {store.n_rows} rows, got {length}"


def _episode_problems(store: "DemoStore", index: int, broken: set[str], histograms: _Histograms) -> Iterator[str]:
    record = store.records[index]
    start, stop = store.bounds(index)
    where = f"episode {index}"
    if digest({key: value for key, value in record.items() if key != "digest"}) != record.get("digest"):
        yield f"{where}: meta/episodes: the record was changed after it was written"
    if record["rows"] != stop - start or record["steps"] not in (stop - start, stop - start - 1):
        yield f"{where}: meta/episode_ends: expected {record['rows']} rows, got {stop - start}"
        return
    missing = {*array_specs(store.spec)} - set(record["checksums"])
    yield from (f"{where}: meta/episodes: no checksum of data/{name}" for name in sorted(missing))
    for name, expected in record["checksums"].items():
        if f"data/{name}" not in broken:
            counts = histograms[name][index] if name in histograms else None
            yield from (f"{where}: {problem}" for problem in _content_problems(store, index, name, expected, counts))


def _content_problems(
    store: "DemoStore", index: int, name: str, expected: str, counts: NDArray[np.uint32] | None
) -> Iterator[str]:
    start, stop = store.bounds(index)
    state = hashlib.blake2b(digest_size=16)
    pixels = np.zeros_like(counts, dtype=np.int64) if counts is not None else None
    try:
        for values in store.blocks(name, start, stop):
            state.update(checksum_bytes(name, values, store.source_names))
            if pixels is not None:
                pixels += count_pixels(values)
    except Exception as error:
        yield f"data/{name}: cannot be read: {error}"
        return
    if state.hexdigest() != expected:
        yield f"data/{name}: content is not what was recorded (checksum {state.hexdigest()}, expected {expected})"
    elif pixels is not None and counts is not None and not np.array_equal(pixels, counts):
        yield f"{histogram_array(name)}: the pixel counts are not those of the images"
