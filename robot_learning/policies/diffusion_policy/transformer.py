"""Noise-prediction transformer of Diffusion Policy (Chi et al., RSS 2023, Sec. III and App. A)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robot_learning.nn.transformer import init_weights


class NoiseTransformer(nn.Module):
    """Predicts the noise in a chunk of actions, each of which looks at ``[k, goal, s_1, ..., s_T]`` and at earlier actions.

    The conditions pass a perceptron of one hidden layer, token by token, and are the memory of a pre-norm transformer decoder
    with causal attention: the action of an observed step sees no later observation, as in the authors' code. The goal token is
    an extension of ours; without goal keys there is none and the network is the paper's.

    Args:
        n_obs: Observed steps T.
        horizon: Actions from the newest observed step on; those of the steps before it are denoised with them.
        state_size: Size of a state vector.
        goal_size: Size of the goal vector; 0 for none.
        action_size: Action dims.
        width: Token size.
        layers: Decoder layers.
        heads: Attention heads.
        dropout: Dropout of tokens.
        attention_dropout: Dropout inside the layers.
    """

    hidden: Tensor
    unseen: Tensor

    def __init__(
        self,
        n_obs: int,
        horizon: int,
        state_size: int,
        goal_size: int,
        action_size: int,
        width: int = 256,
        layers: int = 8,
        heads: int = 4,
        dropout: float = 0.0,
        attention_dropout: float = 0.3,
    ) -> None:
        """Make embeddings, decoder and read-out."""
        super().__init__()
        slots, before = n_obs - 1 + horizon, 1 + int(goal_size > 0)
        self.embed_action = nn.Linear(action_size, width)
        self.embed_state = nn.Linear(state_size, width)
        self.embed_goal = nn.Linear(goal_size, width) if goal_size else None
        self.action_positions = nn.Parameter(torch.empty(slots, width))
        self.condition_positions = nn.Parameter(torch.empty(before + n_obs, width))
        self.dropout = nn.Dropout(dropout)
        self.conditions = nn.Sequential(nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width))
        layer = nn.TransformerDecoderLayer(
            width, heads, 4 * width, attention_dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, layers, norm=nn.LayerNorm(width))
        self.read_out = nn.Linear(width, action_size)
        self.apply(init_weights)
        for attention in (module for module in self.modules() if isinstance(module, nn.MultiheadAttention)):
            nn.init.normal_(attention.in_proj_weight, std=0.02)
        nn.init.normal_(self.action_positions, std=0.02)
        nn.init.normal_(self.condition_positions, std=0.02)
        slot = torch.arange(slots)[:, None]
        self.register_buffer("hidden", slot < torch.arange(slots), persistent=False)
        self.register_buffer("unseen", slot < torch.arange(before + n_obs) - before, persistent=False)

    def context(self, states: Float[Tensor, "b t s"], goal: Float[Tensor, "b g"]) -> Float[Tensor, "b k w"]:
        """Return the conditions that do not change while sampling: goal (if any) and states."""
        tokens = self.embed_state(states)
        if self.embed_goal is not None:
            tokens = torch.cat([self.embed_goal(goal).unsqueeze(1), tokens], dim=1)
        out: Tensor = self.conditions(self.dropout(tokens + self.condition_positions[1:]))
        return out

    def forward(
        self, context: Float[Tensor, "b k w"], actions: Float[Tensor, "b n a"], step: Int[Tensor, " b"]
    ) -> Float[Tensor, "b n a"]:
        """Return the noise in ``actions`` at diffusion step ``step`` (0 is the last one denoised)."""
        time = waves(step, context.shape[-1]).to(context.dtype) + self.condition_positions[0]
        memory = torch.cat([self.conditions(self.dropout(time)).unsqueeze(1), context], dim=1)
        tokens = self.dropout(self.embed_action(actions) + self.action_positions)
        masks = {
            "tgt_mask": self.hidden,
            "memory_mask": self.unseen,
            "tgt_is_causal": True,
        }  # said, not searched for in the mask
        out: Tensor = self.read_out(self.decoder(tokens, memory, **masks))
        return out


def waves(step: Int[Tensor, " b"], width: int) -> Float[Tensor, "b w"]:
    """Return sines, then cosines, of ``step`` at frequencies from 1 down to 1/10000 (Ho et al., NeurIPS 2020)."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=step.device) * (-math.log(10000.0) / (half - 1)))
    angle = step[:, None].float() * rates
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
