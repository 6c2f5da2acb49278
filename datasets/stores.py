"""Many stores read as one, and merged into one.

stores = open_stores(["runs/collect/worker_0.zarr", "runs/collect/worker_1.zarr"])
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError, SpecMismatch, StoreCorrupt
from robot_learning.core.spec import RobotSpec, spec_differences
from robot_learning.core.types import Episode, Stats
from robot_learning.datasets.plain import digest
from robot_learning.datasets.statistics import store_statistics
from robot_learning.datasets.store import DemoStore, episode_columns


class DemoStores:
    """The episodes of several stores of the same robot, in the order given.

    Attributes:
        stores: The stores.
    """

    def __init__(self, stores: Sequence[DemoStore]) -> None:
        if not stores:
            raise ConfigError("stores: expected at least one demonstration store, got none")
        self.stores = tuple(stores)
        for other in self.stores[1:]:
            lines = spec_differences(self.spec, other.spec)
            if lines:
                what = f"{other.path} differs from {self.stores[0].path}"
                raise SpecMismatch(f"{what}: {len(lines)} difference(s)\n  " + "\n  ".join(lines))
        self._row_ends = np.cumsum([store.n_rows for store in self.stores])
        self._episode_ends = np.cumsum([len(store) for store in self.stores])

    @property
    def spec(self) -> RobotSpec:
        """Return the spec of the first store; the others have all of its keys."""
        return self.stores[0].spec

    @property
    def n_rows(self) -> int:
        """Return the number of rows of all stores."""
        return int(self._row_ends[-1])

    @property
    def n_steps(self) -> int:
        """Return the number of actions of all stores."""
        return sum(store.n_steps for store in self.stores)

    @property
    def episode_ends(self) -> NDArray[np.int64]:
        """Return the past-the-end row of every episode, counted through all stores."""
        offsets = self._row_ends - np.array([store.n_rows for store in self.stores])
        return np.concatenate([store.episode_ends + offset for store, offset in zip(self.stores, offsets, strict=True)])

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return what is known of every episode beside its arrays."""
        return [record for store in self.stores for record in store.records]

    @property
    def table(self) -> dict[str, list[Any]]:
        """Return the per-episode table as columns."""
        return episode_columns(self.records)

    def __len__(self) -> int:
        """Return the number of episodes."""
        return int(self._episode_ends[-1])

    def __iter__(self) -> Iterator[Episode]:
        return (episode for store in self.stores for episode in store)

    def __getitem__(self, index: int) -> Episode:
        """Return episode ``index``, counted through all stores."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"stores: expected an episode below {len(self)}, got {index}")
        index %= len(self)
        store = int(np.searchsorted(self._episode_ends, index, side="right"))
        return self.stores[store][index - int(self._episode_ends[store])]  # negative: counted from that store's end

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return rows of one array, counted through all stores."""
        parts = []
        for store, end in zip(self.stores, self._row_ends, strict=True):
            offset = int(end) - store.n_rows
            first, last = max(start, offset), min(stop, int(end))
            if first < last:
                parts.append(store.read(name, first - offset, last - offset))
        return np.concatenate(parts) if parts else self.stores[0].read(name, 0, 0)

    def verify(self) -> list[str]:
        """Return one line per problem in any store."""
        return [f"{store.path}: {line}" for store in self.stores for line in store.verify()]

    def fingerprint(self) -> str:
        """Return a hash of the content of all stores; that of the store when there is one."""
        prints = [store.fingerprint() for store in self.stores]
        return prints[0] if len(prints) == 1 else digest(prints)

    def statistics(self) -> dict[str, Stats]:
        """Return statistics of every observation key and of ``action`` over all stores."""
        return store_statistics([store for store in self.stores if len(store)] or self.stores)

    def close(self) -> None:
        """Close every store."""
        for store in self.stores:
            store.close()

    def __enter__(self) -> "DemoStores":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_stores(paths: str | Path | Sequence[str | Path]) -> DemoStores:
    """Open one store or many for reading, as one."""
    paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
    return DemoStores([DemoStore.open(path) for path in paths])


def merge(paths: Sequence[str | Path], out: str | Path, *, progress: Callable[[int, int], None] | None = None) -> DemoStore:
    """Copy the episodes of ``paths`` into a new store ``out``, checking every one, and return it open for writing.

    Images are kept exactly (zstd), whatever the sources used: encoding JPEG twice would lose more.

    Args:
        paths: Stores of the same robot.
        out: A folder that does not exist yet.
        progress: Called with the number of episodes copied and the number of all.
    """
    sources = open_stores(paths)
    meta = {"merged_from": [{"path": str(s.path), "fingerprint": s.fingerprint()} for s in sources.stores]}
    with new_store(out, sources.spec, meta=meta) as store:
        for index, expected in enumerate(sources.records):
            store.append(_narrow(sources[index], sources.spec))
            written = store.records[-1]["checksums"]
            changed = [name for name in written if written[name] != expected["checksums"].get(name)]
            if changed:
                raise StoreCorrupt(
                    f"episode {index} of {', '.join(map(str, paths))}: {changed} differ from what was recorded; "
                    f"run `robot-learning data verify` on each; nothing was merged"
                )
            if progress is not None:
                progress(index + 1, len(sources))
    return store


@contextmanager
def new_store(path: str | Path, spec: RobotSpec, **options: Any) -> Iterator[DemoStore]:
    """Create a store to fill at once; it stays open when the block ends and is deleted when the block fails."""
    store = DemoStore.create(path, spec, **options)
    try:
        yield store
    except BaseException:
        store.close()
        shutil.rmtree(path)
        raise


def _narrow(episode: Episode, spec: RobotSpec) -> Episode:
    observation = {key: episode.observation[key] for key in spec.observation}
    return Episode(**{**vars(episode), "observation": observation})
