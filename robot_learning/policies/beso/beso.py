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

import torch
from jaxtyping import Float
from torch import Tensor

from robot_learning.core.errors import ConfigError
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.denoiser import denoise_at, denoising_loss, truncated_loglogistic
from robot_learning.nn.normalizer import MinMax
from robot_learning.nn.parts import build_part
from robot_learning.nn.samplers import STOCHASTIC
from robot_learning.nn.samplers import sampler as find_sampler
from robot_learning.nn.schedules import noise_levels
from robot_learning.policies.policy import LearnedPolicy, Tensors
from robot_learning.policies.window import WindowEncoder, fitting

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
        vision: Settings of :class:`robot_learning.nn.cameras.Cameras`; None: a small encoder for each camera.
        interchangeable: Keys that hold several like objects, see :class:`robot_learning.policies.window.WindowEncoder`.
        language: ``_target_`` and settings of what reads instructions; None is the default of
            :class:`robot_learning.policies.window.WindowEncoder`.
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
        vision: Mapping[str, Any] | None = None,
        interchangeable: Mapping[str, int] | None = None,
        language: Mapping[str, Any] | None = None,
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
        self.encoder = WindowEncoder(spec, statistics, observation_keys, goal_keys, vision, interchangeable, language=language)
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
        self.n_past = n_obs - 1 if self.network.past_actions else 0
        self.noise_shape, self.goal_optional = (self.n_past + horizon, spec.action.shape[0]), goal_dropout > 0
        self._sample, self.repeatable = find_sampler(sampler), sampler not in STOCHASTIC
        self._sigmas = noise_levels(schedule, steps, sigma_min, sigma_max).tolist()

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the denoising loss of a batch (see the module's formula), over unpadded actions."""
        first = self.n_obs - 1 - self.n_past
        clean = self.actions(batch["action"][:, first:].float())
        states, goal = self.encoder.see(batch["observation"], batch.get("goal"), generator if self.training else None)
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

    def forward(self, seen: Tensors, goal: Tensors, noise: Tensor, memory: Tensors) -> tuple[Tensor, Tensors]:
        """Return a chunk ``[b, h, a]`` in raw units; see :class:`robot_learning.policies.policy.LearnedPolicy`.

        ``noise`` is what sampling starts from, for all denoised slots; where the network sees past actions, those that were
        applied take its place. What stochastic samplers add comes from the policy's generator.
        """
        sample = self._denoised(seen, goal, noise, [])
        return self.actions.inverse(sample.clamp(-_OVERSHOOT, _OVERSHOOT)), memory

    def trace(self, seen: Tensors, goal: Tensors, noise: Tensor) -> list[tuple[str, Tensor]]:
        """Return the estimate D of the clean chunk at every noise level."""
        estimates: list[tuple[float, Tensor]] = []
        self._denoised(seen, goal, noise, estimates)
        return [(f"noise {sigma:.3g}", self.actions.inverse(value)) for sigma, value in estimates]

    def _denoised(
        self, seen: Tensors, goal: Tensors, noise: Tensor, estimates: list[tuple[float, Tensor]]
    ) -> Float[Tensor, "b h a"]:
        """Return the scaled chunk; what the network thought of it on the way is appended to ``estimates``."""
        x = noise * self._sigmas[0]
        if self.n_past:
            x = torch.cat([self.actions(seen["action"].float()), x[:, self.n_past :]], dim=1)
        past = x[:, : self.n_past]
        context = self._context(self.encoder.observe(seen), goal)
        network = partial(self.network, context)

        def estimate(x: Tensor, sigma: float) -> Tensor:
            if self.freeze_past and self.n_past:
                x = torch.cat([past, x[:, self.n_past :]], dim=1)
            if len(context) == len(x):
                clean = denoise_at(network, x, sigma, self.sigma_data)
            else:
                aimed, free = denoise_at(network, torch.cat([x, x]), sigma, self.sigma_data).chunk(2)
                clean = free + self.guidance * (aimed - free)
            estimates.append((sigma, clean[:, self.n_past :]))
            return clean

        return self._sample(estimate, x, self._sigmas, self._generator)[:, self.n_past :]

    def _context(self, states: Tensor, goal: Tensors) -> Tensor:
        """Return the embedded conditions; for guidance twice as many, with the goal and then without."""
        nothing = states.new_zeros(len(states), self.encoder.goal_size)
        if not goal or self.guidance == 0.0:
            condition = nothing
        elif self.guidance == 1.0:
            condition = self.encoder.aim(goal)
        else:
            condition, states = torch.cat([self.encoder.aim(goal), nothing]), torch.cat([states, states])
        context: Tensor = self.network.context(*self.encoder.relate(states, condition))
        return context

    def _draw_sigma(self, count: int, generator: torch.Generator) -> Tensor:
        return truncated_loglogistic(
            count,
            loc=math.log(self.sigma_data),
            scale=0.5,
            low=self.sigma_min,
            high=self.sigma_max,
            generator=generator,
        )
