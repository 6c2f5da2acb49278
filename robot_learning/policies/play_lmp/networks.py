"""The networks of Play-LMP: plan recognition (two kinds), plan proposal and the plan decoder."""

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.nn.logistic_mixture import LOG_SCALE_FLOOR, LogisticMixture, LogisticMixtureHead
from robot_learning.nn.mlp import ResidualMLP
from robot_learning.nn.positions import sine_positions

CELLS: dict[str, Any] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
"""Recurrent cells; ``rnn`` has ReLU units as in MCIL's published code."""


def recurrent(cell: str, inputs: int, width: int, layers: int, *, both_ways: bool = False) -> nn.RNNBase:
    """Return a recurrent network over ``[b, l, inputs]``; raises :class:`UnknownName` for a cell that there is not."""
    if cell not in CELLS:
        raise UnknownName("cell", cell, CELLS)
    extra = {"nonlinearity": "relu"} if cell == "rnn" else {}
    network: nn.RNNBase = CELLS[cell](inputs, width, layers, batch_first=True, bidirectional=both_ways, **extra)
    return network


class RecurrentRecognition(nn.Module):
    """Bidirectional recurrent network over a window; what it knows at both ends becomes the plan's parameters.

    Args:
        inputs: Size of a step's features.
        outputs: Number of parameters of the plan's distribution.
        width: Units per direction; 2048 in MCIL.
        layers: Layers; 2 in MCIL.
        cell: ``gru``, ``lstm`` or ``rnn``.
    """

    def __init__(self, inputs: int, outputs: int, *, width: int = 2048, layers: int = 2, cell: str = "rnn") -> None:
        """Make the layers."""
        super().__init__()
        self.steps = recurrent(cell, inputs, width, layers, both_ways=True)
        self.read_out = nn.Linear(2 * width, outputs)

    def forward(self, window: Float[Tensor, "b l f"], lengths: Int[Tensor, " b"]) -> Float[Tensor, "b p"]:
        """Return the parameters for windows of which the first ``lengths`` steps count."""
        packed = nn.utils.rnn.pack_padded_sequence(window, lengths.cpu(), batch_first=True, enforce_sorted=False)
        memory = self.steps(packed)[1]
        ends = memory[0] if isinstance(memory, tuple) else memory
        parameters: Tensor = self.read_out(torch.cat([ends[-2], ends[-1]], dim=-1))
        return parameters


