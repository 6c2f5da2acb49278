"""Record episodes while they happen: an observer of the loop that writes to a store.

Rows are kept in memory and written when the episode ends. With ``flush_every`` they also go to the disk while it runs,
from a thread of their own so that the control loop never waits, and an episode that the process did not survive is
recovered when the store is next opened for writing.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError
from robot_learning.core.spec import TIME_KEY, RobotSpec
from robot_learning.core.types import STREAM_TIME_PREFIX, Goal, Observation, Outcome, Step
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.writer import EpisodeWriter, check_values


@dataclass
class _Recording:
    """The episode being recorded.

    Attributes:
        writer: Where its rows go.
        streams: Observation keys that hold capture times.
        instruction: What was asked in words.
        meta: Notes.
        pending: Steps not handed to the writer yet.
        writes: Writes under way in the thread.
        last: What was observed last.
        steps: Number of actions so far.
        discarded: Whether it is to be dropped.
        failed: Whether a write failed; those queued behind it would leave a gap and do nothing.
    """

    writer: EpisodeWriter
    streams: tuple[str, ...]
    instruction: str
    meta: dict[str, Any]
    last: Observation
    pending: list[Step] = field(default_factory=list)
    writes: list[Future[None]] = field(default_factory=list)
    steps: int = 0
    discarded: bool = False
    failed: bool = False

    def wait(self, *, only_done: bool = False) -> None:
        """Raise what a write raised; wait for those under way unless told otherwise."""
        under_way = []
        for write in self.writes:
            if only_done and not write.done():
                under_way.append(write)
            else:
                write.result()
        self.writes = under_way


class Recorder:
    """Append every episode of the loop to a store.

    Attributes:
        store: Where episodes go.
        last_index: Index of the episode written last, None before the first.
    """

    def __init__(self, store: DemoStore, *, flush_every: int | None = None, meta: Mapping[str, Any] | None = None) -> None:
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
        self._next_instruction: str | None = None
        self._next_meta: dict[str, Any] = {}
        self._pool = ThreadPoolExecutor(1, "recorder") if flush_every is not None else None
        self._now: _Recording | None = None

    def annotate(self, instruction: str | None = None, **meta: Any) -> None:
        """Give the episode being recorded, or else the next one, an instruction and notes (``task="..."``)."""
        if self._now is None:
            self._next_instruction = instruction if instruction is not None else self._next_instruction
            self._next_meta |= meta
        else:
            self._now.instruction = instruction if instruction is not None else self._now.instruction
            self._now.meta |= meta

    def discard(self) -> None:
        """Do not keep the episode being recorded."""
        if self._now is not None:
            self._now.discarded = True

    def on_reset(self, observation: Observation, *, goal: Goal | None, seed: int | None) -> None:
        """Start an episode."""
        instruction = self._next_instruction
        seeded = {} if seed is None else {"seed": int(seed)}
        self._now = _Recording(
            writer=self.store.begin(),
            streams=tuple(key for key in observation if key.startswith(STREAM_TIME_PREFIX)),
            instruction=instruction if instruction is not None else str((goal or {}).get("instruction", "")),
            meta={**seeded, **self._meta, **self._next_meta, "wall_time": time.time()},
            last=observation,
        )
        self._next_instruction, self._next_meta = None, {}

    def on_step(self, step: Step) -> None:
        """Keep one step."""
        now = self._now
        if now is None:
            return
        now.pending.append(step)
        now.last = step.next_observation
        now.steps += 1
        if self._pool is not None and len(now.pending) >= (self._every or 0):
            try:
                now.wait(only_done=True)
            except OSError as error:
                self._now = None
                raise self.store.write_failed(error, now.steps) from error
            now.writes.append(self._pool.submit(_write_and_note, now, now.pending, self.store.spec))
            now.pending = []

    def on_end(self, outcome: Outcome) -> None:
        """Write the episode; one without a single action is dropped."""
        now, self._now = self._now, None
        if now is None:
            return
        try:
            now.wait()
            if now.discarded or now.steps == 0:
                self.store.drop_uncommitted()
                return
            if now.pending:
                _write(now, now.pending, self.store.spec)
            now.writer.extend(*_final_row(now, self.store.spec))
            self.last_index = now.writer.commit(outcome, now.instruction, now.meta, steps=now.steps)
        except OSError as error:
            raise self.store.write_failed(error, now.steps) from error

    def close(self) -> None:
        """Stop the writing thread; idempotent. The store stays open."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)


def _write_and_note(now: _Recording, steps: Sequence[Step], spec: RobotSpec) -> None:
    if now.failed:
        return
    try:
        _write(now, steps, spec)
        now.writer.checkpoint(now.instruction, now.meta)
    except BaseException:
        now.failed = True
        raise


def _write(now: _Recording, steps: Sequence[Step], spec: RobotSpec) -> None:
    rows = _stack([step.observation for step in steps], spec, now.streams)
    rows["action"] = np.stack([step.requested for step in steps])
    rows["applied"] = np.stack([step.applied for step in steps])
    rows["reward"] = np.array([step.reward for step in steps], dtype=np.float32)
    check_values(rows[TIME_KEY], rows["action"], rows["applied"])
    now.writer.extend(rows, [step.source for step in steps])


def _final_row(now: _Recording, spec: RobotSpec) -> tuple[dict[str, NDArray[Any]], list[str]]:
    nothing = np.full((1, *spec.action.shape), np.nan, spec.action.dtype)
    rows = _stack([now.last], spec, now.streams)
    return {**rows, "action": nothing, "applied": nothing, "reward": np.full(1, np.nan, np.float32)}, [""]


def _stack(observations: Iterable[Observation], spec: RobotSpec, streams: Sequence[str]) -> dict[str, NDArray[Any]]:
    observations = list(observations)
    rows = {key: np.stack([np.asarray(item[key]) for item in observations]) for key in (*spec.observation, TIME_KEY)}
    for key in streams:
        rows[key] = np.array([item.get(key, np.nan) for item in observations], dtype=np.float64)
    return rows
