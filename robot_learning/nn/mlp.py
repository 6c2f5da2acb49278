"""Residual multi-layer perceptron: the small trunk of CPU-sized policies."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """``x + W2 gelu(W1 norm(x))`` with dropout before ``W2``."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        """Make the two layers."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*n w"]) -> Float[Tensor, "*n w"]:
        """Return the refined features."""
        refined: Tensor = x + self.outer(self.dropout(F.gelu(self.inner(self.norm(x)))))
        return refined


class ResidualMLP(nn.Module):
    """Linear in, residual blocks, norm, linear out.

    Args:
        inputs: Size of the input.
        outputs: Size of the output.
        width: Features inside.
        blocks: Number of residual blocks.
        dropout: Dropout inside the blocks.
    """

    def __init__(self, inputs: int, outputs: int, *, width: int, blocks: int, dropout: float = 0.0) -> None:
        """Make the layers."""
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.Sequential(*(ResidualBlock(width, dropout) for _ in range(blocks)))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(self, x: Float[Tensor, "*n i"]) -> Float[Tensor, "*n o"]:
        """Return the outputs."""
        out: Tensor = self.leave(self.blocks(self.enter(x)))
        return out
