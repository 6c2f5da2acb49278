"""Latent variables with a learned prior: what a network puts out for them, their divergence, and a draw.

Draws are functions of standard normal noise, so that the same noise gives the same draw in PyTorch and in an exported graph.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from robot_learning.nn.noise import uniform

_SMALLEST_STD = 1e-4
_EDGE = 1e-6


class Latent(nn.Module, ABC):
    """A family of distributions over vectors.

    Attributes:
        size: Size of a drawn vector.
        parameters_size: Numbers that describe one distribution.
        noise_size: Standard normal numbers that a draw takes.
    """

    size: int
    parameters_size: int
    noise_size: int

    @abstractmethod
    def divergence(self, q: Float[Tensor, "*n p"], p: Float[Tensor, "*n p"]) -> Float[Tensor, "*n"]:
        """Return KL(q || p) [nats], summed over the vector."""

    @abstractmethod
    def draw(self, p: Float[Tensor, "*n p"], noise: Float[Tensor, "*n u"]) -> Float[Tensor, "*n z"]:
        """Return a draw from ``p`` through which gradients flow back to it."""

    def balanced(self, q: Tensor, p: Tensor, share: float | None) -> Tensor:
        """Return KL(q || p), with its gradient split between the two as in Hafner et al., "DreamerV2", ICLR 2021, and HULC.

        Args:
            q: The posterior's parameters.
            p: The prior's.
            share: Part of the gradient that moves the prior towards the posterior (0.8 in HULC); None is plain KL.
        """
        if share is None:
            return self.divergence(q, p)
        return share * self.divergence(q.detach(), p) + (1 - share) * self.divergence(q, p.detach())


class GaussianLatent(Latent):
    """Independent normals; parameters are the means, then the standard deviations before the softplus.

    Args:
        size: Dimensions; 256 in Play-LMP.
    """

    def __init__(self, size: int = 256) -> None:
        """Keep the sizes."""
        super().__init__()
        self.size, self.parameters_size, self.noise_size = size, 2 * size, size

    def divergence(self, q: Tensor, p: Tensor) -> Tensor:
        """Return ``sum(ln(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2)``."""
        (mean_q, std_q), (mean_p, std_p) = self._moments(q), self._moments(p)
        terms = torch.log(std_p / std_q) + (std_q**2 + (mean_q - mean_p) ** 2) / (2 * std_p**2) - 0.5
        return terms.sum(dim=-1)

    def draw(self, p: Tensor, noise: Tensor) -> Tensor:
        """Return ``mean + std * noise``."""
        mean, std = self._moments(p)
        return mean + std * noise

    def _moments(self, p: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = p.float().chunk(2, dim=-1)
        return mean, F.softplus(raw) + _SMALLEST_STD


class CategoricalLatent(Latent):
    """Several categorical variables, drawn as one-hot vectors with straight-through gradients (HULC, after DreamerV2).

    Args:
        groups: Number of variables.
        classes: Classes of each.
    """

    def __init__(self, groups: int = 32, classes: int = 32) -> None:
        """Keep the sizes."""
        super().__init__()
        self.groups, self.classes = groups, classes
        self.size = self.parameters_size = self.noise_size = groups * classes

    def divergence(self, q: Tensor, p: Tensor) -> Tensor:
        """Return ``sum(q (ln q - ln p))`` over variables and classes."""
        log_q, log_p = self._log_probabilities(q), self._log_probabilities(p)
        return (log_q.exp() * (log_q - log_p)).sum(dim=(-2, -1))

    def draw(self, p: Tensor, noise: Tensor) -> Tensor:
        """Return one-hot vectors side by side, chosen by the Gumbel maximum."""
        log_p = self._log_probabilities(p)
        gumbel = -torch.log(-torch.log(uniform(noise).clamp(_EDGE, 1 - _EDGE)))
        chosen = F.one_hot((log_p + gumbel.view(log_p.shape)).argmax(dim=-1), self.classes).to(log_p)
        straight = chosen + log_p.exp() - log_p.exp().detach()
        return straight.flatten(-2)

    def _log_probabilities(self, p: Tensor) -> Tensor:
        return p.float().view(*p.shape[:-1], self.groups, self.classes).log_softmax(dim=-1)
