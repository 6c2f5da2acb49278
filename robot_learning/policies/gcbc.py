"""GCBC: goal-conditioned behaviour cloning, the baseline that everything is compared with.

The same inputs, goals and trunks as BESO, but the chunk is regressed directly: ``L = || a - pi(s, g) ||^2`` over unpadded
actions (Lynch et al., CoRL 2019, Sec. 4 "Play-GCBC", with a squared error in place of their mixture likelihood). Where play
does the same thing in two ways, it answers with their mean.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.denoiser import masked_mean
from robot_learning.nn.mlp import ResidualMLP
from robot_learning.nn.normalizer import MinMax
from robot_learning.nn.parts import build_part
from robot_learning.nn.transformer import CausalTransformer, init_weights
from robot_learning.policies.policy import LearnedPolicy, Tensors
from robot_learning.policies.window import WindowEncoder, fitting


class MLPTrunk(nn.Module):
    """Residual perceptron from states and goal to the chunk."""

    def __init__(
        self,
        n_obs: int,
        horizon: int,
        state_size: int,
        goal_size: int,
        action_size: int,
        width: int = 512,
        blocks: int = 3,
        dropout: float = 0.0,
    ) -> None:
        """Make the layers."""
        super().__init__()
        inputs = n_obs * state_size + goal_size
        self.chunk = (horizon, action_size)
        self.mlp = ResidualMLP(inputs, horizon * action_size, width=width, blocks=blocks, dropout=dropout)

    def forward(self, states: Float[Tensor, "b t s"], goal: Float[Tensor, "b g"]) -> Float[Tensor, "b h a"]:
        """Return the scaled chunk."""
        out: Tensor = self.mlp(torch.cat([states.flatten(1), goal], dim=1))
        return out.view(-1, *self.chunk)


class TransformerTrunk(nn.Module):
    """Causal transformer over ``[goal, s_1, ..., s_T, q_1, ..., q_h]``; the learned queries become the chunk."""

    def __init__(
        self,
        n_obs: int,
        horizon: int,
        state_size: int,
        goal_size: int,
        action_size: int,
        width: int = 240,
        layers: int = 4,
        heads: int = 12,
        attention_dropout: float = 0.05,
        dropout: float = 0.05,
    ) -> None:
        """Make embeddings, trunk and read-out."""
        super().__init__()
        self.horizon, self.goal_tokens = horizon, int(goal_size > 0)
        self.embed_state = nn.Linear(state_size, width)
        self.embed_goal = nn.Linear(goal_size, width) if goal_size else None
        self.queries = nn.Parameter(torch.empty(horizon, width))
        self.positions = nn.Parameter(torch.empty(self.goal_tokens + n_obs, width))
        self.trunk = CausalTransformer(width, layers=layers, heads=heads, attention_dropout=attention_dropout, dropout=dropout)
        self.read_out = nn.Linear(width, action_size)
        self.apply(init_weights)
        nn.init.normal_(self.queries, std=0.02)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, states: Float[Tensor, "b t s"], goal: Float[Tensor, "b g"]) -> Float[Tensor, "b h a"]:
        """Return the scaled chunk."""
        tokens = self.embed_state(states)
        if self.embed_goal is not None:
            tokens = torch.cat([self.embed_goal(goal).unsqueeze(1), tokens], dim=1)
        queries = self.queries.expand(len(states), -1, -1)
        hidden = self.trunk(torch.cat([tokens + self.positions, queries], dim=1))
        out: Tensor = self.read_out(hidden[:, -self.horizon :])
        return out


class GCBC(LearnedPolicy):
    """Goal-conditioned behaviour cloning of action chunks.

    Args:
        spec: The robot.
        statistics: Statistics of the training data: ``action`` and every key used.
        observation_keys: Observation keys to condition on.
        goal_keys: Goal keys to condition on; empty for plain behaviour cloning.
        n_obs: Observed steps t.
        horizon: Steps h in a chunk.
        network: ``_target_`` and settings of the trunk.
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
        vision: Mapping[str, Any] | None = None,
        interchangeable: Mapping[str, int] | None = None,
        language: Mapping[str, Any] | None = None,
    ) -> None:
        """Build encoder and trunk."""
        super().__init__(spec, observation_keys, goal_keys, n_obs, horizon)
        self.encoder = WindowEncoder(spec, statistics, observation_keys, goal_keys, vision, interchangeable, language=language)
        self.actions = MinMax(fitting(statistics, "action", spec.action))
        self.network = build_part(
            network,
            n_obs=n_obs,
            horizon=horizon,
            **self.encoder.related_sizes,
            action_size=spec.action.shape[0],
        )

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean squared error of the scaled chunk over unpadded actions."""
        states, goal = self.encoder.see(batch["observation"], batch.get("goal"), generator if self.training else None)
        wanted = self.actions(batch["action"][:, self.n_obs - 1 :].float())
        error = (self.network(*self.encoder.relate(states, goal)).float() - wanted) ** 2
        return masked_mean(error, batch["action_mask"][:, self.n_obs - 1 :]), {}

    def forward(self, seen: Tensors, goal: Tensors, noise: Tensor, memory: Tensors) -> tuple[Tensor, Tensors]:  # noqa: ARG002
        """Return a chunk ``[b, h, a]`` in raw units; see :class:`robot_learning.policies.policy.LearnedPolicy`."""
        scaled = self.network(*self.encoder.relate(*self.encoder.see(seen, goal)))
        return self.actions.inverse(scaled), memory
