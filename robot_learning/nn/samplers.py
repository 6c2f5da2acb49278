"""Samplers: pure functions from noise to a sample, given a denoiser D(x, sigma) and noise levels that end in zero.

Notation as in Karras et al. 2022 (EDM) and Lu et al. 2022 (DPM-Solver++): ``d = (x - D) / sigma`` is the slope of the
probability-flow ODE, ``t = -ln sigma`` its logarithmic time. Stochastic samplers draw from the generator they are given.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from robot_learning.core.errors import UnknownName

Denoiser = Callable[[Tensor, float], Tensor]
"""D: noisy sample and noise level in, estimate of the clean sample out."""
Sampler = Callable[[Denoiser, Tensor, Sequence[float], torch.Generator], Tensor]


def _noise(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)


def ddim(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Return the deterministic DDIM sample (Song et al. 2021), ``x <- (s'/s) x + (1 - s'/s) D``."""
    for now, then in pairwise(sigmas):
        ratio = then / now
        x = ratio * x + (1.0 - ratio) * denoise(x, now)
    return x


def euler(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    generator: torch.Generator,
    *,
    churn: float = 0.0,
    churn_range: tuple[float, float] = (0.0, math.inf),
    noise_scale: float = 1.0,
) -> Tensor:
    """Return the sample of EDM's Algorithm 2 without its second-order correction; ``churn = 0`` is the ODE's Euler method."""
    steps = len(sigmas) - 1
    for now, then in pairwise(sigmas):
        gamma = min(churn / steps, math.sqrt(2) - 1) if churn_range[0] <= now <= churn_range[1] else 0.0
        hat = now * (1.0 + gamma)
        if gamma > 0.0:
            x = x + math.sqrt(hat**2 - now**2) * noise_scale * _noise(x, generator)
        x = x + (x - denoise(x, hat)) / hat * (then - hat)
    return x


def ancestral_split(now: float, then: float, eta: float = 1.0) -> tuple[float, float]:
    """Return (sigma_down, sigma_up): where to step to and how much fresh noise to add to arrive at ``then``."""
    up = min(then, eta * math.sqrt(max(then**2 * (now**2 - then**2) / now**2, 0.0)))
    return math.sqrt(max(then**2 - up**2, 0.0)), up


def euler_ancestral(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], generator: torch.Generator) -> Tensor:
    """Return the sample of ancestral sampling with Euler steps (the stochastic sampler of Ho et al. 2020 in sigma terms)."""
    for now, then in pairwise(sigmas):
        down, up = ancestral_split(now, then)
        x = x + (x - denoise(x, now)) / now * (down - now)
        if then > 0.0:
            x = x + up * _noise(x, generator)
    return x


def heun(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Return the sample of EDM's Algorithm 1: Euler, corrected by the trapezoid except at the last step."""
    for now, then in pairwise(sigmas):
        slope = (x - denoise(x, now)) / now
        ahead = x + slope * (then - now)
        if then > 0.0:
            slope = 0.5 * (slope + (ahead - denoise(ahead, then)) / then)
            ahead = x + slope * (then - now)
        x = ahead
    return x


def lms(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    generator: torch.Generator,  # noqa: ARG001
    *,
    order: int = 4,
) -> Tensor:
    """Return the sample of the linear multistep method (Adams-Bashforth on the noise levels' own grid)."""
    slopes: list[Tensor] = []
    for index, now in enumerate(sigmas[:-1]):
        slopes = [(x - denoise(x, now)) / now, *slopes][:order]
        for lag, slope in enumerate(slopes):
            x = x + _adams_weight(sigmas, index, lag, len(slopes)) * slope
    return x


def _adams_weight(sigmas: Sequence[float], index: int, lag: int, order: int) -> float:
    """Return the integral over the step of the Lagrange polynomial that is 1 at the level ``lag`` steps ago."""
    nodes = [sigmas[index - k] for k in range(order)]
    polynomial = [1.0]  # coefficients, lowest power first
    for k, node in enumerate(nodes):
        if k != lag:
            shifted, kept = [0.0, *polynomial], [*polynomial, 0.0]
            polynomial = [(up - node * same) / (nodes[lag] - node) for up, same in zip(shifted, kept, strict=True)]
    start, end = sigmas[index], sigmas[index + 1]
    return sum(value * (end**power - start**power) / power for power, value in enumerate(polynomial, start=1))


def dpmpp_2m(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Return the sample of DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2), first order at the first and last step."""
    before: Tensor | None = None
    width_before = 0.0
    for now, then in pairwise(sigmas):
        clean = denoise(x, now)
        if then == 0.0:
            return clean
        width = math.log(now / then)
        estimate = clean
        if before is not None:
            r = width_before / width
            estimate = (1 + 1 / (2 * r)) * clean - 1 / (2 * r) * before
        x = (then / now) * x - math.expm1(-width) * estimate
        before, width_before = clean, width
    return x


def dpmpp_2s(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Return the sample of DPM-Solver++(2S) (Lu et al. 2022, Algorithm 1) with the mid-point r = 1/2; Euler to zero."""
    for now, then in pairwise(sigmas):
        x = _midpoint_step(denoise, x, now, then)
    return x


def _midpoint_step(denoise: Denoiser, x: Tensor, now: float, then: float) -> Tensor:
    clean = denoise(x, now)
    if then == 0.0:
        return clean
    width = math.log(now / then)
    middle = now * math.exp(-width / 2)
    half = (middle / now) * x - math.expm1(-width / 2) * clean
    return (then / now) * x - math.expm1(-width) * denoise(half, middle)


def dpmpp_sde(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], generator: torch.Generator) -> Tensor:
    """Return the sample of stochastic DPM-Solver++: an ancestral step whose deterministic part is the 2S mid-point step.

    Fresh noise enters once per step, at its end, instead of along a Brownian path at the mid-point too.
    """
    for now, then in pairwise(sigmas):
        down, up = ancestral_split(now, then)
        x = _midpoint_step(denoise, x, now, down)
        if then > 0.0:
            x = x + up * _noise(x, generator)
    return x


SAMPLERS: dict[str, Sampler] = {
    "ddim": ddim,
    "euler": euler,
    "euler_ancestral": euler_ancestral,
    "heun": heun,
    "lms": lms,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2s": dpmpp_2s,
    "dpmpp_sde": dpmpp_sde,
}
STOCHASTIC = ("euler_ancestral", "dpmpp_sde")
"""Samplers that add noise on their way."""


def sampler(name: str) -> Sampler:
    """Return a sampler by name; raises :class:`UnknownName` with the nearest names."""
    if name not in SAMPLERS:
        raise UnknownName("sampler", name, SAMPLERS)
    return SAMPLERS[name]
