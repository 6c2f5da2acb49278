"""Karras preconditioning and its training objective.

Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022, Table 1 and Eq. 7-8:

    D(x, s) = c_skip(s) x + c_out(s) F(c_in(s) x, c_noise(s))
    c_skip = sd^2 / (s^2 + sd^2)    c_out = s sd / sqrt(s^2 + sd^2)    c_in = 1 / sqrt(s^2 + sd^2)    c_noise = ln(s) / 4

with data spread sd. The loss weight 1 / c_out^2 makes the network's own target ``(a - c_skip x) / c_out`` of unit variance at
every noise level. BESO (Reuss et al., RSS 2023) draws the noise level from a truncated log-logistic distribution.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Network = Callable[[Float[Tensor, "b n a"], Float[Tensor, " b"]], Float[Tensor, "b n a"]]
"""F of the equations: scaled noisy actions and c_noise in, network output out."""


class Scalings(NamedTuple):
    """The four coefficients at given noise levels."""

    skip: Tensor
    out: Tensor
    in_: Tensor
    noise: Tensor


def karras_scalings(sigma: Tensor, sigma_data: float) -> Scalings:
    """Return c_skip, c_out, c_in and c_noise (Karras et al. 2022, Table 1, column "Ours")."""
    variance = sigma**2 + sigma_data**2
    return Scalings(sigma_data**2 / variance, sigma * sigma_data / variance.sqrt(), variance.rsqrt(), sigma.log() / 4)


def denoise(
    network: Network, x: Float[Tensor, "b n a"], sigma: Float[Tensor, " b"], sigma_data: float
) -> Float[Tensor, "b n a"]:
    """Return D(x, sigma), the estimate of the clean actions (Eq. 7)."""
    scale = karras_scalings(sigma, sigma_data)
    skip, out, in_ = (value.view(-1, 1, 1) for value in scale[:3])
    return skip * x + out * network(in_ * x, scale.noise)


def denoise_at(network: Network, x: Float[Tensor, "b n a"], sigma: float, sigma_data: float) -> Float[Tensor, "b n a"]:
    """Return D(x, sigma) at one noise level for the whole batch: :func:`denoise` with the coefficients as plain numbers."""
    variance = sigma**2 + sigma_data**2
    spread = math.sqrt(variance)
    raw = network(x / spread, x.new_full((len(x),), math.log(sigma) / 4))
    return torch.add(x * (sigma_data**2 / variance), raw, alpha=sigma * sigma_data / spread)


def denoising_loss(
    network: Network,
    clean: Float[Tensor, "b n a"],
    sigma: Float[Tensor, " b"],
    noise: Float[Tensor, "b n a"],
    sigma_data: float,
    mask: Bool[Tensor, "b n"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean of :func:`denoising_errors`.

    ``mask`` is False where an action is padding; such entries count in neither numerator nor denominator.
    """
    return masked_mean(denoising_errors(network, clean, sigma, noise, sigma_data), mask)


def denoising_errors(
    network: Network,
    clean: Float[Tensor, "b n a"],
    sigma: Float[Tensor, " b"],
    noise: Float[Tensor, "b n a"],
    sigma_data: float,
) -> Float[Tensor, "b n a"]:
    """Return the squared errors of F against ``(a - c_skip x) / c_out`` with ``x = a + sigma noise`` (Eq. 8)."""
    scale = karras_scalings(sigma, sigma_data)
    skip, out, in_ = (value.view(-1, 1, 1) for value in scale[:3])
    noisy = clean + sigma.view(-1, 1, 1) * noise
    error: Tensor = (network(in_ * noisy, scale.noise) - (clean - skip * noisy) / out) ** 2
    return error


def masked_mean(error: Float[Tensor, "b n a"], mask: Bool[Tensor, "b n"] | None) -> Float[Tensor, ""]:
    """Return the mean over the entries that are no padding."""
    if mask is None:
        return error.mean()
    weight = mask.unsqueeze(-1).to(error.dtype)
    return (error * weight).sum() / (weight.sum() * error.shape[-1]).clamp_min(1.0)


def truncated_loglogistic(
    count: int, *, loc: float, scale: float, low: float, high: float, generator: torch.Generator
) -> Float[Tensor, " n"]:
    """Return noise levels from a log-logistic distribution truncated to ``[low, high]``, by inverse CDF.

    ``cdf(s) = sigmoid((ln s - loc) / scale)``; ``u ~ U[cdf(low), cdf(high)]``; ``s = exp(scale logit(u) + loc)``.
    BESO uses ``loc = ln(sigma_data)`` and ``scale = 0.5``. Computed in float64.
    """
    first, last = (1 / (1 + math.exp(-(math.log(bound) - loc) / scale)) for bound in (low, high))
    u = torch.rand(count, generator=generator, dtype=torch.float64, device=generator.device)
    sigma = torch.exp(scale * torch.logit(first + (last - first) * u) + loc)
    return sigma.clamp(low, high).float()
