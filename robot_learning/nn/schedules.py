"""Noise levels to sample with: n of them from sigma_max down to sigma_min, and a final zero."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from robot_learning.core.errors import UnknownName


def karras(steps: int, low: float, high: float, rho: float = 7.0) -> Float[Tensor, " n"]:
    """Return ``(high^(1/rho) + i/(n-1) (low^(1/rho) - high^(1/rho)))^rho`` (Karras et al. 2022, Eq. 5)."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels: Tensor = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return levels


def exponential(steps: int, low: float, high: float) -> Float[Tensor, " n"]:
    """Return levels that are evenly spaced in ln(sigma)."""
    return torch.linspace(math.log(high), math.log(low), steps, dtype=torch.float64).exp()


def linear(steps: int, low: float, high: float) -> Float[Tensor, " n"]:
    """Return evenly spaced levels."""
    return torch.linspace(high, low, steps, dtype=torch.float64)


SCHEDULES: dict[str, Callable[[int, float, float], Tensor]] = {
    "karras": lambda steps, low, high: karras(steps, low, high, rho=5.0),  # BESO's rho
    "exponential": exponential,
    "linear": linear,
}


def noise_levels(name: str, steps: int, low: float, high: float) -> Float[Tensor, " m"]:
    """Return a schedule's ``steps`` levels and the final zero, float64."""
    if name not in SCHEDULES:
        raise UnknownName("schedule", name, SCHEDULES)
    return torch.cat([SCHEDULES[name](steps, low, high), torch.zeros(1, dtype=torch.float64)])
