"""Normalisers that live inside a policy, so that raw units go in and come out."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from robot_learning.core.types import Stats

_CONSTANT = 1e-4
"""A dimension whose spread is below this is left at scale 1: it carries no information to blow up."""


class Standardize(nn.Module):
    """``(x - mean) / std``, element by element.

    Args:
        stats: Statistics of the array; only ``mean`` and ``std`` are used.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, stats: Stats) -> None:
        """Keep mean and scale as buffers."""
        super().__init__()
        std = np.where(np.abs(stats.std) < _CONSTANT, 1.0, stats.std)
        self.register_buffer("shift", torch.as_tensor(stats.mean.ravel(), dtype=torch.float32))
        self.register_buffer("scale", torch.as_tensor(std.ravel(), dtype=torch.float32))

    def forward(self, x: Float[Tensor, "*n s"]) -> Float[Tensor, "*n s"]:
        """Return ``x`` in units of its spread."""
        return (x - self.shift) / self.scale

    def inverse(self, x: Float[Tensor, "*n s"]) -> Float[Tensor, "*n s"]:
        """Return ``x`` in raw units."""
        return x * self.scale + self.shift


class SteadyStandardize(Standardize):
    """Standardise actions.

    A dimension that never changed in the data comes back as that constant, whatever a network says about it: a policy must
    not move a robot along an axis that nobody ever moved it along.
    """

    moves: Tensor

    def __init__(self, stats: Stats) -> None:
        """Keep mean, scale and which dimensions move as buffers."""
        super().__init__(stats)
        moves = (stats.high - stats.low).ravel() / 2 >= _CONSTANT
        self.register_buffer("moves", torch.as_tensor(moves, dtype=torch.float32))

    def inverse(self, x: Float[Tensor, "*n s"]) -> Float[Tensor, "*n s"]:
        """Return ``x`` in raw units, constants as they were."""
        return x * self.scale * self.moves + self.shift


class MinMax(SteadyStandardize):
    """Map ``[low, high]`` to ``[-1, 1]``, element by element (the action scaling of BESO and Diffusion Policy).

    A dimension that never changed comes back as that constant here too.
    """

    def __init__(self, stats: Stats) -> None:
        """Keep centre and half range as buffers."""
        super().__init__(stats)
        half = (stats.high - stats.low).ravel() / 2
        self.shift = torch.as_tensor((stats.high + stats.low).ravel() / 2, dtype=torch.float32)
        self.scale = torch.as_tensor(np.where(self.moves.numpy() > 0, half, 1.0), dtype=torch.float32)
