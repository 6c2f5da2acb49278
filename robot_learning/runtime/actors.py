"""Actors: a policy with history and chunks, a replay, random motion, and holding still.

History and the execution of chunks live here, once, for every policy: receding horizon (play the first ``execute``
rows of a chunk, then ask again) or temporal ensembling (average what all chunks say about this step).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError
from robot_learning.core.protocols import Policy
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Action, End, Episode, Goal, Observation, Outcome, Step
from robot_learning.runtime.history import History, checked_chunk, goal_batch, warm_up
from robot_learning.runtime.plan import Plan


class ChunkedActor:
    """A policy in the loop: the control step waits for its chunk.

    The actor is also a StepObserver: told by the loop what was applied, it shows the policy those actions rather
    than the requested ones.

    Args:
        policy: A function of a window.
        execute: Rows of a chunk to play before asking for the next one, 1 to the policy's horizon.
        ensemble: Temporal ensembling as in ACT with this ``m`` (0.01 in the paper, with ``execute=1``); None
            follows the newest chunk.
        source: Name recorded with every step.
    """

    def __init__(self, policy: Policy, *, execute: int = 1, ensemble: float | None = None, source: str = "policy") -> None:
        if not 1 <= execute <= policy.horizon:
            raise ConfigError(f"execute: expected 1 to the policy's horizon {policy.horizon}, got {execute}")
        self.source = source
        self.policy = policy
        self._execute = execute
        self._plan = Plan(ensemble)
        self._history = History(policy.spec, policy.n_obs)
        self._goal: dict[str, NDArray[np.generic]] | None = None
        self._step = 0
        self._warm = False

    def warm_up(self) -> None:
        """Make the first ``act`` as fast as the others; ``reset`` does it before the first episode."""
        warm_up(self.policy)
        self._warm = True

    def reset(self, *, seed: int | None = None, goal: Goal | None = None) -> None:
        """Start an episode towards ``goal``."""
        if not self._warm:
            self.warm_up()
        self._goal = goal_batch(self.policy, goal)
        self.policy.reset(seed=seed)
        self._history.clear()
        self._plan.clear()
        self._step = 0

    def act(self, observation: Observation) -> Action:
        """Return the action for this step, asking the policy every ``execute`` steps."""
        self._history.see(observation)
        if self._step % self._execute == 0:
            chunk = self.policy.act(self._history.window(), self._goal)
            self._plan.add(self._step, checked_chunk(self.policy, chunk))
        action = self._plan.at(self._step)
        assert action is not None, "execute <= horizon"  # noqa: S101 - checked in the constructor
        self._step += 1
        self._history.did(action)
        return action

    def on_reset(self, observation: Observation, *, goal: Goal | None, seed: int | None) -> None:
        """Do nothing: ``reset`` came before."""

    def on_step(self, step: Step) -> None:
        """Remember what was applied in place of what was asked for."""
        self._history.correct(step.applied)

    def on_end(self, outcome: Outcome) -> None:
        """Do nothing: ``reset`` forgets."""


class RandomActor:
    """Uniform random actions within the bounds of the spec; elements without bounds stay zero.

    Args:
        spec: The robot's spec.
        smoothness: 0 draws every action anew; towards 1 actions change ever slower: each is
            ``smoothness * last + (1 - smoothness) * new``, which stays within the bounds.
    """

    source = "random"

    def __init__(self, spec: RobotSpec, *, smoothness: float = 0.0) -> None:
        if not 0 <= smoothness < 1:
            raise ConfigError(f"smoothness: expected 0 to below 1, got {smoothness}")
        self._spec = spec
        self._smoothness = smoothness
        self._low, self._high = _range(spec.action)
        self.reset()

    def reset(self, *, seed: int | None = None, goal: Goal | None = None) -> None:  # noqa: ARG002 - no goal in noise
        """Start the sequence of ``seed``."""
        self._rng = np.random.default_rng(seed)
        self._last: NDArray[np.float64] | None = None

    def act(self, observation: Observation) -> Action:  # noqa: ARG002 - noise sees nothing
        """Return the next random action."""
        new = self._rng.uniform(self._low, self._high)
        if self._last is not None:
            new = self._smoothness * self._last + (1 - self._smoothness) * new
        self._last = new
        return new.astype(self._spec.action.dtype)


class ReplayActor:
    """Plays the actions of an episode, then ends; whether the replay succeeded is for a judge to say.

    Args:
        episode: What to play.
        applied: Play what the robot did rather than what was asked of it.
    """

    source = "replay"

    def __init__(self, episode: Episode, *, applied: bool = False) -> None:
        self._actions = episode.applied if applied else episode.action
        self._step = 0

    def reset(self, *, seed: int | None = None, goal: Goal | None = None) -> None:  # noqa: ARG002 - fixed actions
        """Start from the first action."""
        self._step = 0

    def act(self, observation: Observation) -> Action | End:  # noqa: ARG002 - fixed actions
        """Return the next action of the episode."""
        if self._step >= len(self._actions):
            return End("replay finished")
        self._step += 1
        return np.array(self._actions[self._step - 1])


class HoldActor:
    """Holds still: repeats one action.

    Args:
        spec: The robot's spec.
        action: Computes the action from the first observation of an episode, e.g. the current joint positions for
            a robot in joint position mode; None holds the neutral action (no motion for relative actions).
    """

    source = "hold"

    def __init__(self, spec: RobotSpec, action: Callable[[Observation], Action] | None = None) -> None:
        self._spec = spec
        self._choose = action
        self._held: Action | None = None

    def reset(self, *, seed: int | None = None, goal: Goal | None = None) -> None:  # noqa: ARG002 - nothing to vary
        """Choose anew at the next observation."""
        self._held = None

    def act(self, observation: Observation) -> Action:
        """Return the held action."""
        if self._held is None:
            chosen = self._choose(observation) if self._choose else self._spec.action.generate_value()
            self._held = self._spec.validate_action(chosen)
        return self._held.copy()


def _range(spec: ArraySpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low = np.zeros(spec.shape) if spec.low is None else spec.low.astype(np.float64)
    high = np.zeros(spec.shape) if spec.high is None else spec.high.astype(np.float64)
    free = ~(np.isfinite(low) & np.isfinite(high)) | (spec.low is None) | (spec.high is None)
    return np.where(free, 0.0, low), np.where(free, 0.0, high)
