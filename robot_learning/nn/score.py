"""A perceptron that denoises actions: F of the Karras preconditioning (:mod:`.denoiser`), for small budgets.

``context`` embeds what stays fixed while sampling (states and goal), ``forward`` maps context, scaled noisy actions and c_noise
to the network's output, so that an ``act`` embeds its observation once.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robot_learning.nn.mlp import ResidualBlock


class MLPScore(nn.Module):
    """A residual perceptron over states, goal, noisy actions and noise level.

    It denoises the chunk from the newest step on only, unless ``past_actions``: seeing those would invite copying them. The
    noise level enters as fixed Fourier features of c_noise beside c_noise itself (Tancik et al., NeurIPS 2020), where the
    network of BESO's paper takes the scalar; both are deviations of ours.

    Args:
        n_obs: Observed steps T.
        horizon: Actions h from the newest observed step on.
        state_size: Size of a state vector.
        goal_size: Size of the goal vector; 0 for none.
        action_size: Action dims.
        width: Features inside.
        blocks: Residual blocks.
        dropout: Dropout inside the blocks.
        past_actions: Denoise the actions between the observed steps too, as the transformer does.
    """

    frequencies: Tensor
    _FREQUENCIES = 6

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
        past_actions: bool = False,
    ) -> None:
        """Make the layers."""
        super().__init__()
        self.past_actions = past_actions
        chunk = (horizon + (n_obs - 1 if past_actions else 0)) * action_size
        self.embed_context = nn.Linear(n_obs * state_size + goal_size, width)
        self.embed_actions = nn.Linear(chunk + 1 + 2 * self._FREQUENCIES, width, bias=False)
        self.blocks = nn.Sequential(*(ResidualBlock(width, dropout) for _ in range(blocks)))
        self.read_out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, chunk))
        self.register_buffer("frequencies", 2.0 ** torch.arange(self._FREQUENCIES), persistent=False)

    def context(self, states: Float[Tensor, "b t s"], goal: Float[Tensor, "b g"]) -> Float[Tensor, "b w"]:
        """Return the part of the first layer that the actions do not touch."""
        out: Tensor = self.embed_context(torch.cat([states.flatten(1), goal], dim=1))
        return out

    def forward(
        self, context: Float[Tensor, "b w"], actions: Float[Tensor, "b n a"], noise: Float[Tensor, " b"]
    ) -> Float[Tensor, "b n a"]:
        """Return F for every action."""
        level = noise.view(-1, 1)
        waves = level * self.frequencies
        entered = self.embed_actions(torch.cat([actions.flatten(1), level, waves.sin(), waves.cos()], dim=1))
        out: Tensor = self.read_out(self.blocks(context + entered))
        return out.view(actions.shape)
