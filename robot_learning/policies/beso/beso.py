"""BESO: BEhavior generation with ScOre-based diffusion policies (Reuss, Li, Jia, Lioutikov, RSS 2023).

A goal-conditioned policy p(a | s, g) learned from play by denoising score matching on actions:

    L = E [ || F(c_in x, s, g, c_noise) - (a - c_skip x) / c_out ||^2 ],   x = a + sigma eps,
    sigma ~ log-logistic(ln sigma_data, 0.5) truncated to [sigma_min, sigma_max]

with goals taken from the future of the same episode. To act, x ~ N(0, sigma_max^2) is denoised in three steps. CFG-BESO drops
the goal of whole samples while training, and guides with D = D_none + lambda (D_goal - D_none) when acting.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from robot_learning.core.errors import ConfigError, SpecMismatch
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.denoiser import denoise_at, denoising_loss, truncated_loglogistic
from robot_learning.nn.normalizer import MinMax
from robot_learning.nn.samplers import sampler as find_sampler
from robot_learning.nn.schedules import noise_levels
from robot_learning.policies.policy import LearnedPolicy, build_part
from robot_learning.policies.window import WindowEncoder, fitting, mismatches

_OVERSHOOT = 1.1
"""Sampled actions are clamped to the data's bounds times this, as the authors do."""


