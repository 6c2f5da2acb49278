"""ResNet-18 with GroupNorm, to be trained from scratch (He et al., CVPR 2016; Wu and He, ECCV 2018).

Batch statistics change with the batch, and averages of weights do not know them; groups of channels are normalised instead, as
Diffusion Policy does.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from robot_learning.nn.vision import ImageEncoder, SpatialHead

_GROUP = 16
"""Channels normalised together, as in Diffusion Policy's encoder."""


class ResNet18(nn.Module):
    """Return the last feature map of images: with four stages one cell per 32 x 32 pixels.

    Args:
        channels_in: Channels of an image.
        channels: Channels of the first stage; every further one has twice as many. 64 is the paper.
        stages: Stages of two blocks each; 4 is the paper, 3 keep one cell per 16 x 16 pixels of small images.

    Attributes:
        channels_out: Channels of the feature map.
    """

    def __init__(self, channels_in: int = 3, *, channels: int = 64, stages: int = 4) -> None:
        """Make the layers."""
        super().__init__()
        widths = [channels * 2**stage for stage in range(stages)]
        self.channels_out = widths[-1]
        self.stem = nn.Sequential(_convolution(channels_in, channels, 7, 2), _norm(channels), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        blocks: list[nn.Module] = []
        for stage, (before, width) in enumerate(zip([channels, *widths], widths, strict=False)):
            blocks += [_Block(before, width, stride=1 if stage == 0 else 2), _Block(width, width, stride=1)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Float[Tensor, "n c y x"]) -> Float[Tensor, "n f p q"]:
        """Return the feature map."""
        out: Tensor = self.blocks(self.stem(images))
        return out


class ResNetEncoder(ImageEncoder):
    """ResNet-18 with a spatial softmax in place of its average over places, as in Diffusion Policy.

    Args:
        inputs: Channels of the images.
        size: Numbers in a vector.
        channels: Channels of the first stage, see :class:`ResNet18`.
        stages: Stages, see :class:`ResNet18`.
        shift: Largest random shift [pixels].
        far: Depth [m] from which on everything looks equally far.
    """

    def __init__(
        self,
        inputs: int = 3,
        size: int | None = 64,
        *,
        channels: int = 64,
        stages: int = 4,
        shift: int = 4,
        far: float = 2.0,
    ) -> None:
        """Make the layers."""
        super().__init__(size, shift, far)
        self.trunk = ResNet18(inputs, channels=channels, stages=stages)
        self.cell_size = self.trunk.channels_out
        self.head = None if size is None else SpatialHead(self.cell_size, size)

    def maps(self, pixels: Float[Tensor, "n c y x"]) -> Float[Tensor, "n d p q"]:
        """Return the last feature map."""
        out: Tensor = self.trunk(2.0 * pixels - 1.0)
        return out


class _Block(nn.Module):
    """``relu(x + f(x))`` with two 3 x 3 convolutions; the first may halve the resolution."""

    def __init__(self, before: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(_convolution(before, width, 3, stride), _norm(width), nn.ReLU())
        self.second = nn.Sequential(_convolution(width, width, 3, 1), _norm(width))
        same = before == width and stride == 1
        self.skip = nn.Identity() if same else nn.Sequential(_convolution(before, width, 1, stride), _norm(width))

    def forward(self, x: Float[Tensor, "n c y x"]) -> Float[Tensor, "n d p q"]:
        return F.relu(self.skip(x) + self.second(self.first(x)))


def _convolution(before: int, after: int, size: int, stride: int) -> nn.Conv2d:
    layer = nn.Conv2d(before, after, size, stride, size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(channels // _GROUP, 1), channels)
