"""Tell a policy what to do from stored episodes, without training: samples for the prompts it takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.core.protocols import Promptable, TaskSuite
from robot_learning.core.types import Transitions, Trial
from robot_learning.datasets.stores import open_stores
from robot_learning.datasets.windows import Windows, WindowSpec
from robot_learning.policies.policy import LearnedPolicy


@dataclass(frozen=True)
class Prompt:
    """How a policy is told what to do.

    Attributes:
        kind: What the policy calls it, e.g. ``goal``, ``plan`` or ``reward``.
        stores: Where samples come from, for kinds that want some; they may be other data than the policy was trained on.
        samples: How many.
        steps: How far apart the two observations of a sample are; a reward is for what happened in between.
        seed: Draws the samples.
    """

    kind: str
    stores: Sequence[str] = ()
    samples: int = 10_000
    steps: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.samples < 1 or self.steps < 1:
            raise ConfigError(f"prompt: expected samples and steps of at least 1, got {self.samples} and {self.steps}")
        object.__setattr__(self, "stores", tuple(self.stores))


def prompt_policy(policy: LearnedPolicy, prompt: Prompt, suite: TaskSuite, task: str) -> None:
    """Prompt a policy for a task of a suite.

    Raises:
        ConfigError: The policy takes no prompts, or the samples it wants are missing or say nothing about the task.
        UnknownName: A kind that the policy does not take.
    """
    if not isinstance(policy, Promptable):
        raise ConfigError(
            f"prompt={prompt.kind}: expected a policy that takes prompts, got {type(policy).__name__}, which does not"
        )
    if prompt.kind not in policy.prompts:
        raise UnknownName(f"prompt of {type(policy).__name__}", prompt.kind, policy.prompts)
    wanted = policy.prompts[prompt.kind]
    samples = None if wanted == "nothing" else stored_transitions(prompt)
    if samples is not None and wanted == "rewards":
        samples = replace(samples, reward=rewards(samples, suite, task))
    policy.prompt(prompt.kind, samples)


@lru_cache(maxsize=1)
def stored_transitions(prompt: Prompt) -> Transitions:
    """Return pairs of observations of the stores, drawn at random, every low-dimensional key of them."""
    if not prompt.stores:
        raise ConfigError(f"prompt={prompt.kind}: expected stores to take samples from, got none; set prompt_stores=[PATH]")
    with open_stores(prompt.stores) as stores:
        keys = [key for key, spec in stores.spec.observation.items() if not spec.is_image]
        spec = WindowSpec(goal="n_step", goal_range=(1, prompt.steps))
        windows = Windows(stores, spec, keys, keys)
        drawn = np.random.default_rng(prompt.seed).permutation(len(windows))[: prompt.samples]
        batch = windows.gather(np.sort(drawn))
    return Transitions({key: value[:, 0] for key, value in batch["observation"].items()}, batch["goal"])


def rewards(samples: Transitions, suite: TaskSuite, task: str) -> NDArray[np.float32]:
    """Return the suite's score of every sample ``[n]``: 1 where ``task`` happened between its two observations."""

    def row(observations: Any, index: int) -> dict[str, NDArray[Any]]:
        return {key: values[index] for key, values in observations.items()}

    def score(index: int) -> float:
        first, last = row(samples.before, index), row(samples.after, index)
        return suite.score(Trial(task, seed=0, goal=last, max_steps=0), first, last)

    count = len(next(iter(samples.before.values())))
    return np.array([score(index) for index in range(count)], dtype=np.float32)
