"""All cameras of a policy: which encoder sees which image, and which depth belongs to it."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.core.spec import ArraySpec
from robot_learning.nn.parts import build_part
from robot_learning.nn.vision import ImageEncoder

SMALL: Mapping[str, Any] = {"_target_": "robot_learning.nn.vision.ConvEncoder"}
_SHARED = "shared"


class Cameras(nn.Module):
    """Encode the images of some cameras, each camera with an encoder of its own unless they share one.

    A depth image is one more channel of the camera that it is paired with, and an image of its own otherwise.

    Args:
        specs: What every key looks like; those that are no images are left alone.
        observation_keys: Keys of the observation.
        goal_keys: Keys of the goal; an image of the same name goes through the same encoder.
        vectors: Make vectors; False for policies that take :meth:`cells` alone.
        encoder: ``_target_`` and settings of the encoder.
        shared: One encoder for all cameras.
        depth: Depth keys by the colour keys they are paired with, e.g. ``{"static_rgb": "static_depth"}``.

    Attributes:
        sizes: Numbers in the vector of each image key: 0 for depth that another key's encoder sees.
    """

    def __init__(
        self,
        specs: Mapping[str, ArraySpec],
        observation_keys: Sequence[str],
        goal_keys: Sequence[str],
        *,
        vectors: bool = True,
        encoder: Mapping[str, Any] = SMALL,
        shared: bool = False,
        depth: Mapping[str, str] | None = None,
    ) -> None:
        """Make the encoders."""
        super().__init__()
        used = [key for key in dict.fromkeys((*observation_keys, *goal_keys)) if specs[key].is_image]
        self._depth = dict(depth or {})
        for pair in self._depth.items():
            _check_pair(pair, {key: specs[key] for key in used}, observation_keys, goal_keys)
        if not vectors and "size" in encoder:
            raise ConfigError("vision.encoder.size: this policy takes the cells of images, not vectors; leave size away")
        own = [key for key in used if key not in self._depth.values()]
        channels = {key: specs[key].shape[-1] + (key in self._depth) for key in own}
        if shared and len(set(channels.values())) > 1:
            raise ConfigError(f"vision.shared: expected the same number of channels from every camera, got {channels}")
        self._name = {key: _SHARED if shared else key for key in channels}
        given = {} if vectors else {"size": None}
        inputs = {name: channels[key] for key, name in self._name.items()}
        self.encoders = nn.ModuleDict(
            {name: build_part(encoder, ImageEncoder, inputs=count, **given) for name, count in inputs.items()}
        )
        self.sizes = {key: self._encoder(key).size or 0 if key in channels else 0 for key in used}

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the image keys that are encoded: all but depth that another key's encoder sees."""
        return tuple(self._name)

    @property
    def cell_size(self) -> int:
        """Return how many numbers a cell has."""
        return self._encoder(self.sources[0]).cell_size

    def forward(
        self, key: str, images: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b t f"]:
        """Return one vector per image of ``key``, empty for depth that another key's encoder sees.

        Args:
            key: Which camera.
            images: Images ``[b, t, y, x, c]``, as cameras give them, of this key and of its depth.
            generator: Switches augmentation on.
        """
        batch, steps = images[key].shape[:2]
        if key not in self._name:
            return torch.zeros(batch, steps, 0, device=images[key].device)
        out: Tensor = self._encoder(key)(*self._inputs(key, images, generator))
        return out.view(batch, steps, -1)

    def cells(
        self, key: str, images: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Float[Tensor, "n d p q"]:
        """Return one map of cells per image of ``key``, batch and steps joined; takes what :meth:`forward` takes."""
        return self._encoder(key).cells(*self._inputs(key, images, generator))

    def _inputs(
        self, key: str, images: Mapping[str, Tensor], generator: torch.Generator | None
    ) -> tuple[Tensor, torch.Generator | None, Tensor | None]:
        """Return what the encoder of a key takes: its images, batch and steps joined, the generator, and their depth."""
        depth = self._depth.get(key)
        return images[key].flatten(0, 1), generator, None if depth is None else images[depth].flatten(0, 1)

    def _encoder(self, key: str) -> ImageEncoder:
        return cast(ImageEncoder, self.encoders[self._name[key]])


def _check_pair(
    pair: tuple[str, str], images: Mapping[str, ArraySpec], observation_keys: Sequence[str], goal_keys: Sequence[str]
) -> None:
    """Raise unless a pair is a colour image and a depth image of the same size, both observed and both or none in the goal."""
    for name in pair:
        if name not in images:
            raise UnknownName("image key of vision.depth", name, images)
    colour, depth = (images[name] for name in pair)
    if colour.is_depth or not depth.is_depth or colour.shape[:2] != depth.shape[:2]:
        raise ConfigError(
            f"vision.depth: expected a colour image and a depth image of the same size, got {pair[0]!r} {colour.dtype} "
            f"{colour.shape} and {pair[1]!r} {depth.dtype} {depth.shape}"
        )
    for what, keys in (("observation_keys", observation_keys), ("goal_keys", goal_keys)):
        if len({name in keys for name in pair}) > 1:
            raise ConfigError(f"{what}: expected both of {list(pair)}, which vision.depth pairs, or none, got {list(keys)}")
