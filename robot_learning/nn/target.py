"""A slow copy of a network whose answers are what another one learns (He et al., CVPR 2020; Grill et al., NeurIPS 2020)."""

import copy
from typing import Any

import torch
from torch import nn


class SlowCopy(nn.Module):
    """A copy without gradient, always in evaluation mode; :meth:`follow` moves it. Buffers stay as they were copied.

    Args:
        network: What to copy.
    """

    def __init__(self, network: nn.Module) -> None:
        """Copy the weights."""
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "SlowCopy":  # noqa: ARG002 - it never trains
        """Stay in evaluation mode: no dropout."""
        return super().train(False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the copy says, without gradient."""
        with torch.no_grad():
            return self.network(*args, **kwargs)

    @torch.no_grad()
    def follow(self, source: nn.Module, momentum: float) -> None:
        """Move every weight: ``copy <- momentum * copy + (1 - momentum) * source``."""
        pairs = zip(self.network.parameters(), source.parameters(), strict=True)
        slow, fast = zip(*pairs, strict=True)
        torch._foreach_lerp_(list(slow), list(fast), 1.0 - momentum)


def linear_momentum(first: float, step: int, steps: int) -> float:
    """Return the momentum of update ``step`` (1 is the first) of ``steps``: from ``first`` on the line that ends at 1.

    As in I-JEPA (Assran et al., CVPR 2023) and ACT-JEPA: the first update uses ``first``, and 1 would be that after the last.
    """
    return first + (1.0 - first) * (step - 1) / steps
