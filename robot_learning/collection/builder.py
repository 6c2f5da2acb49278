"""Build an episode in memory from what the loop shows: the observer that workers use to send episodes home."""

import time
from typing import Any

import numpy as np

from robot_learning.core.spec import TIME_KEY
from robot_learning.core.types import STREAM_TIME_PREFIX, Episode, Goal, Observation, Outcome, Step


class EpisodeBuilder:
    """Observer of the loop whose ``episode`` is there once the loop has ended.

    Args:
        keys: Observation keys to keep (the robot's spec).
        meta: Notes to keep with every episode.
    """

    def __init__(self, keys: tuple[str, ...], meta: dict[str, Any] | None = None) -> None:
        """Prepare to watch."""
        self._keys = keys
        self._meta = dict(meta or {})
        self.instruction = ""
        self.episode: Episode | None = None

    def on_reset(self, observation: Observation, *, goal: Goal | None, seed: int | None) -> None:
        """Start an episode."""
        self.episode = None
        self.instruction = str((goal or {}).get("instruction", ""))
        self._observations = [observation]
        self._steps: list[Step] = []
        self._start = {"wall_time": time.time(), **({} if seed is None else {"seed": int(seed)})}

    def on_step(self, step: Step) -> None:
        """Keep one step."""
        self._steps.append(step)
        self._observations.append(step.next_observation)

    def on_end(self, outcome: Outcome) -> None:
        """Make the episode; without a single action there is none."""
        if not self._steps:
            return
        rows, steps = self._observations, self._steps
        streams = [key for key in rows[0] if key.startswith(STREAM_TIME_PREFIX)]
        self.episode = Episode(
            observation={key: np.stack([row[key] for row in rows]) for key in self._keys},
            action=np.stack([step.requested for step in steps]),
            applied=np.stack([step.applied for step in steps]),
            time=np.array([row[TIME_KEY] for row in rows], dtype=np.float64),
            stream_time={
                key.removeprefix(STREAM_TIME_PREFIX): np.array([row[key] for row in rows], dtype=np.float64) for key in streams
            },
            source=tuple(step.source for step in steps),
            reward=np.array([step.reward for step in steps], dtype=np.float32),
            outcome=outcome,
            instruction=self.instruction,
            meta={**self._start, **self._meta},
        )
