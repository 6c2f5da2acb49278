"""Transformer encoder and decoder with post-LayerNorm and ReLU, as in Vaswani et al. (2017) and DETR (Carion et al., 2020).

Masks are True on what may be seen. ``positions`` are added to queries and keys, never to values, at every layer (DETR); who
wants them once adds them to the tokens.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError


@dataclass(frozen=True)
class Sizes:
    """Sizes of a stack of layers.

    Attributes:
        width: Size of a token.
        layers: Number of layers.
        heads: Attention heads; divide ``width``.
        feedforward: Hidden features of the perceptrons.
        dropout: Dropout of attention weights, perceptrons and branches.
        bias: Biases in the perceptrons.
    """

    width: int = 512
    layers: int = 4
    heads: int = 8
    feedforward: int = 2048
    dropout: float = 0.1
    bias: bool = True

    def __post_init__(self) -> None:
        """Check that heads fit."""
        if self.layers < 1 or self.heads < 1 or self.width % self.heads:
            raise ConfigError(
                f"transformer: expected at least one layer and a width that its heads divide, got {self.layers} layers, "
                f"width {self.width} and {self.heads} heads"
            )


class Attention(nn.Module):
    """Multi-head attention."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """Make the four projections."""
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.project = (nn.Linear(width, width) for _ in range(4))

    def forward(
        self,
        query: Float[Tensor, "b q w"],
        key: Float[Tensor, "b k w"],
        value: Float[Tensor, "b k w"],
        mask: Bool[Tensor, "b k"] | None = None,
    ) -> Float[Tensor, "b q w"]:
        """Return for every query the mean of the values, weighted by how well it fits their keys."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        seen = None if mask is None else mask[:, None, None]
        rate = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=rate)
        out: Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return out


class EncoderLayer(nn.Module):
    """Self-attention, then a perceptron; each branch is added and the sum normalised."""

    def __init__(self, sizes: Sizes) -> None:
        """Make the layers."""
        super().__init__()
        self.attention = Attention(sizes.width, sizes.heads, sizes.dropout)
        self.mlp = _perceptron(sizes)
        self.norm_attention, self.norm_mlp = nn.LayerNorm(sizes.width), nn.LayerNorm(sizes.width)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(
        self, x: Float[Tensor, "b k w"], positions: Tensor | None = None, mask: Bool[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b k w"]:
        """Return the tokens after one layer."""
        placed = _placed(x, positions)
        x = self.norm_attention(x + self.dropout(self.attention(placed, placed, x, mask)))
        out: Tensor = self.norm_mlp(x + self.dropout(self.mlp(x)))
        return out


class DecoderLayer(nn.Module):
    """Self-attention among queries, attention to a memory, then a perceptron."""

    def __init__(self, sizes: Sizes) -> None:
        """Make the layers."""
        super().__init__()
        self.attention = Attention(sizes.width, sizes.heads, sizes.dropout)
        self.look = Attention(sizes.width, sizes.heads, sizes.dropout)
        self.mlp = _perceptron(sizes)
        self.norm_attention, self.norm_look, self.norm_mlp = (nn.LayerNorm(sizes.width) for _ in range(3))
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(
        self,
        x: Float[Tensor, "b q w"],
        memory: Float[Tensor, "b k w"],
        positions: Tensor | None = None,
        memory_positions: Tensor | None = None,
        mask: Bool[Tensor, "b q"] | None = None,
    ) -> Float[Tensor, "b q w"]:
        """Return the queries after one layer; ``mask`` hides queries from one another."""
        placed = _placed(x, positions)
        x = self.norm_attention(x + self.dropout(self.attention(placed, placed, x, mask)))
        keys = _placed(memory, memory_positions)
        x = self.norm_look(x + self.dropout(self.look(_placed(x, positions), keys, memory)))
        out: Tensor = self.norm_mlp(x + self.dropout(self.mlp(x)))
        return out


class TransformerEncoder(nn.Module):
    """A stack of encoder layers."""

    def __init__(self, sizes: Sizes) -> None:
        """Make the layers with DETR's initial weights."""
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.layers))
        self.apply(_init_weights)

    def forward(
        self, x: Float[Tensor, "b k w"], positions: Tensor | None = None, mask: Bool[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b k w"]:
        """Return the tokens after all layers."""
        for layer in self.layers:
            x = layer(x, positions, mask)
        return x


class QueryDecoder(nn.Module):
    """Learned queries, one per answer, that look at a memory.

    Args:
        sizes: Sizes of the stack.
        count: Number of queries.
        as_positions: Begin with zeros and add the queries as positions at every layer, as DETR and ACT do; else begin with the
            queries themselves.
    """

    def __init__(self, sizes: Sizes, count: int, *, as_positions: bool = False) -> None:
        """Make queries, from a standard normal, and layers."""
        super().__init__()
        self.as_positions = as_positions
        self.queries = nn.Parameter(torch.randn(count, sizes.width))
        self.layers = nn.ModuleList(DecoderLayer(sizes) for _ in range(sizes.layers))
        self.layers.apply(_init_weights)

    def forward(
        self,
        memory: Float[Tensor, "b k w"],
        memory_positions: Tensor | None = None,
        mask: Bool[Tensor, "b q"] | None = None,
    ) -> Float[Tensor, "b q w"]:
        """Return one vector per query."""
        queries = self.queries.to(memory).expand(len(memory), -1, -1)
        x, positions = (torch.zeros_like(queries), queries) if self.as_positions else (queries, None)
        for layer in self.layers:
            x = layer(x, memory, positions, memory_positions, mask)
        return x


class SequencePredictor(nn.Module):
    """From a memory to one vector per step of a sequence: narrow the memory, let one query per step look at it, widen again.

    Args:
        inputs: Size of a memory token.
        outputs: Size of an answer.
        count: Steps of the sequence.
        width: Size of a token inside; 128 is ACT-JEPA.
        layers: Decoder layers.
        heads: Attention heads.
        feedforward: Hidden features of the perceptrons.
        dropout: Dropout.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        count: int,
        width: int = 128,
        layers: int = 4,
        heads: int = 8,
        feedforward: int = 512,
        dropout: float = 0.1,
    ) -> None:
        """Make the layers."""
        super().__init__()
        self.narrow = nn.Linear(inputs, width)
        self.decoder = QueryDecoder(Sizes(width, layers, heads, feedforward, dropout), count)
        self.widen = nn.Linear(width, outputs)

    def forward(self, memory: Float[Tensor, "b k w"], mask: Bool[Tensor, "b q"] | None = None) -> Float[Tensor, "b q o"]:
        """Return the sequence; ``mask`` hides its padded steps from the others."""
        out: Tensor = self.widen(self.decoder(self.narrow(memory), mask=mask))
        return out


def _perceptron(sizes: Sizes) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(sizes.width, sizes.feedforward, bias=sizes.bias),
        nn.ReLU(),
        nn.Dropout(sizes.dropout),
        nn.Linear(sizes.feedforward, sizes.width, bias=sizes.bias),
    )


def _placed(x: Tensor, positions: Tensor | None) -> Tensor:
    return x if positions is None else x + positions


def _init_weights(module: nn.Module) -> None:
    """Draw linear weights as DETR and ACT do (Glorot and Bengio, AISTATS 2010)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
