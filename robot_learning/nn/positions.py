"""Fixed sine and cosine positions of sequences and of image grids."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_TEMPERATURE = 10000.0
"""Longest wavelength over 2 pi, of Vaswani et al., NeurIPS 2017."""


def sine_positions(length: int, width: int, device: torch.device | None = None) -> Float[Tensor, "l w"]:
    """Return ``sin(p / T^(2i/w))`` in feature 2i and the cosine in 2i+1, for p = 0 .. length-1 (Vaswani et al., Sec. 3.5)."""
    return _waves(torch.arange(length, device=device, dtype=torch.float32), width)


def sine_positions_2d(rows: int, columns: int, width: int, device: torch.device | None = None) -> Float[Tensor, "c w"]:
    """Return positions of the cells of a grid, row by row: half of the features for y, half for x.

    Coordinates run from 2 pi / n to 2 pi, as in DETR (Carion et al., ECCV 2020), which ACT took over: grids of
    other sizes share their range.
    """
    y = _waves(_turn(rows, device), width // 2)[:, None].expand(rows, columns, -1)
    x = _waves(_turn(columns, device), width - width // 2)[None].expand(rows, columns, -1)
    return torch.cat([y, x], dim=-1).flatten(0, 1)


def _turn(count: int, device: torch.device | None) -> Float[Tensor, " n"]:
    return torch.arange(1, count + 1, device=device, dtype=torch.float32) * (2 * math.pi / count)


def _waves(places: Float[Tensor, " n"], width: int) -> Float[Tensor, "n w"]:
    index = torch.arange(width, device=places.device)
    angle = places[:, None] * torch.exp(-math.log(_TEMPERATURE) * (index - index % 2) / width)
    return torch.where(index % 2 == 0, angle.sin(), angle.cos())
