"""Noise-prediction network of Diffusion Policy's convolutional variant (Chi et al., RSS 2023, Sec. III and App. A)."""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError
from robot_learning.policies.diffusion_policy.transformer import waves


class NoiseUNet(nn.Module):
    """Predicts the noise in a chunk of actions by convolutions over time, each modulated by the conditions.

    A U-Net after Janner et al., ICML 2022: on the way down every level has two residual blocks and halves the number of steps,
    on the way up it sees the level of the way down again. What is observed, the goal and the diffusion step are one vector that
    scales and shifts the channels of every block (FiLM; Perez et al., AAAI 2018).

    Args:
        n_obs: Observed steps.
        horizon: Actions from the newest observed step on; with the ``n_obs - 1`` before it a multiple of 2 to the power of
            the number of levels less one.
        state_size: Size of a state vector.
        goal_size: Size of the goal vector; 0, as in the paper, for none.
        action_size: Action dims.
        channels: Channels of each level.
        kernel: Steps that a convolution sees; odd.
        step_size: Size of the diffusion step's embedding.
        groups: Groups of the normalisation; divide every number of channels.
    """

    def __init__(
        self,
        n_obs: int,
        horizon: int,
        state_size: int,
        goal_size: int,
        action_size: int,
        channels: Sequence[int] = (256, 512, 1024),
        kernel: int = 5,
        step_size: int = 256,
        groups: int = 8,
    ) -> None:
        """Make the levels."""
        super().__init__()
        steps, multiple = n_obs - 1 + horizon, 2 ** max(len(channels) - 1, 0)
        if not channels or steps % multiple or kernel % 2 == 0 or any(size % groups for size in channels):
            raise ConfigError(
                f"NoiseUNet: expected an odd kernel, channels in multiples of {groups} and n_obs - 1 + horizon in multiples of "
                f"{multiple}, got {kernel}, {list(channels)} and {steps}"
            )
        self.embed_step = nn.Sequential(nn.Linear(step_size, 4 * step_size), nn.Mish(), nn.Linear(4 * step_size, step_size))
        self.step_size = step_size
        condition = step_size + n_obs * state_size + goal_size

        def block(inputs: int, outputs: int) -> _Block:
            return _Block(inputs, outputs, condition, kernel, groups)

        levels = list(itertools.pairwise((action_size, *channels)))
        top = channels[-1]
        self.down = nn.ModuleList(_Pair(block(a, b), block(b, b)) for a, b in levels)
        self.coarser = nn.ModuleList(nn.Conv1d(size, size, 3, 2, 1) for size in channels[:-1])
        self.middle = _Pair(block(top, top), block(top, top))
        self.up = nn.ModuleList(_Pair(block(2 * b, a), block(a, a)) for a, b in reversed(levels[1:]))
        self.finer = nn.ModuleList(nn.ConvTranspose1d(size, size, 4, 2, 1) for size in reversed(channels[:-1]))
        self.read_out = nn.Sequential(
            _Convolution(channels[0], channels[0], kernel, groups), nn.Conv1d(channels[0], action_size, 1)
        )

    def context(self, states: Float[Tensor, "b t s"], goal: Float[Tensor, "b g"]) -> Float[Tensor, "b k"]:
        """Return the conditions that do not change while sampling."""
        return torch.cat([states.flatten(1), goal], dim=1)

    def forward(
        self, context: Float[Tensor, "b k"], actions: Float[Tensor, "b n a"], step: Int[Tensor, " b"]
    ) -> Float[Tensor, "b n a"]:
        """Return the noise in ``actions`` at diffusion step ``step`` (0 is the last one denoised)."""
        condition = torch.cat([self.embed_step(waves(step, self.step_size).to(context.dtype)), context], dim=1)
        x, seen = actions.transpose(1, 2), []
        for blocks, coarser in itertools.zip_longest(self.down, self.coarser):
            x = blocks(x, condition)
            seen.append(x)
            x = x if coarser is None else coarser(x)
        x = self.middle(x, condition)
        for blocks, finer in zip(self.up, self.finer, strict=True):  # as the authors': the first level is not seen again
            x = finer(blocks(torch.cat([x, seen.pop()], dim=1), condition))
        out: Tensor = self.read_out(x).transpose(1, 2)
        return out


class _Convolution(nn.Sequential):
    """Convolution over time that keeps the number of steps, group norm, Mish."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int) -> None:
        super().__init__(nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2), nn.GroupNorm(groups, outputs), nn.Mish())


class _Block(nn.Module):
    """Two convolutions and what went in; the conditions scale and shift the channels in between."""

    def __init__(self, inputs: int, outputs: int, condition: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.first = _Convolution(inputs, outputs, kernel, groups)
        self.modulate = nn.Sequential(nn.Mish(), nn.Linear(condition, 2 * outputs))
        self.second = _Convolution(outputs, outputs, kernel, groups)
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Float[Tensor, "b i n"], condition: Float[Tensor, "b k"]) -> Float[Tensor, "b o n"]:
        scale, shift = self.modulate(condition).unsqueeze(-1).chunk(2, dim=1)
        out: Tensor = self.second(scale * self.first(x) + shift) + self.skip(x)
        return out


class _Pair(nn.Module):
    """Two blocks, one after the other."""

    def __init__(self, first: _Block, second: _Block) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Float[Tensor, "b i n"], condition: Float[Tensor, "b k"]) -> Float[Tensor, "b o n"]:
        out: Tensor = self.second(self.first(x, condition), condition)
        return out
