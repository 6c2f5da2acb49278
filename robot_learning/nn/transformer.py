"""Causal transformer in the manner of minGPT: pre-LayerNorm, GELU, weights from N(0, 0.02)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class CausalBlock(nn.Module):
    """Self-attention that sees no later token, then a perceptron four times as wide."""

    def __init__(self, width: int, heads: int, attention_dropout: float, dropout: float) -> None:
        """Make the layers."""
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b l w"]) -> Float[Tensor, "b l w"]:
        """Return the tokens after one block."""
        batch, length, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        rate = self.attention_dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, dropout_p=rate, is_causal=True)
        x = x + self.dropout(self.project(seen.transpose(1, 2).reshape(batch, length, width)))
        out: Tensor = x + self.dropout(self.mlp(self.norm_mlp(x)))
        return out


class CausalTransformer(nn.Module):
    """A stack of causal blocks and a final norm.

    Args:
        width: Size d of a token.
        layers: Number of blocks.
        heads: Attention heads; divide ``width``.
        attention_dropout: Dropout of the attention weights.
        dropout: Dropout of each block's outputs.
    """

    def __init__(self, width: int, *, layers: int, heads: int, attention_dropout: float = 0.0, dropout: float = 0.0) -> None:
        """Make the blocks with minGPT's initial weights."""
        super().__init__()
        self.blocks = nn.Sequential(*(CausalBlock(width, heads, attention_dropout, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.apply(init_weights)

    def forward(self, x: Float[Tensor, "b l w"]) -> Float[Tensor, "b l w"]:
        """Return the tokens after all blocks."""
        out: Tensor = self.norm(self.blocks(x))
        return out


def init_weights(module: nn.Module) -> None:
    """Draw linear weights from N(0, 0.02) and set biases to zero, as minGPT does."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
