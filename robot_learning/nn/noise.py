"""Random numbers of one kind from those of another, by operations that every runtime has."""

import math

import torch
from torch import Tensor


def uniform(normal: Tensor) -> Tensor:
    """Return the normal distribution function: what is uniform in [0, 1] where ``normal`` is standard normal."""
    return 0.5 * (1.0 + torch.erf(normal * math.sqrt(0.5)))
