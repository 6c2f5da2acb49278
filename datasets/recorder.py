"""Record episodes while they happen: an observer of the loop that writes to a store.

Rows are kept in memory and written when the episode ends. With ``flush_every`` they also go to the disk while it runs,
from a thread of their own so that the control loop never waits, and an episode that the process did not survive is
recovered when the store is next opened for writing.
"""

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.writer import EpisodeWriter, check_values

from robot_learning.core.errors import ConfigError
from robot_learning.core.spec import TIME_KEY
from robot_learning.core.types import STREAM_TIME_PREFIX, Goal, Observation, Outcome, Step


class Recorder:
    """Append every episode of the loop to a store.

    Attributes:
        store: Where episodes go.
        last_index: Index of the episode written last, None before the first.
    """

    def __init__(
        self, store: DemoStore, *, flush_every: int | None = None, meta: Mapping[str, Any] | None = None
    ) -> None:
        """Prepare to record.

        Args:
            store: A store open for writing.
            flush_every: Steps after which rows go to the disk; None: when the episode ends.
            meta: Noted with every episode, e.g. the operator.
        """
        if flush_every is not None and flush_every < 1:
            raise ConfigError(f"flush_every: expected at least 1 step, got {flush_every}")
        self.store = store
        self.last_index: int | None = None
        self._every = flush_every
        self._meta = dict(meta or {})
        self._next_instruction, self._next_meta = "", dict[str, Any]()
        self._pool = ThreadPoolExecutor(1, "recorder") if flush_every is not None else None
        self._clear()

    def annotate(self, instruction: str | None = None, **meta: Any) -> None:
        """Give the episode being recorded, or else the next one, an instruction and notes (``task="..."``)."""
        if self._first is None:
            self._next_instruction = instruction if instruction is not None else self._next_instruction
            self._next_meta |= meta
            return
        self._instruction = instruction if instruction is not None else self._instruction
        self._episode_meta |= meta

    def discard(self) -> None:
        """Do not keep the episode being recorded."""
        self._discarded = True

    def on_reset(self, observation: Observation, *, goal: Goal | None, seed: int | None) -> None:
        """Start an episode."""
        self._clear()
        self._first = dict(observation)
        self._instruction = self._next_instruction or str((goal or {}).get("instruction", ""))
        self._episode_meta = {**self._meta, **self._next_meta, "wall_time": time.time()}
        if seed is not None:
            self._episode_meta.setdefault("seed", int(seed))
        self._next_instruction, self._next_meta = "", {}
        if self._pool is not None:
            self._writer = self.store.begin()

    def on_step(self, step: Step) -> None:
        """Keep one step."""
        self._rows.append(step)
        self._steps += 1
        if self._every is not None and len(self._rows) >= self._every:
            self._flush()

    def on_end(self, outcome: Outcome) -> None:
        """Write the episode; one without a single action is dropped."""
        try:
            if self._first is not None and self._steps and not self._discarded:
                self.last_index = self._commit(outcome)
        except OSError as error:
            raise self.store.write_failed(error, self._steps) from error
        finally:
            self._clear()

    def close(self) -> None:
        """Stop the writing thread; idempotent. The store stays open."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def _clear(self) -> None:
        self._first: dict[str, NDArray[Any]] | None = None
        self._rows: list[Step] = []
        self._steps = 0
        self._discarded = False
        self._instruction, self._episode_meta = "", dict[str, Any]()
        self._writer: EpisodeWriter | None = None
        self._writes: list[Future[None]] = []

    def _commit(self, outcome: Outcome) -> int:
        last = self._rows[-1].next_observation if self._rows else self._last.next_observation
        writer = self._writer if self._writer is not None else self.store.begin()
        if self._rows:
            if self._pool is not None:
                self._flush()
            else:
                self._write(writer, self._rows)
        for write in self._writes:
            write.result()
        writer.extend(*self._final_row(last))
        return writer.commit(outcome, self._instruction, self._episode_meta, steps=self._steps)

    def _flush(self) -> None:
        assert self._pool is not None and self._writer is not None  # noqa: S101, PT018 - flushing recorders only
        for write in self._writes:
            if write.done():
                write.result()
        self._writes = [write for write in self._writes if not write.done()]
        self._writes.append(self._pool.submit(self._write_and_note, self._writer, self._rows))
        self._last = self._rows[-1]
        self._rows = []

    def _write_and_note(self, writer: EpisodeWriter, steps: list[Step]) -> None:
        self._write(writer, steps)
        writer.checkpoint(self._instruction, self._episode_meta)

    def _write(self, writer: EpisodeWriter, steps: list[Step]) -> None:
        rows = self._observations([step.observation for step in steps])
        rows["action"] = np.stack([step.requested for step in steps])
        rows["applied"] = np.stack([step.applied for step in steps])
        rows["reward"] = np.array([step.reward for step in steps], dtype=np.float32)
        check_values(rows[TIME_KEY], rows["action"], rows["applied"])
        writer.extend(rows, [step.source for step in steps])

    def _final_row(self, observation: Observation) -> tuple[dict[str, NDArray[Any]], list[str]]:
        rows = self._observations([observation])
        nothing = np.full((1, *self.store.spec.action.shape), np.nan, self.store.spec.action.dtype)
        return {**rows, "action": nothing, "applied": nothing, "reward": np.full(1, np.nan, np.float32)}, [""]

    def _observations(self, observations: list[Observation]) -> dict[str, NDArray[Any]]:
        keys = (*self.store.spec.observation, TIME_KEY)
        rows = {key: np.stack([np.asarray(observation[key]) for observation in observations]) for key in keys}
        for key in (key for key in self._first or () if key.startswith(STREAM_TIME_PREFIX)):
            rows[key] = np.array([observation.get(key, np.nan) for observation in observations], dtype=np.float64)
        return rows
