"""Endless, resumable batches of windows as torch tensors; the only module of this package that loads torch.

Every epoch visits the windows in an order drawn from (seed, epoch), and a future goal is drawn from (seed, epoch,
window). Threads that read ahead therefore change the speed and never the data, and a position is all that resuming
needs.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from robot_learning.core.errors import ConfigError
from robot_learning.datasets.randomness import KeyedRandom
from robot_learning.datasets.windows import Windows

Batch = dict[str, Any]


class WindowLoader:
    """Draw batches for ever.

    Attributes:
        windows: What is drawn from.
        batch_size: Windows per batch.
        epoch_steps: Batches per epoch.
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
        """
        if not 0.0 < fraction <= 1.0:
            raise ConfigError(f"fraction: expected more than 0 and at most 1, got {fraction}")
        self._count = max(1, int(len(windows) * fraction))
        if batch_size < 1 or not len(windows) or (drop_last and batch_size > self._count):
            raise ConfigError(
                f"batch_size: expected 1 to {self._count} (the number of windows), got {batch_size}; "
                "record more, or use a smaller batch or drop_last=False"
            )
        self.windows, self.batch_size = windows, batch_size
        self.epoch_steps = self._count // batch_size if drop_last else -(-self._count // batch_size)
        self._seed, self._device, self._num_workers = seed, torch.device(device), num_workers
        self._position = 0
        self._order: tuple[int, np.ndarray[Any, np.dtype[np.int64]]] = (-1, np.zeros(0, np.int64))
        self._pending: deque[Future[Batch]] = deque()
        self._pool = ThreadPoolExecutor(num_workers, "window-loader") if num_workers > 0 else None

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
        on_device: Batch = _to_device(batch, self._device)
        return on_device

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
            self._pending.append(self._pool.submit(self._make, *self._draw(position)))
        return self._pending.popleft().result()

    def _draw(self, position: int) -> tuple[np.ndarray[Any, np.dtype[np.int64]], KeyedRandom]:
        epoch, step = divmod(position, self.epoch_steps)
        if self._order[0] != epoch:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self.windows))
            self._order = (epoch, order[: self._count])
        indices = self._order[1][step * self.batch_size : (step + 1) * self.batch_size]
        return indices, KeyedRandom(self._seed, epoch)

    def _make(self, indices: np.ndarray[Any, np.dtype[np.int64]], rng: KeyedRandom) -> Batch:
        batch: Batch = _to_torch(self.windows.gather(indices, rng))
        if self._device.type == "cuda" and self._pool is not None:
            batch = _pinned(batch)
        return batch


def _to_torch(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {key: _to_torch(value) for key, value in batch.items()}
    return torch.from_numpy(batch)


def _pinned(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {key: _pinned(value) for key, value in batch.items()}
    return batch.contiguous().pin_memory()


def _to_device(batch: Any, device: torch.device) -> Any:
    if device.type == "cpu":
        return batch
    if isinstance(batch, dict):
        return {key: _to_device(value, device) for key, value in batch.items()}
    return batch.to(device, non_blocking=True)
