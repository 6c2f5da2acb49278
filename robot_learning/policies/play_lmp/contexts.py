"""Goals of several kinds in one space, so that one policy is told what to do by a scene, a picture or words.

MCIL (Lynch and Sermanet, "Language Conditioned Imitation Learning over Unstructured Data", RSS 2021): each kind of goal, a
context, has an encoder of its own into a space that they share, and what follows does not know which one spoke.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.core.language import INSTRUCTION
from robot_learning.policies.play_lmp.networks import Perceptron
from robot_learning.policies.window import WindowEncoder

Aim = tuple[Float[Tensor, "b g"], Bool[Tensor, " b"] | None]
"""A goal per window, and which windows have one; None for all of them."""

SPACE = {"size": 32, "width": 2048, "layers": 2}
"""Size of the space and of its perceptrons in MCIL as published with CALVIN."""


def read_contexts(contexts: Mapping[str, Sequence[str]], prefer: str | None) -> dict[str, tuple[str, ...]]:
    """Return the goal keys of every context, the preferred one first.

    Raises:
        ConfigError: A context without keys.
        UnknownName: ``prefer`` is none of them.
    """
    found = {str(name): tuple(keys) for name, keys in contexts.items()}
    if not found or not all(found.values()):
        raise ConfigError(f"contexts: expected a name and goal keys for each, e.g. {{language: [instruction]}}, got {found}")
    if prefer is not None and prefer not in found:
        raise UnknownName("context to prefer", prefer, found)
    return dict(sorted(found.items(), key=lambda item: item[0] != prefer))


class GoalSpace(nn.Module):
    """One perceptron per context into the space of goals.

    Args:
        contexts: Goal keys by context.
        sizes: Columns that each key takes, see :class:`robot_learning.policies.window.WindowEncoder`.
        size: Size of the space.
        width: Units per layer.
        layers: Layers.
    """

    def __init__(
        self,
        contexts: Mapping[str, tuple[str, ...]],
        sizes: Mapping[str, int],
        *,
        size: int,
        width: int,
        layers: int,
    ) -> None:
        """Make the perceptrons."""
        super().__init__()
        self.contexts = dict(contexts)
        inputs = {name: sum(sizes[key] for key in keys) for name, keys in contexts.items()}
        made = {name: Perceptron(count, size, width=width, layers=layers) for name, count in inputs.items()}
        self.encoders = nn.ModuleDict(made)

    def forward(self, encoder: WindowEncoder, goal: Mapping[str, Tensor]) -> Float[Tensor, "b g"]:
        """Return the goal told in the first context whose keys are all there."""
        name = next(name for name, keys in self.contexts.items() if all(key in goal for key in keys))
        return self._embed(name, encoder, goal, None)

    def every(self, encoder: WindowEncoder, goal: Mapping[str, Tensor], generator: torch.Generator | None) -> dict[str, Aim]:
        """Return the goals of a training batch in every context; a window without an instruction has none in words."""
        told = {}
        for name, keys in self.contexts.items():
            has = (goal[INSTRUCTION] != 0).any(dim=-1) if INSTRUCTION in keys else None
            told[name] = self._embed(name, encoder, goal, generator), has
        return told

    def _embed(
        self, name: str, encoder: WindowEncoder, goal: Mapping[str, Tensor], generator: torch.Generator | None
    ) -> Float[Tensor, "b g"]:
        embedded: Tensor = self.encoders[name](encoder.aim(goal, generator, self.contexts[name]))
        return embedded
