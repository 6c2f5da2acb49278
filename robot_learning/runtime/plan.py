"""What is to be done at which control step: the newest chunk, or a weighted average of all chunks that say.

Chunks are filed under the step that their first row was meant for. A row is used at its own step or never: what
lies in the past when a chunk arrives is not replayed.
"""

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError
from robot_learning.core.types import Action


def ensemble_weights(count: int, m: float) -> NDArray[np.float64]:
    """Return normalised weights of ``count`` predictions of one action, the oldest first.

    ACT (Zhao et al. 2023, section III-B and algorithm 2): ``w_i = exp(-m i)`` with ``w_0`` for the oldest
    prediction, so that a small ``m`` takes new observations in faster.
    """
    weights: NDArray[np.float64] = np.exp(-m * np.arange(count))
    return weights / np.sum(weights)


class Plan:
    """Chunks of actions on the axis of control steps.

    Args:
        ensemble: ``m`` of :func:`ensemble_weights`; None follows the newest chunk alone.
    """

    def __init__(self, ensemble: float | None = None) -> None:
        if ensemble is not None and not np.isfinite(ensemble):
            raise ConfigError(f"ensemble: expected a finite number or null, got {ensemble}")
        self._ensemble = ensemble
        self._chunks: list[tuple[int, NDArray[np.generic]]] = []

    def clear(self) -> None:
        """Forget everything."""
        self._chunks = []

    def add(self, step: int, chunk: NDArray[np.generic]) -> None:
        """File a chunk ``[h, a]`` whose row 0 is for ``step``."""
        kept = [] if self._ensemble is None else [entry for entry in self._chunks if entry[0] != step]
        self._chunks = sorted([*kept, (step, chunk)], key=lambda entry: entry[0])

    def at(self, step: int) -> Action | None:
        """Return the action for ``step``, None when no chunk covers it; steps may only grow."""
        self._chunks = [(start, chunk) for start, chunk in self._chunks if step < start + len(chunk)]
        rows = [chunk[step - start] for start, chunk in self._chunks if start <= step]
        if not rows:
            return None
        if self._ensemble is None or len(rows) == 1:
            return np.array(rows[-1])
        weights = ensemble_weights(len(rows), self._ensemble)
        return np.asarray(np.tensordot(weights, np.stack(rows), axes=1), dtype=rows[-1].dtype)

    def left(self, step: int) -> int:
        """Return for how many steps from ``step`` on the plan goes without a new chunk."""
        return max([start + len(chunk) - step for start, chunk in self._chunks], default=0)
