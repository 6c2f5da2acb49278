"""Cut episodes into training windows: observed steps, past and future actions, and a goal from hindsight.

A window belongs to every row r that has an action (the newest observed step). With t = ``n_obs`` and h = ``n_action``:

    observation  rows r-t+1 .. r        before the episode's start the first frame repeats
    action       rows r-t+1 .. r+h-1    zeros before the start, the last action repeats after the end
    future       rows r+1 .. r+f        what was observed next, for losses alone; the last frame repeats after the end
    goal         one later row of the same episode (Andrychowicz et al. 2017: a future state is a goal that was met);
                 under ``instruction`` what was asked in words, zeros where nothing was

Masks are False on padding. Low-dimensional arrays are held in memory, columns of one dtype side by side, so that a
batch is one vectorised gather; images are held too while they fit, and read frame by frame otherwise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.core.language import goal_spec
from robot_learning.datasets.columns import Columns, RowSource
from robot_learning.datasets.randomness import KeyedRandom, draw
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.stores import DemoStores

GOALS = ("none", "final", "future", "n_step")
GOAL_SAMPLINGS = ("uniform", "geometric")


@dataclass(frozen=True)
class WindowSpec:
    """Shape of a window and how its goal is chosen.

    Attributes:
        n_obs: Observed steps t.
        n_action: Actions from the newest observed step on, h.
        goal: ``none``; ``final``, the episode's last row; ``future``, a row drawn from ``goal_range``; ``n_step``, the
            row exactly ``goal_range[1]`` steps ahead. Rows past the end become the last row.
        goal_range: Fewest and most steps that a future goal lies ahead of the newest observed step.
        goal_sampling: ``uniform`` over the range, or ``geometric``: nearer goals more often.
        goal_mean: Mean steps ahead of ``geometric`` before it is cut at the range's end; default: the range's middle.
        final_probability: Share of ``future`` windows whose goal is the episode's last row instead.
        n_future: Observed steps after the newest one, f.
    """

    n_obs: int = 1
    n_action: int = 1
    goal: str = "none"
    goal_range: tuple[int, int] = (1, 50)
    goal_sampling: str = "uniform"
    goal_mean: float | None = None
    final_probability: float = 0.0
    n_future: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        object.__setattr__(self, "goal_range", tuple(int(value) for value in self.goal_range))
        if self.n_obs < 1 or self.n_action < 1 or self.n_future < 0:
            raise ConfigError(
                f"window: expected n_obs and n_action of at least 1 and n_future of at least 0, got {self.n_obs}, "
                f"{self.n_action} and {self.n_future}"
            )
        if self.goal not in GOALS:
            raise UnknownName("goal", self.goal, GOALS)
        if self.goal_sampling not in GOAL_SAMPLINGS:
            raise UnknownName("goal_sampling", self.goal_sampling, GOAL_SAMPLINGS)
        if len(self.goal_range) != 2 or not 0 <= self.goal_range[0] <= self.goal_range[1]:
            raise ConfigError(f"goal_range: expected 0 <= fewest <= most steps ahead, got {self.goal_range}")
        if not 0.0 <= self.final_probability <= 1.0:
            raise ConfigError(f"final_probability: expected 0 to 1, got {self.final_probability}")
        if self.goal_mean is not None and self.goal_mean <= self.goal_range[0]:
            raise ConfigError(f"goal_mean: expected more than {self.goal_range[0]}, got {self.goal_mean}")


@dataclass(frozen=True, eq=False)
class WindowRows:
    """Which rows a batch of windows is made of.

    Attributes:
        observation: Rows ``[b, t]``, padding clipped into the episode.
        observation_mask: False on padding, ``[b, t]``.
        action: Rows ``[b, t-1+h]``, padding clipped into the episode.
        action_mask: False on padding, ``[b, t-1+h]``.
        action_zero: True where no action came before, so that it is zero, ``[b, t-1+h]``.
        future: Rows ``[b, f]``, padding clipped into the episode.
        future_mask: False on padding, ``[b, f]``.
        goal: Rows ``[b]``, or None without goals.
        goal_steps: How many steps after the newest observed one the goal lies, ``[b]``, or None without goals.
        index: Windows asked for, ``[b]``.
    """

    observation: NDArray[np.int64]
    observation_mask: NDArray[np.bool_]
    action: NDArray[np.int64]
    action_mask: NDArray[np.bool_]
    action_zero: NDArray[np.bool_]
    future: NDArray[np.int64]
    future_mask: NDArray[np.bool_]
    goal: NDArray[np.int64] | None
    goal_steps: NDArray[np.int64] | None
    index: NDArray[np.int64]


class Windows:
    """All windows of some episodes.

    Attributes:
        spec: Their shape.
        observation_keys: Keys of a window's observation.
        goal_keys: Keys of a window's goal.
        future_keys: Keys of what was observed next.
        columns: The arrays behind them, over the rows of the chosen episodes only.
    """

    def __init__(
        self,
        stores: DemoStore | DemoStores,
        spec: WindowSpec,
        observation_keys: Sequence[str],
        goal_keys: Sequence[str] = (),
        episodes: Iterable[int] | None = None,
        *,
        future_keys: Sequence[str] = (),
        image_budget: int | None = None,
    ) -> None:
        """Load what windows need.

        Args:
            stores: Where the episodes are.
            spec: Shape of a window.
            observation_keys: Observation keys of the window.
            goal_keys: Observation keys of the goal, and ``instruction``.
            episodes: Episodes to use; default all.
            future_keys: Observation keys of the ``n_future`` steps after the newest observed one.
            image_budget: Bytes of memory that decoded images may take; default 4 GiB, at most half of what is free.
        """
        self.spec = spec
        self.observation_keys = tuple(observation_keys)
        self.goal_keys = tuple(goal_keys) if spec.goal != "none" else ()
        self.future_keys = tuple(future_keys) if spec.n_future else ()
        for key in (*self.observation_keys, *self.future_keys):
            if key not in stores.spec.observation:
                raise UnknownName("observation key", key, stores.spec.observation)
        for key in self.goal_keys:
            goal_spec(stores.spec, key)
        if spec.goal != "none" and not self.goal_keys:
            raise ConfigError(f"goal_keys: expected at least one key for goal={spec.goal!r}, got none")
        chosen = np.arange(len(stores)) if episodes is None else np.asarray(list(episodes), dtype=np.int64)
        ends = stores.episode_ends
        starts = np.concatenate([[0], ends[:-1]])[chosen]
        steps = np.array([record["steps"] for record in stores.records], dtype=np.int64)[chosen]
        lengths = ends[chosen] - starts
        self._first_row = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        self._last_row = self._first_row + lengths - 1
        self._last_action = self._first_row + steps - 1
        self._window_ends = np.cumsum(steps)
        keys = tuple(dict.fromkeys((*self.observation_keys, *self.goal_keys, *self.future_keys)))
        self.columns = Columns(stores, keys, starts, lengths, image_budget=image_budget)

    def __len__(self) -> int:
        """Return the number of windows: one per action."""
        return int(self._window_ends[-1]) if len(self._window_ends) else 0

    def rows(self, indices: NDArray[np.int64], rng: KeyedRandom | np.random.Generator | None = None) -> WindowRows:
        """Return the rows that windows ``indices`` are made of; ``rng`` draws their goals."""
        indices = np.asarray(indices, dtype=np.int64)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"windows: expected indices below {len(self)}, got {indices.min()} to {indices.max()}")
        episode = np.searchsorted(self._window_ends, indices, side="right")
        first, last = self._first_row[episode], self._last_action[episode]
        newest = indices - self._window_ends[episode] + 1 + last
        observed = newest[:, None] + np.arange(1 - self.spec.n_obs, 1)
        acted = newest[:, None] + np.arange(1 - self.spec.n_obs, self.spec.n_action)
        before = acted < first[:, None]
        coming = newest[:, None] + np.arange(1, self.spec.n_future + 1)
        last_row = self._last_row[episode]
        goal = self._goal_rows(indices, newest, last_row, rng)
        return WindowRows(
            observation=np.maximum(observed, first[:, None]),
            observation_mask=observed >= first[:, None],
            action=np.clip(acted, first[:, None], last[:, None]),
            action_mask=~before & (acted <= last[:, None]),
            action_zero=before,
            future=np.minimum(coming, last_row[:, None]),
            future_mask=coming <= last_row[:, None],
            goal=goal,
            goal_steps=None if goal is None else goal - newest,
            index=indices,
        )

    def gather(self, indices: NDArray[np.int64], rng: KeyedRandom | np.random.Generator | None = None) -> dict[str, Any]:
        """Return the windows ``indices`` as one batch of NumPy arrays, raw values.

        Args:
            indices: Windows, ``[b]``.
            rng: Draws future goals; keyed randomness makes a goal depend on its window alone.

        Returns:
            ``observation`` {key: ``[b, t, ...]``}, ``action`` ``[b, t-1+h, a]``, ``observation_mask``, ``action_mask``,
            ``goal`` {key: ``[b, ...]``} and ``goal_steps`` ``[b]`` unless there are none, ``future``
            {key: ``[b, f, ...]``} and ``future_mask`` ``[b, f]`` where ``n_future`` asks for them, ``index`` ``[b]``.
        """
        return self.assemble(self.rows(indices, rng), self.columns)

    def assemble(self, rows: WindowRows, columns: RowSource) -> dict[str, Any]:
        """Return the batch that :meth:`gather` promises from rows and what holds their values."""
        batch: dict[str, Any] = {
            "observation": columns.take(self.observation_keys, rows.observation),
            "action": columns.action(rows.action, rows.action_zero),
            "observation_mask": rows.observation_mask,
            "action_mask": rows.action_mask,
            "index": rows.index,
        }
        if rows.goal is not None:
            batch["goal"] = columns.take(self.goal_keys, rows.goal)
            batch["goal_steps"] = rows.goal_steps
        if self.spec.n_future:
            batch["future"] = columns.take(self.future_keys, rows.future)
            batch["future_mask"] = rows.future_mask
        return batch

    def _goal_rows(
        self,
        indices: NDArray[np.int64],
        newest: NDArray[np.int64],
        last: NDArray[np.int64],
        rng: KeyedRandom | np.random.Generator | None,
    ) -> NDArray[np.int64] | None:
        if self.spec.goal == "none":
            return None
        if self.spec.goal == "final":
            return last
        if self.spec.goal == "n_step":
            return np.minimum(newest + self.spec.goal_range[1], last)
        if rng is None:
            raise ConfigError("goal='future': expected rng to draw goals with, got None")
        goal: NDArray[np.int64] = np.minimum(newest + goal_offsets(self.spec, draw(rng, indices, 0)), last)
        if self.spec.final_probability > 0.0:
            goal = np.where(draw(rng, indices, 1) < self.spec.final_probability, last, goal)
        return goal


def goal_offsets(spec: WindowSpec, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return steps ahead of future goals, drawn by inverting the distribution at ``uniform`` in [0, 1)."""
    low, high = spec.goal_range
    if spec.goal_sampling == "uniform":
        return low + (uniform * (high - low + 1)).astype(np.int64)
    mean = spec.goal_mean if spec.goal_mean is not None else (low + high) / 2 + 0.5
    stop = 1.0 / (mean - low + 1.0)
    total = 1.0 - (1.0 - stop) ** (high - low + 1)
    steps = np.floor(np.log1p(-uniform * total) / np.log1p(-stop)) if stop < 1.0 else np.zeros_like(uniform)
    return low + np.minimum(steps.astype(np.int64), high - low)


def split_episodes(count: int, validation: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the episodes to train on and those held out, both rising; the same ones for the same seed.

    Args:
        count: Number of episodes.
        validation: Share to hold out; at least one episode when it is positive and there are two or more.
        seed: Seeds the draw.
    """
    if not 0.0 <= validation < 1.0:
        raise ConfigError(f"validation: expected a share from 0 up to 1, got {validation}")
    held_out = min(max(round(count * validation), 1), count - 1) if validation > 0.0 and count > 1 else 0
    order = np.random.default_rng([seed, count]).permutation(count)
    return sorted(order[held_out:].tolist()), sorted(order[:held_out].tolist())
