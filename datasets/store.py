"""A demonstration store: episodes of one robot in a Zarr v3 folder that survives crashes and opens anywhere.

    with DemoStore.create("play.zarr", robot.spec) as store:
        store.append(episode)
    DemoStore.open("play.zarr")[0].action

``layout.py`` says where things lie, ``table.py`` how an episode comes to exist, ``lock.py`` who may write.
"""

import copy
import dataclasses
import errno
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError, RobotLearningError, StoreCorrupt, StoreWriteFailed
from robot_learning.core.spec import TIME_KEY, RobotSpec
from robot_learning.core.types import STREAM_TIME_PREFIX, Episode, Outcome, Stats
from robot_learning.datasets.arrays import StoreArrays, histogram_array, register_codecs
from robot_learning.datasets.creation import create_store, read_header
from robot_learning.datasets.durable import remove_partial_files
from robot_learning.datasets.layout import STREAM_PREFIX, array_specs
from robot_learning.datasets.lock import WriterLock
from robot_learning.datasets.plain import digest
from robot_learning.datasets.statistics import store_statistics
from robot_learning.datasets.table import EpisodeTable
from robot_learning.datasets.verify import verify_store
from robot_learning.datasets.writer import EpisodeWriter, check_values

LOG = logging.getLogger(__name__)

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DemoStore:
    """Episodes on disk; read by any number of processes, written by one.

    Attributes:
        path: The store's folder.
        spec: What the recorded robot observes and accepts.
        meta: What the creator noted about the store.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open a store; use :meth:`open` or :meth:`create`."""
        self.path = path
        header = read_header(path)
        self.spec = RobotSpec.from_json(header["spec"])
        self.meta: dict[str, Any] = dict(header["meta"])
        colours = (key for key in self.spec.image_keys if not self.spec.observation[key].is_depth)
        self._lossy = frozenset(colours if header["image_codec"] == "jpeg" else ())
        self._lock = WriterLock(path) if writable else None
        if self._lock is not None:
            self._lock.acquire()
        try:
            self._table = EpisodeTable(path)
            self._arrays = StoreArrays(path, writable=writable)
            if writable:
                self._table.check_complete()
                remove_partial_files(path)
                self._recover()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(
        cls,
        path: str | Path,
        spec: RobotSpec,
        *,
        image_codec: str = "zstd",
        jpeg_quality: int = 95,
        meta: Mapping[str, Any] | None = None,
    ) -> "DemoStore":
        """Create an empty store and open it for writing.

        Args:
            path: A folder that does not exist yet.
            spec: What the robot observes and accepts.
            image_codec: ``zstd`` keeps images exactly, ``jpeg`` trades exactness for size.
            jpeg_quality: 1 to 100, for ``jpeg``.
            meta: JSON-ready notes about the whole store.
        """
        path = Path(path)
        register_codecs()
        create_store(path, spec, image_codec, jpeg_quality, meta or {})
        return cls(path, writable=True)

    @classmethod
    def open(cls, path: str | Path, mode: str = "r") -> "DemoStore":
        """Open a store: ``r`` to read, ``a`` to read and append (takes the writer's lock)."""
        if mode not in ("r", "a"):
            raise ConfigError(f"mode: expected 'r' or 'a', got {mode!r}")
        return cls(Path(path), writable=mode == "a")

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self._table.ends)

    def __iter__(self) -> Iterator[Episode]:
        return (self[index] for index in range(len(self)))

    @property
    def n_rows(self) -> int:
        """Return the number of rows (observations) of all episodes."""
        return self._table.rows

    @property
    def n_steps(self) -> int:
        """Return the number of actions of all episodes."""
        return sum(record["steps"] for record in self._table.records)

    @property
    def episode_ends(self) -> NDArray[np.int64]:
        """Return the past-the-end row of every episode, ``[e]``."""
        return self._table.ends.copy()

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return what is known of every episode beside its arrays."""
        return list(self._table.records)

    @property
    def table(self) -> dict[str, list[Any]]:
        """Return one column per fact: steps, outcome fields, instruction, seed, operator, task, wall time, meta."""
        return episode_columns(self._table.records)

    @property
    def streams(self) -> list[str]:
        """Return the names of streams with their own clock."""
        return self._arrays.stream_names()

    @property
    def source_names(self) -> list[str]:
        """Return the names behind the numbers of ``source``."""
        return list(self._arrays.attributes("data/source").get("source_names", []))

    def bounds(self, index: int) -> tuple[int, int]:
        """Return first and past-the-end row of episode ``index`` (negative counts from the end)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path}: expected an episode below {len(self)}, got {index}")
        return self._table.bounds(index % len(self))

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return rows of one array: an observation key, ``action``, ``applied``, ``reward``, ``source``, ``time``."""
        return self._arrays.read(f"data/{name}", start, stop)

    def blocks(self, name: str, start: int, stop: int) -> Iterator[NDArray[Any]]:
        """Yield rows of one array in blocks of bounded memory."""
        return self._arrays.blocks(f"data/{name}", start, stop)

    def array_length(self, name: str) -> int:
        """Return how many rows an array has on the disk, torn tail included."""
        return self._arrays.shape(f"data/{name}")[0]

    def histograms(self, key: str) -> NDArray[np.uint32]:
        """Return how often each pixel value occurs in image ``key``, ``[e, c, 256]``."""
        return self._arrays.read(histogram_array(key), 0, len(self))

    def __getitem__(self, index: int) -> Episode:
        """Return episode ``index``."""
        start, stop = self.bounds(index)
        record = self._table.records[index % len(self)]
        steps = record["steps"]
        names = self.source_names
        return Episode(
            observation={key: self.read(key, start, stop) for key in self.spec.observation},
            action=self.read("action", start, start + steps),
            applied=self.read("applied", start, start + steps),
            time=self.read(TIME_KEY, start, stop),
            source=tuple(names[code] for code in self.read("source", start, start + steps)),
            reward=self.read("reward", start, start + steps),
            stream_time={
                name.removeprefix(STREAM_PREFIX): self.read(name, start, stop)
                for name in record["checksums"]
                if name.startswith(STREAM_PREFIX)
            },
            outcome=_outcome(record["outcome"]),
            instruction=record["instruction"],
            meta=copy.deepcopy(record["meta"]),
        )

    def append(self, episode: Episode) -> int:
        """Write an episode and return its index; it exists once this returns."""
        episode.validate(self.spec)
        check_values(episode.time, episode.action, episode.applied)
        writer = self.begin()
        try:
            rows, source = episode_rows(episode)
            writer.extend(rows, source)
            index = writer.commit(episode.outcome, episode.instruction, episode.meta, steps=episode.steps)
        except OSError as error:
            raise self.write_failed(error, episode.steps) from error
        return index

    def begin(self) -> EpisodeWriter:
        """Start an episode that is written in pieces; it exists from its ``commit`` on.

        Starting another one drops what was not committed.
        """
        if self._lock is None:
            raise ConfigError(f"{self.path}: opened for reading; open it with mode='a' to write")
        self._table.clear_partial()
        return self._new_writer()

    def drop_uncommitted(self) -> None:
        """Remove the rows of an episode that was begun and will not be committed."""
        self._table.clear_partial()
        self._table.load()
        self._cut_tail()

    def write_failed(self, error: OSError, steps: int) -> RobotLearningError:
        """Return the error to raise when writing an episode of ``steps`` steps failed, after dropping its rows."""
        try:
            self.drop_uncommitted()
            left = "its rows were removed"
        except (OSError, StoreCorrupt):
            left = "its rows will be cut when the store is next opened for writing"
        advice = "free some space and record it again" if error.errno in _NO_SPACE else "record it again"
        return StoreWriteFailed(
            f"{self.path}: episode {len(self)} was lost ({steps} steps): {error}; {left}. "
            f"The {len(self)} finished episodes are safe; {advice}"
        )

    def lost_episodes(self) -> int:
        """Return how many finished episodes have lost their place in ``meta/episode_ends``."""
        return self._table.lost()

    def verify(self, progress: Callable[[int, int], None] | None = None) -> list[str]:
        """Return one line per problem, naming array and episode; empty when every byte is as recorded."""
        return verify_store(self, progress)

    def fingerprint(self) -> str:
        """Return a hash of all content, independent of chunks, codecs and file layout.

        It is made of the checksums taken while recording; :meth:`verify` proves that the arrays still match them.
        """
        return digest([self.spec.to_json(), [record["digest"] for record in self._table.records]])

    def statistics(self) -> dict[str, Stats]:
        """Return statistics of every observation key and of ``action``."""
        return store_statistics([self])

    def close(self) -> None:
        """Give the writer's lock back; idempotent."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> "DemoStore":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _new_writer(self) -> EpisodeWriter:
        return EpisodeWriter(self._arrays, self._table, self.spec, self._lossy)

    def _recover(self) -> None:
        note = self._table.read_partial()
        rows = int(note["rows"]) if note is not None else 0
        if note is not None and 0 < rows <= self._tail_rows():
            self._cut_tail(keep=rows)
            writer = self._new_writer()
            writer.adopt(rows)
            outcome = Outcome(reason=f"interrupted, recovered {rows} steps", steps=rows)
            meta = {**note["meta"], "recovered": True}
            index = writer.commit(outcome, note["instruction"], meta, steps=rows)
            LOG.warning("%s: recovered %d steps of an interrupted episode as episode %d", self.path, rows, index)
        else:
            cut = self._cut_tail()
            self._table.clear_partial()
            if cut:
                LOG.warning("%s: cut a torn tail of %d rows after episode %d", self.path, cut, len(self) - 1)

    def _tail_rows(self) -> int:
        """Return how many rows past the last episode every array has."""
        return min(self._arrays.shape(name)[0] for name in self._row_arrays()) - self.n_rows

    def _cut_tail(self, keep: int = 0) -> int:
        cut = max(self._arrays.cut(name, self.n_rows + keep) for name in self._row_arrays())
        for key in self.spec.image_keys:
            self._arrays.cut(histogram_array(key), len(self))
        return cut

    def _row_arrays(self) -> list[str]:
        streams = (STREAM_PREFIX + stream for stream in self.streams)
        return [f"data/{name}" for name in (*array_specs(self.spec), *streams)]


