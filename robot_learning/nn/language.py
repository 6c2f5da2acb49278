"""Instruction encoder from scratch: words by hashing, then a small transformer.

A few hundred instructions are too few to learn spelling from, so words are the units. No list of them is kept: a word is the
sum of two rows of tables, chosen by two hashes of its letters (Svenstrup et al., "Hash Embeddings", NeurIPS 2017). Two words
share both rows with a chance of one in four million. So the tokenizer is arithmetic on bytes, exported with the rest, and
nothing of it need be saved beside the weights. Rows begin small, so that a word which training never had says little, and while
training some words are left out so that the rest must do.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from robot_learning.core.language import MAX_BYTES
from robot_learning.nn.attention import Sizes, TransformerEncoder
from robot_learning.nn.positions import sine_positions

_PRIME = 2_147_483_647
_BASES = (257, 65_599)
"""Two Rabin-Karp hashes: sum of letter times base ** place, modulo a prime that keeps all products within 64 bits."""
_TABLE = 2048


class InstructionEncoder(nn.Module):
    """Encode texts, UTF-8 bytes padded with zeros, as vectors.

    A word is a run of letters and digits, upper case read as lower case; every byte beyond ASCII counts as a letter.

    Args:
        size: Numbers in a vector.
        width: Size of a word.
        layers: Transformer layers.
        heads: Attention heads.
        most_words: Words that are read; those after them are ignored.
        dropout: Dropout within the transformer.
        word_dropout: Share of the words left out while training.
    """

    powers: Tensor

    def __init__(
        self,
        size: int = 64,
        *,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        most_words: int = 24,
        dropout: float = 0.1,
        word_dropout: float = 0.1,
    ) -> None:
        """Make tables and layers."""
        super().__init__()
        self.size, self.most_words = size, most_words
        self.tables = nn.ModuleList(nn.Embedding(_TABLE, width) for _ in _BASES)
        powers = [[pow(base, place, _PRIME) for place in range(MAX_BYTES)] for base in _BASES]
        self.register_buffer("powers", torch.tensor(powers), persistent=False)
        for weight in self.tables.parameters():
            nn.init.normal_(weight, std=0.1)
        self.leave_out = nn.Dropout1d(word_dropout)
        self.whole = nn.Parameter(torch.randn(width))
        self.layers = TransformerEncoder(Sizes(width, layers, heads, 2 * width, dropout))
        self.project = nn.Sequential(nn.Linear(width, size), nn.LayerNorm(size))

    def forward(self, texts: UInt8[Tensor, "b l"]) -> Float[Tensor, "b f"]:
        """Return one vector per text; an empty text has one, too."""
        keys, present = self.hash_words(texts)
        words = self.leave_out(sum(table(key % _TABLE) for table, key in zip(self.tables, keys, strict=True)))
        words = words + sine_positions(words.shape[1], words.shape[2], words.device).to(words)
        tokens = torch.cat([self.whole.to(words).expand(len(words), 1, -1), words], dim=1)
        seen = torch.cat([present.new_ones(len(present), 1), present], dim=1)
        encoded: Tensor = self.project(self.layers(tokens, mask=seen)[:, 0])
        return encoded

    def hash_words(self, texts: UInt8[Tensor, "b l"]) -> tuple[list[Int[Tensor, "b w"]], Bool[Tensor, "b w"]]:
        """Return each hash of every word, and which of the ``most_words`` places hold a word."""
        letters = texts.long()
        letters = torch.where((letters >= ord("A")) & (letters <= ord("Z")), letters + 32, letters)
        digit = (letters >= ord("0")) & (letters <= ord("9"))
        inside = (letters >= ord("a")) & (letters <= ord("z")) | digit | (letters >= 128)
        begins = inside & ~F.pad(inside[:, :-1], (1, 0))
        number = begins.long().cumsum(dim=1) - 1
        place = torch.arange(texts.shape[1], device=texts.device)
        member = inside.unsqueeze(-1) & (number.unsqueeze(-1) == torch.arange(self.most_words, device=texts.device))
        first = (member & begins.unsqueeze(-1)).long().mul(place[:, None]).sum(dim=1)
        within = (place - first.gather(1, number.clamp(0, self.most_words - 1))).clamp(min=0)
        codes = [(letters * powers[within] % _PRIME).unsqueeze(-1) for powers in self.powers]
        return [(member * code).sum(dim=1) % _PRIME for code in codes], member.any(dim=1)
