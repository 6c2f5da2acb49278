"""The score network of BESO's paper, a causal transformer; :mod:`robot_learning.nn.score` has a perceptron.

Both are F of the Karras preconditioning: ``context`` embeds what stays fixed while sampling (states and goal), ``forward`` maps
context, scaled noisy actions and c_noise to the network's output, so that an ``act`` embeds its observation once.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robot_learning.nn.transformer import CausalTransformer, init_weights


class TransformerScore(nn.Module):
    """The DiffusionGPT of BESO: tokens ``[sigma, goal, s_1, a_1, ..., s_T, a_T, a_T+1, ..., a_T+h-1]``, causal attention.

    States and goal share one linear embedding when they have the same size, as in the authors' code (else each has its own).
    State and action of a step share a row of the learned position table; the sigma token has none. With a chunk of one action
    this is the paper's network; the further actions of a longer chunk follow as tokens of their own, each with its row: an
    extension of ours.

    Args:
        n_obs: Observed steps T.
        horizon: Actions h from the newest observed step on.
        state_size: Size of a state vector.
        goal_size: Size of the goal vector; 0 for none.
        action_size: Action dims.
        width: Token size d.
        layers: Transformer blocks.
        heads: Attention heads.
        attention_dropout: Dropout of attention weights.
        dropout: Dropout of residual branches.
    """

    past_actions = True

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
        self.n_obs, self.goal_tokens = n_obs, int(goal_size > 0)
        self.embed_sigma = nn.Linear(1, width)
        self.embed_state = nn.Linear(state_size, width)
        shared = goal_size in (0, state_size)
        self.embed_goal = None if shared else nn.Linear(goal_size, width)
        self.embed_action = nn.Linear(action_size, width)
        self.positions = nn.Parameter(torch.empty(self.goal_tokens + n_obs + horizon - 1, width))
        self.trunk = CausalTransformer(width, layers=layers, heads=heads, attention_dropout=attention_dropout, dropout=dropout)
        self.read_out = nn.Linear(width, action_size)
        self.apply(init_weights)
        nn.init.normal_(self.positions, std=0.02)

    def context(self, states: Float[Tensor, "b t s"], goal: Float[Tensor, "b g"]) -> Float[Tensor, "b k w"]:
        """Return the embedded goal (if any) and states, positions added."""
        tokens = self.embed_state(states)
        if self.goal_tokens:
            embed = self.embed_state if self.embed_goal is None else self.embed_goal
            tokens = torch.cat([embed(goal).unsqueeze(1), tokens], dim=1)
        out: Tensor = tokens + self.positions[: tokens.shape[1]]
        return out

    def forward(
        self, context: Float[Tensor, "b k w"], actions: Float[Tensor, "b n a"], noise: Float[Tensor, " b"]
    ) -> Float[Tensor, "b n a"]:
        """Return F for every action."""
        batch, width = context.shape[0], context.shape[2]
        embedded = self.embed_action(actions) + self.positions[self.goal_tokens :]
        goal, states = context[:, : self.goal_tokens], context[:, self.goal_tokens :]
        paired = torch.stack([states, embedded[:, : self.n_obs]], dim=2).reshape(batch, 2 * self.n_obs, width)
        sigma = self.embed_sigma(noise.view(-1, 1)).unsqueeze(1)
        tokens = torch.cat([sigma, goal, paired, embedded[:, self.n_obs :]], dim=1)
        hidden = self.trunk(tokens)[:, 1 + self.goal_tokens :]
        of_actions = torch.cat([hidden[:, 1 : 2 * self.n_obs : 2], hidden[:, 2 * self.n_obs :]], dim=1)
        out: Tensor = self.read_out(of_actions)
        return out
