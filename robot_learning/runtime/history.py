"""The window a policy sees: the last observations and the actions between them."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import SpecMismatch
from robot_learning.core.language import INSTRUCTION, encode_instruction, goal_spec
from robot_learning.core.protocols import Policy
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Action, Goal, Observation

Window = dict[str, NDArray[Any]]
"""``Policy.act``'s first argument: observation keys ``[1, t, ...]`` and ``action`` ``[1, t-1, a]``."""


class History:
    """The newest ``n_obs`` observations and the ``n_obs - 1`` actions applied between them.

    Args:
        spec: The policy's spec: the keys to keep and the action.
        n_obs: Number of observed steps t.
    """

    def __init__(self, spec: RobotSpec, n_obs: int) -> None:
        self._spec = spec
        self._n_obs = n_obs
        self._frames: deque[Mapping[str, NDArray[Any]]] = deque(maxlen=n_obs)
        self._actions: deque[Action] = deque(maxlen=max(n_obs - 1, 1))

    def clear(self) -> None:
        """Forget the past episode: before its first step no action was applied, which zeros stand for."""
        self._frames.clear()
        self._actions.clear()
        for _ in range(self._n_obs - 1):
            self._actions.append(np.zeros(self._spec.action.shape, self._spec.action.dtype))

    def see(self, observation: Observation) -> None:
        """Add the newest observation; the first one of an episode fills the window."""
        missing = [key for key in self._spec.observation if key not in observation]
        if missing:
            raise SpecMismatch(f"policy: missing observation keys {missing}; available: {sorted(observation)}")
        frame = {key: np.asarray(observation[key]) for key in self._spec.observation}
        self._frames.extend([frame] * (1 if self._frames else self._n_obs))

    def did(self, action: Action) -> None:
        """Add the action that follows the newest observation."""
        if self._n_obs > 1:
            self._actions.append(np.array(action, self._spec.action.dtype))

    def correct(self, action: Action) -> None:
        """Replace the newest action by what was really applied."""
        if self._n_obs > 1:
            self._actions[-1] = np.array(action, self._spec.action.dtype)

    def window(self) -> Window:
        """Return the window as a batch of one."""
        window = {key: np.stack([frame[key] for frame in self._frames])[None] for key in self._spec.observation}
        width = self._spec.action.shape[0]
        past = np.stack(self._actions) if self._n_obs > 1 else np.zeros((0, width), self._spec.action.dtype)
        window["action"] = past[None]
        return window


def goal_batch(policy: Policy, goal: Goal | None) -> dict[str, NDArray[Any]] | None:
    """Return a goal as a batch of one, in the first way that ``policy`` takes goals and that this one allows; None for none.

    Raises:
        SpecMismatch: A goal was given that lacks keys in every way that the policy takes goals.
    """
    if not goal or not policy.goal_keys:
        return None
    keys = next((keys for keys in policy.goal_choices if all(key in goal for key in keys)), None)
    if keys is None:
        wanted = " or ".join(str(list(keys)) for keys in policy.goal_choices)
        raise SpecMismatch(f"goal: expected {wanted}, which the policy reads, got {sorted(goal)}")
    if INSTRUCTION in keys and not str(goal[INSTRUCTION]).strip():
        raise SpecMismatch("instruction: expected words, got none; policies are never trained on an empty instruction")
    told = {key: encode_instruction(goal[key]) if key == INSTRUCTION else np.asarray(goal[key]) for key in keys}
    return {key: value[None] for key, value in told.items()}


def warm_up(policy: Policy, times: int = 2) -> None:
    """Call ``policy.act`` with made-up input, so that lazy loading and compiling are over before a robot moves."""
    spec = policy.spec
    history = History(spec, policy.n_obs)
    history.clear()
    history.see({key: array.generate_value() for key, array in spec.observation.items()})
    goal = {key: goal_spec(spec, key).generate_value()[None] for keys in policy.goal_choices[:1] for key in keys}
    for _ in range(times):
        policy.act(history.window(), goal or None)


def checked_chunk(policy: Policy, chunk: NDArray[Any]) -> NDArray[Any]:
    """Return the one chunk ``[h, a]`` of a batch of one; raises :class:`SpecMismatch` on another shape."""
    expected = (1, policy.horizon, *policy.spec.action.shape)
    if chunk.shape != expected:
        raise SpecMismatch(f"policy chunk: expected shape {expected}, got {chunk.shape}")
    return np.asarray(chunk[0])