class TransformerRecognition(nn.Module):
    """Transformer encoder over a window, averaged over time, as in HULC.

    Args:
        inputs: Size of a step's features.
        outputs: Number of parameters of the plan's distribution.
        width: Size of a token.
        layers: Layers; 2 in HULC.
        heads: Attention heads; 8 in HULC.
        feedforward: Units of the perceptron in a layer; 2048 in HULC.
        dropout: Dropout; 0.1 in HULC.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 256,
        layers: int = 2,
        heads: int = 8,
        feedforward: int = 2048,
        dropout: float = 0.1,
    ) -> None:
        """Make the layers."""
        super().__init__()
        self.embed = nn.Linear(inputs, width)
        layer = nn.TransformerEncoderLayer(width, heads, feedforward, dropout, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.read_out = nn.Linear(width, outputs)

    def forward(self, window: Float[Tensor, "b l f"], lengths: Int[Tensor, " b"]) -> Float[Tensor, "b p"]:
        """Return the parameters for windows of which the first ``lengths`` steps count."""
        counts = within(lengths, window.shape[1])
        tokens = self.embed(window) + sine_positions(window.shape[1], self.embed.out_features, window.device)
        hidden = self.layers(tokens, src_key_padding_mask=~counts)
        mean = (hidden * counts.unsqueeze(-1)).sum(dim=1) / lengths.unsqueeze(-1)
        parameters: Tensor = self.read_out(mean)
        return parameters


def within(lengths: Int[Tensor, " b"], steps: int) -> Bool[Tensor, "b l"]:
    """Return True for the first ``lengths`` of ``steps`` places."""
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(-1)


class Perceptron(nn.Module):
    """Layers of ReLU units and a linear one: the plan proposal, from the present step and the goal to the plan's parameters."""

    def __init__(self, inputs: int, outputs: int, *, width: int = 2048, layers: int = 4) -> None:
        """Make the layers."""
        super().__init__()
        sizes = [inputs, *[width] * layers]
        hidden = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(sizes[-1], outputs))

    def forward(self, x: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
        """Return the outputs."""
        out: Tensor = self.layers(x)
        return out


class Decoder(nn.Module):
    """Recurrent network that turns a plan, the goal and each step into a mixture over actions.

    Args:
        inputs: Size of plan, step and goal together.
        action_size: Number of action dimensions.
        width: Units per layer; 2048 in Play-LMP.
        layers: Layers; 2 in Play-LMP.
        cell: ``gru``, ``lstm`` or ``rnn``; None for no memory, a perceptron of ``blocks`` alone.
        components: Mixture components per action dimension.
        bins: Bins per action dimension; 256 in Play-LMP.
        blocks: Residual blocks that each step passes before the recurrent layers; 0, as published, for none.
        log_scale_floor: See :class:`robot_learning.nn.logistic_mixture.LogisticMixtureHead`; -7 in Play-LMP.
    """

    def __init__(
        self,
        inputs: int,
        action_size: int,
        *,
        width: int = 2048,
        layers: int = 2,
        cell: str | None = "rnn",
        components: int = 10,
        bins: int = 256,
        blocks: int = 0,
        log_scale_floor: float = LOG_SCALE_FLOOR,
    ) -> None:
        """Make the layers."""
        super().__init__()
        if bins < 2 or components < 1 or blocks < (cell is None):
            raise ConfigError(
                f"decoder: expected bins >= 2, components >= 1 and a cell or blocks, got {bins}, {components}, {cell} and "
                f"{blocks}"
            )
        self.embed = ResidualMLP(inputs, width, width=width, blocks=blocks) if blocks else nn.Identity()
        self.steps = None if cell is None else recurrent(cell, width if blocks else inputs, width, layers)
        self.head = LogisticMixtureHead(width, action_size, components=components, bins=bins, log_scale_floor=log_scale_floor)

    def forward(self, steps: Float[Tensor, "b l i"], memory: Any = None) -> tuple[LogisticMixture, Any]:
        """Return the mixtures over actions ``[b, l, a]`` and the memory for the steps after."""
        hidden = self.embed(steps)
        if self.steps is not None:
            hidden, memory = self.steps(hidden, memory)
        return self.head(hidden), memory

    def check_decoded(self, steps: int | None) -> None:
        """Raise :class:`ConfigError` where it cannot learn from ``steps`` steps of a window: memory needs those in between."""
        if steps is not None and (steps < 1 or self.steps is not None):
            raise ConfigError(
                "decoded: expected at least one step and a decoder without memory (decoder.cell=null decoder.blocks=3), got "
                f"{steps} and {type(self.steps).__name__}"
            )

    def blank(self, batch: int) -> dict[str, Tensor]:
        """Return the memory before the first step by name, batch first."""
        if self.steps is None:
            return {}
        state = torch.zeros(batch, self.steps.num_layers, self.steps.hidden_size)
        return {"hidden": state, "cell": state} if isinstance(self.steps, nn.LSTM) else {"hidden": state}

    def packed(self, memory: Any) -> dict[str, Tensor]:
        """Return the memory that :meth:`forward` gave by name, batch first."""
        parts = memory if isinstance(memory, tuple) else () if memory is None else (memory,)
        return {name: part.transpose(0, 1) for name, part in zip(("hidden", "cell"), parts, strict=False)}

    def unpacked(self, memory: Mapping[str, Tensor]) -> Any:
        """Return the memory that :meth:`forward` takes; the inverse of :meth:`packed`."""
        parts = tuple(part.transpose(0, 1).contiguous() for part in memory.values())
        return parts if len(parts) > 1 else next(iter(parts), None)
