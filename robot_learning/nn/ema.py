"""Exponential moving average of a module's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class EMA:
    """Average the trainable parameters: ``a <- d a + (1 - d) w`` with ``d = min(decay, (1 + n) / (10 + n))`` at update n.

    The warm-up is the one of the BESO code (after Karras' and TensorFlow's ``ExponentialMovingAverage``). Buffers are not
    averaged: they hold statistics and constants.

    Args:
        module: Its weights are the first average.
        decay: Decay after the warm-up.
    """

    def __init__(self, module: nn.Module, *, decay: float = 0.999) -> None:
        """Copy the weights."""
        self.decay = decay
        self.reset(module)

    def reset(self, module: nn.Module, *, updates: int = 0) -> None:
        """Take the module's weights as the average after ``updates`` updates."""
        self.updates = updates
        self.weights = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average toward the module's weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        named = dict(module.named_parameters())
        averages = list(self.weights.values())
        torch._foreach_lerp_(averages, [named[name].detach() for name in self.weights], 1.0 - decay)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[nn.Module]:
        """Put the average into the module until the block ends."""
        named = dict(module.named_parameters())
        kept = {name: named[name].detach().clone() for name in self.weights}
        self._copy(self.weights, named)
        try:
            yield module
        finally:
            self._copy(kept, named)

    @staticmethod
    @torch.no_grad()
    def _copy(source: dict[str, torch.Tensor], target: dict[str, nn.Parameter]) -> None:
        for name, value in source.items():
            target[name].copy_(value)
