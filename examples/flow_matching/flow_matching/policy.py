"""Flow matching (Lipman, Chen, Ben-Hamu, Nickel, Le, ICLR 2023) for chunks of actions, on straight paths from noise to data.

    L = E [ || v(x_t, t, s, g) - (a - eps) ||^2 ],   x_t = (1 - t) eps + t a,   t ~ U[0, 1],   eps ~ N(0, 1)

To act, dx/dt = v is followed from noise at t = 0 to actions at t = 1 in a few Euler steps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from robot_learning.core.errors import ConfigError
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.denoiser import masked_mean
from robot_learning.nn.mlp import ResidualMLP
from robot_learning.nn.normalizer import MinMax
from robot_learning.policies.policy import LearnedPolicy, Tensors
from robot_learning.policies.window import WindowEncoder, fitting


class FlowMatching(LearnedPolicy):
    """Chunks of actions from a learned velocity field, conditioned on what is seen and on a goal where there is one."""

    def __init__(
        self,
        spec: RobotSpec,
        statistics: Mapping[str, Stats],
        *,
        observation_keys: Sequence[str],
        goal_keys: Sequence[str] = (),
        n_obs: int = 1,
        horizon: int = 8,
        width: int = 512,
        blocks: int = 3,
        steps: int = 5,
        vision: Mapping[str, Any] | None = None,
        interchangeable: Mapping[str, int] | None = None,
    ) -> None:
        """Build the encoder, which scales and joins what is seen, and the velocity field."""
        super().__init__(spec, observation_keys, goal_keys, n_obs, horizon)
        if steps < 1:
            raise ConfigError(f"FlowMatching: expected steps >= 1, got {steps}")
        self.steps, self.noise_shape = steps, (horizon, spec.action.shape[0])
        self.encoder = WindowEncoder(spec, statistics, observation_keys, goal_keys, vision, interchangeable)
        self.actions = MinMax(fitting(statistics, "action", spec.action))
        size = horizon * spec.action.shape[0]
        sizes = self.encoder.related_sizes
        seen = n_obs * sizes["state_size"] + sizes["goal_size"]
        self.velocity = ResidualMLP(seen + size + 1, size, width=width, blocks=blocks)

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the error of the velocity (see the module's formula), over unpadded actions."""
        clean = self.actions(batch["action"][:, self.n_obs - 1 :].float())
        noise = torch.randn(clean.shape, generator=generator, device=generator.device).to(clean)
        time = torch.rand(len(clean), 1, 1, generator=generator, device=generator.device).to(clean)
        seen = self.encoder.see(batch["observation"], batch.get("goal"), generator if self.training else None)
        context = self._context(*seen)
        velocity = self._velocity(context, (1 - time) * noise + time * clean, time)
        return masked_mean((velocity.float() - (clean - noise)) ** 2, batch["action_mask"][:, self.n_obs - 1 :]), {}

    def forward(self, seen: Tensors, goal: Tensors, noise: Tensor, memory: Tensors) -> tuple[Tensor, Tensors]:
        """Return a chunk ``[b, h, a]`` in raw units; there is nothing to remember."""
        context = self._context(*self.encoder.see(seen, goal))
        x = noise
        for step in range(self.steps):
            x = x + self._velocity(context, x, x.new_full((len(x), 1, 1), step / self.steps)) / self.steps
        return self.actions.inverse(x.clamp(-1, 1)), memory

    def _velocity(self, context: Tensor, x: Tensor, time: Tensor) -> Tensor:
        out: Tensor = self.velocity(torch.cat([context, x.flatten(1), time.flatten(1)], dim=-1))
        return out.view(x.shape)

    def _context(self, states: Tensor, goal: Tensor) -> Tensor:
        states, goal = self.encoder.relate(states, goal)
        return torch.cat([states.flatten(1), goal], dim=-1)
