"""Endless, resumable batches of windows as torch tensors; the only module of this package that loads torch.

Every epoch visits the windows in an order drawn from (seed, epoch), and a future goal is drawn from (seed, epoch,
window). Threads that read ahead and where the data lie therefore change the speed and never the data, and a position is
all that resuming needs.

Data that fit lie on the training device, images as uint8: of a batch only its row numbers travel there. Others are gathered
on the host, ahead of use by threads; on CUDA a stream of its own copies them while the device computes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_learning.core.errors import ConfigError
from robot_learning.datasets.columns import Columns
from robot_learning.datasets.randomness import KeyedRandom
from robot_learning.datasets.windows import WindowRows, Windows

Batch = dict[str, Any]
Residence = bool | Literal["auto"]


class WindowLoader:
    """Draw batches for ever.

    Attributes:
        windows: What is drawn from.
        batch_size: Windows per batch.
        epoch_steps: Batches per epoch.
        resident: Whether the data lie on the device.
    """

    def __init__(
        self,
        windows: Windows,
        batch_size: int,
        *,
        seed: int,
        device: str | torch.device = "cpu",
        num_workers: int = 0,
        drop_last: bool = True,
        fraction: float = 1.0,
        resident: Residence = False,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare the order of the first epoch.

        Args:
            windows: What to draw from.
            batch_size: Windows per batch.
            seed: Seeds order and goals.
            device: Where batches go.
            num_workers: Threads that read ahead.
            drop_last: Leave out an epoch's last, smaller batch.
            fraction: Share of the windows visited per epoch, others every epoch.
            resident: Keep the data on the device; ``auto``: on CUDA, where they take at most half of the free memory.
            part: Which part of every batch this loader gives, and of how many; state and ``batch_size`` are of the whole one.
        """
        if not 0.0 < fraction <= 1.0:
            raise ConfigError(f"fraction: expected more than 0 and at most 1, got {fraction}")
        self._count = max(1, int(len(windows) * fraction))
        if batch_size < 1 or not len(windows) or (drop_last and batch_size > self._count):
            raise ConfigError(
                f"batch_size: expected 1 to {self._count} (the number of windows), got {batch_size}; "
                "record more, or use a smaller batch or drop_last=False"
            )
        if batch_size % part[1]:
            raise ConfigError(
                f"batch_size: expected a multiple of the {part[1]} processes that share a batch, got {batch_size}"
            )
        self.windows, self.batch_size, self._part = windows, batch_size, part
        self.epoch_steps = self._count // batch_size if drop_last else -(-self._count // batch_size)
        self._seed, self._device, self._num_workers = seed, torch.device(device), num_workers
        self._position = 0
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))
        self.resident = _becomes_resident(resident, windows.columns, self._device)
        self._columns = ResidentColumns(windows.columns, self._device) if self.resident else None
        ahead = num_workers > 0 and not self.resident
        self._pending: deque[Future[tuple[Batch, torch.cuda.Event | None]]] = deque()
        self._pool = ThreadPoolExecutor(num_workers, "window-loader") if ahead else None
        self._copies = _stream(self._device) if ahead and self._device.type == "cuda" else None

    @property
    def epoch(self) -> int:
        """Return the epoch that the next batch belongs to."""
        return self._position // self.epoch_steps

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """Return the next batch."""
        batch = self._read_ahead() if self._pool is not None else self._make(*self._draw(self._position))
        self._position += 1
        return batch

    def state_dict(self) -> dict[str, int]:
        """Return what :meth:`load_state_dict` needs to go on with the next batch."""
        return {
            "position": self._position,
            "seed": self._seed,
            "windows": len(self.windows),
            "batch": self.batch_size,
            "epoch_steps": self.epoch_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken; raises :class:`ConfigError` where data or settings differ."""
        own = self.state_dict()
        shared = (key for key in own if key != "position" and key in state)
        wrong = [f"{key}: expected {state[key]}, got {own[key]}" for key in shared if own[key] != state[key]]
        if wrong:
            raise ConfigError("loader: cannot resume: " + "; ".join(wrong))
        for future in self._pending:
            future.cancel()
        self._pending.clear()
        self._position = int(state["position"])

    def close(self) -> None:
        """Stop the threads; idempotent."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pending.clear()

    def _read_ahead(self) -> Batch:
        assert self._pool is not None  # noqa: S101 - only called with threads
        while len(self._pending) < 2 * self._num_workers:
            position = self._position + len(self._pending)
            self._pending.append(self._pool.submit(self._make_ahead, *self._draw(position)))
        batch, copied = self._pending.popleft().result()
        if copied is not None:
            present = torch.cuda.current_stream(self._device)
            present.wait_event(copied)
            _each(batch, lambda tensor: tensor.record_stream(present))  # its memory is not reused before it was read
        return batch

    def _draw(self, position: int) -> tuple[NDArray[np.int64], KeyedRandom]:
        epoch, step = divmod(position, self.epoch_steps)
        if self._order[0] != epoch:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self.windows))
            self._order = (epoch, order[: self._count])
        indices = self._order[1][step * self.batch_size : (step + 1) * self.batch_size]
        return np.array_split(indices, self._part[1])[self._part[0]], KeyedRandom(self._seed, epoch)

    def _make(self, indices: NDArray[np.int64], rng: KeyedRandom) -> Batch:
        if self._columns is not None:
            return self.windows.assemble(_upload(self.windows.rows(indices, rng), self._device), self._columns)
        batch: Batch = _each(self.windows.gather(indices, rng), lambda array: torch.from_numpy(array).to(self._device))
        return batch

    def _make_ahead(self, indices: NDArray[np.int64], rng: KeyedRandom) -> tuple[Batch, torch.cuda.Event | None]:
        """Return a batch, and on CUDA the event after which it is there."""
        if self._copies is None:
            return self._make(indices, rng), None
        batch = self.windows.gather(indices, rng)
        with torch.cuda.stream(self._copies):  # also makes its GPU this thread's
            pinned = _each(batch, lambda array: torch.from_numpy(array).contiguous().pin_memory())
            return _each(pinned, lambda tensor: tensor.to(self._device, non_blocking=True)), self._copies.record_event()


