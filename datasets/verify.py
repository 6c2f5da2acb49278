"""Check every byte of a store against what was recorded, and say which array of which episode is wrong."""

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from robot_learning.datasets.layout import array_specs
from robot_learning.datasets.plain import digest
from robot_learning.datasets.writer import checksum_bytes

if TYPE_CHECKING:
    from robot_learning.datasets.store import DemoStore


def verify_store(store: "DemoStore", progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Return one line per problem of ``store``; empty when there is none."""
    problems = list(_array_problems(store))
    broken = {line.split(":", 1)[0] for line in problems}
    for index in range(len(store)):
        problems += _episode_problems(store, index, broken)
        if progress is not None:
            progress(index + 1, len(store))
    return problems


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


def _episode_problems(store: "DemoStore", index: int, broken: set[str]) -> Iterator[str]:
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
            yield from (f"{where}: data/{name}: {problem}" for problem in _content_problems(store, index, name, expected))


def _content_problems(store: "DemoStore", index: int, name: str, expected: str) -> Iterator[str]:
    start, stop = store.bounds(index)
    state = hashlib.blake2b(digest_size=16)
    try:
        for values in store.blocks(name, start, stop):
            state.update(checksum_bytes(name, values, store.source_names))
    except Exception as error:
        yield f"cannot be read: {error}"
        return
    if state.hexdigest() != expected:
        yield f"content is not what was recorded (checksum {state.hexdigest()}, expected {expected})"
