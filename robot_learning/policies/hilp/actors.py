"""The actors of HILP: pi(a | s, z) as the paper's Gaussian, or as a denoised chunk of actions.

Both are learned by advantage-weighted regression: what they call ``surprise`` is weighted per sample and minimised.
"""

import math
from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError
from robot_learning.nn.denoiser import denoise_at, denoising_errors, truncated_loglogistic
from robot_learning.nn.samplers import ddim
from robot_learning.nn.schedules import noise_levels
from robot_learning.nn.score import MLPScore
from robot_learning.policies.hilp.networks import Conditioned, Joined

_LOG_STD = (-5.0, 2.0)
"""Bounds of the Gaussian's log standard deviation (the authors' values)."""


class Actor(nn.Module, ABC):
    """A distribution over chunks of scaled actions, given a state and a latent.

    Attributes:
        horizon: Actions h in a chunk.
        noise_size: Standard normal numbers that one chunk takes.
    """

    horizon: int
    noise_size: int

    @abstractmethod
    def surprise(
        self,
        state: Float[Tensor, "b s"],
        latent: Float[Tensor, "b z"],
        actions: Float[Tensor, "b h a"],
        mask: Bool[Tensor, "b h"],
        moves: Float[Tensor, " a"],
        generator: torch.Generator,
    ) -> Float[Tensor, " b"]:
        """Return how little the actor expects the actions, per sample: -log pi(a | s, z), or what stands for it.

        ``mask`` is False where an action is padding, ``moves`` 0 for dims that never move.
        """

    @abstractmethod
    def act(
        self, state: Float[Tensor, "b s"], latent: Float[Tensor, "b z"], noise: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b h a"]:
        """Return scaled actions."""


class GaussianActor(Actor):
    """One action at a time, normal around a perceptron's answer; acting takes the mean.

    Args:
        action_size: Action dims.
        spread: Standard deviation, the same for all dims: the loss is then the squared error. None learns one for each, as
            published.
        given: Of :class:`robot_learning.policies.hilp.networks.Conditioned`.
    """

    horizon, noise_size = 1, 0

    def __init__(self, *, action_size: int, spread: float | None = None, **given: Any) -> None:
        """Make the network."""
        super().__init__()
        if spread is not None and spread <= 0:
            raise ConfigError(f"GaussianActor: expected a positive spread, or null to learn it, got {spread}")
        self.network = Conditioned(**given, outputs=action_size)
        self.log_std = nn.Parameter(torch.full((action_size,), math.log(spread or 1.0)), requires_grad=spread is None)

    def surprise(
        self,
        state: Tensor,
        latent: Tensor,
        actions: Tensor,
        mask: Tensor,  # noqa: ARG002 - of one action, which the weights leave out
        moves: Tensor,
        generator: torch.Generator,  # noqa: ARG002
    ) -> Float[Tensor, " b"]:
        """Return -log pi(a), without the dims that never move: their density would know no bounds."""
        mean = self.network(state, latent).float()
        log_std = self.log_std.clamp(*_LOG_STD)
        scaled = (actions[:, 0] - mean) / log_std.exp()
        terms: Tensor = 0.5 * scaled**2 + log_std + 0.5 * math.log(2 * math.pi)
        return (terms * moves).sum(-1)

    def act(self, state: Tensor, latent: Tensor, noise: Tensor) -> Float[Tensor, "b 1 a"]:  # noqa: ARG002
        """Return the mean."""
        mean: Tensor = self.network(state, latent)
        return mean.unsqueeze(1)


class DenoisingActor(Actor):
    """Chunks of actions from a few denoising steps, so that what is done in several ways is not answered by their mean.

    An extension of ours. The weighted denoising error takes the place of -log pi, of which it is a bound up to the weights of
    the noise levels (Ho et al., NeurIPS 2020, Eq. 12); noise levels, preconditioning and sampler are BESO's, see
    :mod:`robot_learning.nn.denoiser`.

    Args:
        action_size: Action dims.
        horizon: Actions in a chunk.
        width: Features inside.
        blocks: Residual blocks.
        draws: Noise draws per sample and update; they share its pooled objects.
        steps: Denoising steps.
        sigma_data: Spread of the scaled actions that the preconditioning assumes.
        sigma_min: Smallest noise level.
        sigma_max: Largest noise level; it must drown the data, or three steps cannot pick a way.
        given: Of :class:`robot_learning.policies.hilp.networks.Joined`.
    """

    def __init__(
        self,
        *,
        action_size: int,
        horizon: int = 8,
        width: int = 512,
        blocks: int = 3,
        draws: int = 4,
        steps: int = 3,
        sigma_data: float = 0.5,
        sigma_min: float = 0.02,
        sigma_max: float = 5.0,
        **given: Any,
    ) -> None:
        """Make the network and the noise levels."""
        super().__init__()
        if not 0 < sigma_min < sigma_max or min(horizon, draws, steps) < 1:
            raise ConfigError(
                "DenoisingActor: expected horizon, draws and steps >= 1 and 0 < sigma_min < sigma_max, got "
                f"{horizon}, {draws}, {steps}, {sigma_min} and {sigma_max}"
            )
        self.horizon, self.noise_size, self.draws, self.sigma_data = horizon, horizon * action_size, draws, sigma_data
        self.joined = Joined(**given)
        self.network = MLPScore(1, horizon, self.joined.joined_size, 0, action_size, width=width, blocks=blocks)
        self._sigmas: list[float] = noise_levels("exponential", steps, sigma_min, sigma_max).tolist()

    def surprise(
        self, state: Tensor, latent: Tensor, actions: Tensor, mask: Tensor, moves: Tensor, generator: torch.Generator
    ) -> Float[Tensor, " b"]:
        """Return the denoising error, the mean over draws, actions that are no padding, and dims that move."""
        context = self._context(state, latent)
        context, clean = (rows.repeat(self.draws, *[1] * (rows.dim() - 1)) for rows in (context, actions))
        low, high = self._sigmas[-2], self._sigmas[0]
        sigma = truncated_loglogistic(
            len(clean), loc=math.log(self.sigma_data), scale=0.5, low=low, high=high, generator=generator
        ).to(clean)
        noise = torch.randn(clean.shape, generator=generator, device=generator.device).to(clean)
        errors = denoising_errors(
            lambda x, level: self.network(context, x, level).float(), clean, sigma, noise, self.sigma_data
        )
        counted = mask.unsqueeze(-1) * moves
        weighed: Tensor = (errors.view(self.draws, *actions.shape).mean(0) * counted).sum((1, 2))
        return weighed / counted.sum((1, 2)).clamp(min=1.0)

    def act(self, state: Tensor, latent: Tensor, noise: Tensor) -> Float[Tensor, "b h a"]:
        """Return the chunk that the noise is denoised to."""
        network = partial(self.network, self._context(state, latent))
        x = noise.view(len(noise), self.horizon, -1) * self._sigmas[0]
        return ddim(lambda x, sigma: denoise_at(network, x, sigma, self.sigma_data), x, self._sigmas, torch.default_generator)

    def _context(self, state: Tensor, latent: Tensor) -> Float[Tensor, "b w"]:
        joined = self.joined.join(state, latent)
        return self.network.context(joined.unsqueeze(1), joined[:, :0])