def episode_rows(episode: Episode) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the arrays of an episode, all with one row per observation, and who acted in each row."""
    missing = episode.rows - episode.steps
    rows: dict[str, NDArray[Any]] = {**episode.observation, TIME_KEY: episode.time}
    for name in ("action", "applied", "reward"):
        value = np.asarray(getattr(episode, name))
        value = value if np.issubdtype(value.dtype, np.floating) else value.astype(np.float64)
        rows[name] = np.concatenate([value, np.full((missing, *value.shape[1:]), np.nan, value.dtype)])
    rows |= {STREAM_TIME_PREFIX + stream: value for stream, value in episode.stream_time.items()}
    return rows, [*episode.source, *[""] * missing]


def episode_columns(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the per-episode table as columns."""
    outcome = ("success", "reason", "duration_s", "overruns", "interventions")
    meta = ("seed", "operator", "task", "wall_time")
    columns: dict[str, list[Any]] = {name: [r[name] for r in records] for name in ("rows", "steps", "instruction")}
    columns |= {name: [r["outcome"][name] for r in records] for name in outcome}
    columns |= {name: [r["meta"].get(name) for r in records] for name in meta}
    return columns | {"meta": [r["meta"] for r in records]}


def _outcome(fields: Mapping[str, Any]) -> Outcome:
    known = {field.name for field in dataclasses.fields(Outcome)}
    return Outcome(**{name: value for name, value in fields.items() if name in known})