class BESO(LearnedPolicy):
    """Goal-conditioned score-based diffusion policy.

    Args:
        spec: The robot.
        statistics: Statistics of the training data: ``action`` and every key used.
        observation_keys: Observation keys to condition on.
        goal_keys: Goal keys to condition on; empty for a policy without goals.
        n_obs: Observed steps t.
        horizon: Steps h in a chunk; 1 is the paper.
        network: ``_target_`` and settings of the score network, see :mod:`.networks`.
        sigma_data: Spread of the scaled actions that the preconditioning assumes.
        sigma_min: Smallest noise level.
        sigma_max: Largest noise level.
        draws: Noise draws per window and training step; they share the encoding of what was seen, which costs most.
        goal_dropout: Probability of hiding a sample's goal: 0 is C-BESO, 0.1 the paper's CFG-BESO.
        guidance: lambda when acting: 1 is plain conditioning, 0 ignores the goal.
        sampler: Name of a sampler, see :mod:`robot_learning.nn.samplers`.
        schedule: ``exponential``, ``karras`` or ``linear``.
        steps: Denoising steps.
        freeze_past: Keep the past actions of the window fixed while sampling (networks that see past actions).
        image_features: Size of an encoded image.
        interchangeable: Keys that hold several like objects, see :class:`robot_learning.policies.window.WindowEncoder`.
    """

    def __init__(
        self,
        spec: RobotSpec,
        statistics: Mapping[str, Stats],
        *,
        observation_keys: Sequence[str],
        goal_keys: Sequence[str] = (),
        n_obs: int = 1,
        horizon: int = 1,
        network: Mapping[str, Any],
        sigma_data: float = 0.5,
        sigma_min: float = 0.05,
        sigma_max: float = 1.0,
        draws: int = 1,
        goal_dropout: float = 0.0,
        guidance: float = 1.0,
        sampler: str = "ddim",
        schedule: str = "exponential",
        steps: int = 3,
        freeze_past: bool = False,
        image_features: int = 64,
        interchangeable: Mapping[str, int] | None = None,
    ) -> None:
        """Build encoder, network and noise levels."""
        super().__init__(spec, observation_keys, goal_keys, n_obs, horizon)
        if not 0 < sigma_min < sigma_max or steps < 1 or draws < 1 or not 0 <= goal_dropout < 1:
            raise ConfigError(
                f"BESO: expected 0 < sigma_min < sigma_max, steps >= 1, draws >= 1 and goal_dropout in [0, 1), got "
                f"{sigma_min}, {sigma_max}, {steps}, {draws} and {goal_dropout}"
            )
        if guidance != 1.0 and goal_dropout == 0.0:
            raise ConfigError(f"BESO: guidance {guidance} needs a network trained with goal_dropout > 0")
        self.encoder = WindowEncoder(spec, statistics, observation_keys, goal_keys, image_features, interchangeable)
        self.actions = MinMax(fitting(statistics, "action", spec.action))
        self.network = build_part(
            network,
            n_obs=n_obs,
            horizon=horizon,
            **self.encoder.related_sizes,
            action_size=spec.action.shape[0],
        )
        self.sigma_data, self.sigma_min, self.sigma_max = sigma_data, sigma_min, sigma_max
        self.draws = draws
        self.goal_dropout, self.guidance, self.freeze_past = goal_dropout, guidance, freeze_past
        self._past = n_obs - 1 if self.network.past_actions else 0
        self._sample = find_sampler(sampler)
        self._sigmas = noise_levels(schedule, steps, sigma_min, sigma_max).tolist()
        self.reset()

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the denoising loss of a batch (see the module's formula), over unpadded actions."""
        augment = generator if self.training else None
        first = self.n_obs - 1 - self._past
        clean = self.actions(batch["action"][:, first:].float())
        states = self.encoder.observe(batch["observation"], augment)
        goal = self._goal(batch.get("goal"), clean, augment)
        if self.goal_dropout > 0.0 and self.training:
            kept = torch.rand(len(clean), 1, generator=generator, device=generator.device) >= self.goal_dropout
            goal = goal * kept.to(goal)
        context = self.network.context(*self.encoder.relate(states, goal))
        mask = batch["action_mask"][:, first:]
        if self.draws > 1 and self.training:
            context, clean, mask = (rows.repeat(self.draws, *[1] * (rows.dim() - 1)) for rows in (context, clean, mask))
        sigma = self._draw_sigma(len(clean), generator).to(clean)
        noise = torch.randn(clean.shape, generator=generator, device=generator.device).to(clean)
        value = denoising_loss(
            lambda x, level: self.network(context, x, level).float(), clean, sigma, noise, self.sigma_data, mask
        )
        return value, {}

    def reset(self, *, seed: int | None = None) -> None:
        """Start an episode: the noise of its chunks is drawn from ``seed``."""
        self._generator = torch.Generator().manual_seed(0 if seed is None else seed)

    @torch.inference_mode()
    def act(
        self,
        window: Mapping[str, NDArray[Any]],
        goal: Mapping[str, NDArray[Any]] | None = None,
        *,
        noise: Float[Tensor, "b n a"] | None = None,
    ) -> NDArray[np.float32]:
        """Return a chunk ``[b, h, a]`` in raw units; see :class:`robot_learning.core.protocols.Policy`.

        ``noise`` (standard normal, all denoised slots) replaces the generator's, for tests and exports.
        """
        states = self.encoder.observe(self.encoder.tensors(window, self.observation_keys, self.n_obs))
        x = self._start(window, states, noise)
        past = x[:, : self._past].clone()
        context = self._context(states, goal)
        network = partial(self.network, context)

        def estimate(x: Tensor, sigma: float) -> Tensor:
            if self.freeze_past and self._past:
                x = torch.cat([past, x[:, self._past :]], dim=1)
            if len(context) == len(x):
                return denoise_at(network, x, sigma, self.sigma_data)
            aimed, free = denoise_at(network, torch.cat([x, x]), sigma, self.sigma_data).chunk(2)
            guided: Tensor = free + self.guidance * (aimed - free)
            return guided

        sample = self._sample(estimate, x, self._sigmas, self._generator)[:, self._past :]
        chunk: NDArray[np.float32] = self.actions.inverse(sample.clamp(-_OVERSHOOT, _OVERSHOOT)).cpu().numpy()
        return chunk

    def _start(self, window: Mapping[str, NDArray[Any]], states: Tensor, noise: Tensor | None) -> Float[Tensor, "b n a"]:
        """Return what sampling starts from: noise, and where the network sees past actions, those that were applied."""
        shape = (len(states), self._past + self.horizon, self.spec.action.shape[0])
        if noise is None:
            noise = torch.randn(shape, generator=self._generator)
        x: Tensor = noise.to(states) * self._sigmas[0]
        if self._past:
            x[:, : self._past] = self.actions(self._applied(window, len(states)).to(states))
        return x

    def _applied(self, window: Mapping[str, NDArray[Any]], batch: int) -> Tensor:
        """Return the actions applied between the observed steps; raises :class:`SpecMismatch` where they do not fit."""
        wrong = mismatches(window, "action", (self._past, *self.spec.action.shape), batch)
        if wrong:
            raise SpecMismatch(f"window: {wrong[0]}")
        return torch.as_tensor(np.asarray(window["action"]))

    def _context(self, states: Tensor, goal: Mapping[str, NDArray[Any]] | None) -> Tensor:
        """Return the embedded conditions; for guidance twice as many, with the goal and then without."""
        aimed = None
        if goal is not None and self.goal_keys:
            aimed = self.encoder.aim(self.encoder.tensors(goal, self.goal_keys, None, len(states)))
        elif self.goal_keys and self.goal_dropout == 0.0:
            raise SpecMismatch(
                f"goal: expected {list(self.goal_keys)}, got none; only a policy trained with goal_dropout > 0 acts without"
            )
        nothing = states.new_zeros(len(states), self.encoder.goal_size)
        if aimed is None or self.guidance == 0.0:
            condition = nothing
        elif self.guidance == 1.0:
            condition = aimed
        else:
            condition, states = torch.cat([aimed, nothing]), torch.cat([states, states])
        context: Tensor = self.network.context(*self.encoder.relate(states, condition))
        return context

    def _goal(self, goal: Mapping[str, Tensor] | None, like: Tensor, augment: torch.Generator | None) -> Tensor:
        if not self.goal_keys:
            return like.new_zeros(len(like), 0)
        if goal is None:
            raise SpecMismatch(f"batch: expected a goal with {list(self.goal_keys)}; set data.goal to future or final")
        return self.encoder.aim(goal, augment)

    def _draw_sigma(self, count: int, generator: torch.Generator) -> Tensor:
        return truncated_loglogistic(
            count,
            loc=math.log(self.sigma_data),
            scale=0.5,
            low=self.sigma_min,
            high=self.sigma_max,
            generator=generator,
        )
