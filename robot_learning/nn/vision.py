"""Image encoder from scratch: a small convolutional net with GroupNorm and a spatial softmax, and random-shift augmentation."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn


class ImageEncoder(nn.Module):
    """Encode uint8 images ``[n, y, x, 3]`` as vectors.

    The spatial softmax gives the expected image coordinates of each channel (Levine et al., JMLR 2016), which keeps positions,
    the thing a manipulation policy needs. While training, images are shifted by up to ``shift`` pixels (Yarats et al., "Image
    Augmentation Is All You Need", ICLR 2021).

    Args:
        outputs: Size of the vector.
        channels: Channels of the three stages.
        shift: Largest random shift [pixels]; 0 switches it off.
    """

    def __init__(self, outputs: int, *, channels: tuple[int, int, int] = (32, 64, 64), shift: int = 4) -> None:
        """Make the layers."""
        super().__init__()
        self.shift = shift
        sizes = ((3, channels[0], 7, 4), (channels[0], channels[1], 3, 2), (channels[1], channels[2], 3, 1))
        stages = [
            layer
            for inputs, outs, kernel, stride in sizes
            for layer in (nn.Conv2d(inputs, outs, kernel, stride, kernel // 2), nn.GroupNorm(8, outs), nn.ReLU())
        ]
        self.stages = nn.Sequential(*stages, nn.Conv2d(channels[2], channels[2], 3, 1, 1))
        self.project = nn.Sequential(nn.Linear(2 * channels[2], outputs), nn.LayerNorm(outputs))

    def forward(self, images: UInt8[Tensor, "n y x 3"], generator: torch.Generator | None = None) -> Float[Tensor, "n f"]:
        """Return one vector per image; a generator switches the random shift on."""
        pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        if generator is not None and self.shift > 0:
            pixels = random_shift(pixels, self.shift, generator)
        out: Tensor = self.project(spatial_softmax(self.stages(pixels)))
        return out


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
