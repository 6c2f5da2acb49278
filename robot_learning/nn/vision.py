"""Image encoders: what they share (pixels, depth, random shift), and a small convolutional net to be trained from scratch."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8, UInt16
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError

_MM_PER_M = 1000.0


class ImageEncoder(nn.Module, ABC):
    """Turns images ``[n, y, x, c]`` into vectors or, for policies that attend to places, into maps of cells.

    A subclass writes ``maps``, and sets ``head``, which makes a vector of a map. While training, images are shifted by up to
    ``shift`` pixels (Yarats et al., "Image Augmentation Is All You Need", ICLR 2021), on the device where they are.

    Args:
        size: Numbers in a vector; None makes no head, for policies that want maps alone.
        shift: Largest random shift [pixels]; 0 switches it off.
        far: Depth [m] from which on everything looks equally far.

    Attributes:
        size: Numbers in a vector.
        cell_size: Numbers in a cell of a map.
    """

    cell_size: int
    head: nn.Module | None

    def __init__(self, size: int | None, shift: int, far: float = 2.0) -> None:
        """Keep what all encoders need."""
        super().__init__()
        self.size, self.shift, self.far = size, shift, far

    @abstractmethod
    def maps(self, pixels: Float[Tensor, "n c y x"]) -> Float[Tensor, "n d p q"]:
        """Return the feature maps of pixels from 0 to 1."""

    def forward(
        self,
        images: UInt8[Tensor, "n y x c"] | UInt16[Tensor, "n y x 1"],
        generator: torch.Generator | None = None,
        depth: UInt16[Tensor, "n y x 1"] | None = None,
    ) -> Float[Tensor, "n f"]:
        """Return one vector per image; a generator switches the random shift on, ``depth`` [mm] is one more channel."""
        return self.vectors(self.pixels(images, generator, depth))

    def cells(
        self,
        images: UInt8[Tensor, "n y x c"] | UInt16[Tensor, "n y x 1"],
        generator: torch.Generator | None = None,
        depth: UInt16[Tensor, "n y x 1"] | None = None,
    ) -> Float[Tensor, "n d p q"]:
        """Return one map per image; takes what :meth:`forward` takes."""
        return self.maps(self.pixels(images, generator, depth))

    def vectors(self, pixels: Float[Tensor, "n c y x"]) -> Float[Tensor, "n f"]:
        """Return the vectors of pixels from 0 to 1."""
        assert self.head is not None  # noqa: S101 - whoever asks for no size asks for no vectors
        out: Tensor = self.head(self.maps(pixels))
        return out

    def pixels(self, images: Tensor, generator: torch.Generator | None, depth: Tensor | None) -> Float[Tensor, "n c y x"]:
        """Return colours and depth from 0 to 1, shifted together where there is a generator."""
        parts = [images] if depth is None else [images, depth]
        pixels = torch.cat([self._scaled(part) for part in parts], dim=-1).permute(0, 3, 1, 2)
        return pixels if generator is None or self.shift == 0 else random_shift(pixels, self.shift, generator)

    def _scaled(self, images: Tensor) -> Float[Tensor, "n y x c"]:
        """Return bytes over 255, millimetres over ``far``; 0 mm, which is no measurement, stays nearer than anything is."""
        if images.dtype == torch.uint8:
            return images.float() / 255.0
        return (images.float() / (_MM_PER_M * self.far)).clamp(max=1.0)


class ConvEncoder(ImageEncoder):
    """Four convolutions with GroupNorm and a spatial softmax: quick to train on a CPU.

    Args:
        inputs: Channels of the images.
        size: Numbers in a vector.
        channels: Channels of the three stages.
        shift: Largest random shift [pixels].
        far: Depth [m] from which on everything looks equally far.
    """

    def __init__(
        self,
        inputs: int = 3,
        size: int | None = 64,
        *,
        channels: tuple[int, int, int] = (32, 64, 64),
        shift: int = 4,
        far: float = 2.0,
    ) -> None:
        """Make the layers."""
        super().__init__(size, shift, far)
        first, second, self.cell_size = channels
        sizes = ((inputs, first, 7, 4), (first, second, 3, 2), (second, self.cell_size, 3, 1))
        stages = [
            layer
            for before, after, kernel, stride in sizes
            for layer in (nn.Conv2d(before, after, kernel, stride, kernel // 2), nn.GroupNorm(8, after), nn.ReLU())
        ]
        self.stages = nn.Sequential(*stages, nn.Conv2d(self.cell_size, self.cell_size, 3, 1, 1))
        self.head = None if size is None else SpatialHead(self.cell_size, size)

    def maps(self, pixels: Float[Tensor, "n c y x"]) -> Float[Tensor, "n d p q"]:
        """Return one cell per 8 x 8 pixels."""
        out: Tensor = self.stages(2.0 * pixels - 1.0)
        return out


class SpatialHead(nn.Module):
    """Where each channel of a map sees what it looks for, projected to a vector.

    The spatial softmax gives the expected image coordinates of each channel (Levine et al., JMLR 2016), which keeps positions,
    the thing a manipulation policy needs.

    Args:
        channels: Channels of the map.
        size: Numbers in the vector.
    """

    def __init__(self, channels: int, size: int) -> None:
        """Make the layers."""
        super().__init__()
        self.project = projection(2 * channels, size)

    def forward(self, maps: Float[Tensor, "n d p q"]) -> Float[Tensor, "n f"]:
        """Return one vector per map.

        Raises:
            ConfigError: The map has a single cell, where everything is in the same place: such an encoder would be blind.
        """
        if maps.shape[-2:].numel() == 1:
            raise ConfigError(
                "vision.encoder: expected images that leave a map of several cells; take larger ones or fewer stages"
            )
        out: Tensor = self.project(spatial_softmax(maps))
        return out


def projection(inputs: int, size: int) -> nn.Module:
    """Return the last layers of an encoder: what it found, as a vector of unit spread."""
    return nn.Sequential(nn.Linear(inputs, size), nn.LayerNorm(size))


def spatial_softmax(maps: Float[Tensor, "n c y x"]) -> Float[Tensor, "n d"]:
    """Return the expected x and y coordinate, in [-1, 1], under the softmax of every channel."""
    count, channels, rows, columns = maps.shape
    weights = maps.flatten(2).float().softmax(dim=-1).view(count, channels, rows, columns)
    x = torch.linspace(-1, 1, columns, device=maps.device)
    y = torch.linspace(-1, 1, rows, device=maps.device)
    return torch.cat([(weights.sum(2) * x).sum(-1), (weights.sum(3) * y).sum(-1)], dim=1)


def random_shift(images: Float[Tensor, "n c y x"], pixels: int, generator: torch.Generator) -> Float[Tensor, "n c y x"]:
    """Shift every image by its own whole number of pixels up to ``pixels``, edges repeated."""
    count, _, rows, columns = images.shape
    padded = F.pad(images, (pixels,) * 4, mode="replicate")
    offsets = torch.randint(0, 2 * pixels + 1, (2, count), generator=generator, device=generator.device)
    offsets = offsets.to(images.device)
    y = offsets[0][:, None] + torch.arange(rows, device=images.device)
    x = offsets[1][:, None] + torch.arange(columns, device=images.device)
    index = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