class ResidentColumns:
    """The arrays behind windows on a torch device: a :class:`robot_learning.datasets.columns.RowSource` of tensors.

    Args:
        columns: The arrays in memory or on disk; decoded images are taken over, so that they are not held twice.
        device: Where to hold them.
    """

    def __init__(self, columns: Columns, device: torch.device) -> None:
        """Copy all rows."""
        self._actions = _resident([columns.actions], len(columns.actions), device)
        keys = (*columns.slices, *columns.frames)
        self._values = {key: _resident(columns.blocks(key), len(columns.actions), device) for key in keys}
        columns.release()

    def action(self, rows: Tensor, zero: Tensor) -> Tensor:
        """Return actions of ``rows`` (any shape) as a new tensor, zero where ``zero`` is True."""
        return _pick(self._actions, rows).masked_fill_(zero.unsqueeze(-1), 0)

    def take(self, keys: Sequence[str], rows: Tensor) -> dict[str, Tensor]:
        """Return each key's values at ``rows`` (any shape)."""
        return {key: _pick(self._values[key], rows) for key in keys}


def _becomes_resident(setting: Residence, columns: Columns, device: torch.device) -> bool:
    if setting not in (True, False, "auto"):
        raise ConfigError(f"data.resident: expected auto, true or false, got {setting!r}")
    if setting == "auto" and device.type != "cuda":
        return False
    if not setting or device.type != "cuda":
        return bool(setting)
    free = torch.cuda.mem_get_info(device)[0]
    if setting is True and columns.nbytes > free:
        raise ConfigError(
            f"data.resident=true: expected at most the {free / 1e9:.1f} GB free on {device}, got {columns.nbytes / 1e9:.1f} GB "
            "of data; use data.resident=false, or fewer or smaller images"
        )
    return setting is True or columns.nbytes <= free // 2


def _resident(blocks: Iterable[NDArray[Any]], count: int, device: torch.device) -> Tensor:
    """Return blocks of rows one after the other on a device, never more than one of them on the host."""
    values, filled = torch.empty(0), 0
    for block in map(torch.from_numpy, blocks):
        if not filled:
            values = torch.empty((count, *block.shape[1:]), dtype=block.dtype, device=device)
        values[filled : filled + len(block)] = block
        filled += len(block)
    return values


def _pick(values: Tensor, rows: Tensor) -> Tensor:
    """Return ``values[rows]``; ``index_select`` copies whole rows, 20 times as fast on a CPU."""
    return values.index_select(0, rows.flatten()).view(*rows.shape, *values.shape[1:])


def _upload(rows: WindowRows, device: torch.device) -> WindowRows:
    """Return rows as tensors on a device, all of them in one copy that the host does not wait for."""
    arrays = {name: array for name, array in vars(rows).items() if array is not None}
    order = sorted(arrays, key=lambda name: -arrays[name].itemsize)  # wide types first, so that each begins aligned
    content = torch.from_numpy(np.concatenate([np.ravel(arrays[name]).view(np.uint8) for name in order]))
    content = content.pin_memory() if device.type == "cuda" else content
    parts = torch.split(content.to(device, non_blocking=True), [arrays[name].nbytes for name in order])
    tensors: dict[str, Any] = dict.fromkeys(vars(rows))
    for name, part in zip(order, parts, strict=True):
        tensors[name] = part.view(torch.from_numpy(arrays[name]).dtype).view(arrays[name].shape)
    return WindowRows(**tensors)


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _each(tree: Any, function: Callable[[Any], Any]) -> Any:
    """Return a tree of dicts with ``function`` of every leaf."""
    if isinstance(tree, dict):
        return {key: _each(value, function) for key, value in tree.items()}
    return function(tree)
