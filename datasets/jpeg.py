"""JPEG as a Zarr v3 codec: one image per inner chunk, so that appending never encodes a frame twice."""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec

from robot_learning.core.errors import ConfigError, StoreCorrupt

JPEG_NAME = "robot_learning.jpeg"
_NO_SUBSAMPLING = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444


@dataclass(frozen=True)
class JpegCodec(ArrayBytesCodec):
    """Encode chunks ``[1, y, x, c]`` of uint8 grey (c = 1) or RGB (c = 3) as JPEG.

    Attributes:
        quality: 1 to 100.
    """

    quality: int = 95
    is_fixed_size = False

    def __post_init__(self) -> None:
        """Check the quality."""
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"jpeg quality: expected 1 to 100, got {self.quality}")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "JpegCodec":
        """Build the codec from an array's metadata."""
        return cls(**data.get("configuration", {}))

    def to_dict(self) -> dict[str, Any]:
        """Return what an array's metadata says of the codec."""
        return {"name": JPEG_NAME, "configuration": {"quality": self.quality}}

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: Any) -> int:
        """Refuse: the size depends on the picture."""
        raise NotImplementedError("the size of a JPEG is not known before it is encoded")

    async def _encode_single(self, chunk_array: Any, chunk_spec: Any) -> Any:
        encoded = await asyncio.to_thread(encode_jpeg, chunk_array.as_numpy_array()[0], self.quality)
        return chunk_spec.prototype.buffer.from_bytes(encoded)

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        image = await asyncio.to_thread(decode_jpeg, chunk_bytes.to_bytes(), chunk_spec.shape[1:])
        return chunk_spec.prototype.nd_buffer.from_numpy_array(image[None])


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Return ``image`` (``[y, x, c]``, grey or RGB) as JPEG."""
    picture = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.shape[-1] == 3 else image
    # full colour resolution: the small objects of robot cameras are a few pixels wide
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _NO_SUBSAMPLING]
    done, encoded = cv2.imencode(".jpg", picture, settings)
    if not done:
        raise ConfigError(f"jpeg: expected an image of 1 or 3 channels, got shape {image.shape}")
    return encoded.tobytes()


def decode_jpeg(encoded: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the image behind ``encoded``, which must have ``shape``."""
    flag = cv2.IMREAD_GRAYSCALE if shape[-1] == 1 else cv2.IMREAD_COLOR
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
    if picture is None or picture.shape[:2] != tuple(shape[:2]):
        got = "no JPEG" if picture is None else picture.shape
        raise StoreCorrupt(f"jpeg: expected an image of shape {shape}, got {got}")
    picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) if shape[-1] == 3 else picture
    return cast("NDArray[np.uint8]", picture.reshape(shape))
