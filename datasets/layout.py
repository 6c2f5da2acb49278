"""Where things lie in a store: array names, dtypes, chunks and codecs.

    zarr.json                     attributes["robot_learning"]: format, spec with units, image codec, meta
    data/<key>                    one array per observation key, episodes one after the other along axis 0
    data/action, data/applied     what was asked for, what was done; the last row of an episode is NaN
    data/reward, data/source      per step; source is a small integer, its names are in the array's attributes
    data/time, data/time_<stream> clocks [s], float64
    meta/episode_ends, meta/episodes, meta/histogram/<key>

Only the newest chunk or shard of an array is ever rewritten, as a whole (see ``durable.py``).
"""

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec
from zarr.storage import LocalStore

from robot_learning.core.errors import ConfigError, SpecMismatch
from robot_learning.core.spec import TIME_KEY, ArraySpec, RobotSpec

FORMAT = 1
ROOT_KEY = "robot_learning"
NOBODY = -1
"""Value of ``data/source`` in the last row of an episode, where no action follows."""

STEP_ARRAYS = ("action", "applied", "reward", "source")
RESERVED = (*STEP_ARRAYS, TIME_KEY)
STREAM_PREFIX = "time_"
DEPTH_STEP = 16
"""Width of the 256 bins that depth is counted in [mm]: they reach to 4 m."""
IMAGE_CODECS = ("zstd", "jpeg")

_CHUNK_BYTES = 128 * 1024
_SHARD_BYTES = 8 * 1024 * 1024


def check_spec(spec: RobotSpec, image_codec: str) -> None:
    """Raise unless ``spec`` can be stored."""
    clash = [key for key in spec.observation if key in RESERVED or key.startswith(STREAM_PREFIX)]
    if clash:
        raise SpecMismatch(f"observation keys {clash}: expected none of {RESERVED} and none starting with 'time_'")
    if not np.issubdtype(np.dtype(spec.action.dtype), np.floating):
        raise SpecMismatch(f"action: expected a floating dtype (its last row is NaN), got {spec.action.dtype}")
    if image_codec not in IMAGE_CODECS:
        raise ConfigError(f"image_codec: expected one of {IMAGE_CODECS}, got {image_codec!r}")


def array_specs(spec: RobotSpec) -> dict[str, ArraySpec]:
    """Return the arrays under ``data/`` that every store of this robot has."""
    return {
        **spec.observation,
        "action": spec.action,
        "applied": spec.action,
        "reward": ArraySpec((), "float32"),
        "source": ArraySpec((), "int16"),
        TIME_KEY: ArraySpec((), "float64", "s"),
    }


def create_arrays(root: Path, spec: RobotSpec, image_codec: str, quality: int) -> None:
    """Create the empty arrays of a new store; flushing them to the disk is left to the caller."""
    group = zarr.open_group(LocalStore(root), mode="a", zarr_format=3)
    group.create_group("data")
    meta = group.create_group("meta")
    meta.create_group("episodes")
    meta.create_array("episode_ends", shape=(0,), chunks=(1024,), dtype="int64", **_plain_options())
    for key, array_spec in array_specs(spec).items():
        lossy = array_spec.is_image and not array_spec.is_depth and key in spec.observation
        codec = image_codec if lossy else "zstd"
        create_array(group, f"data/{key}", array_spec, codec=codec, quality=quality)
    for key in spec.image_keys:
        channels = spec.observation[key].shape[-1]
        shape = (channels, 256)
        meta.create_array(histogram_name(key), shape=(0, *shape), chunks=(16, *shape), dtype="uint32", **_compressed_options())


def create_array(
    group: zarr.Group, name: str, spec: ArraySpec, *, codec: str = "zstd", quality: int = 95, rows: int = 0
) -> zarr.Array[Any]:
    """Create one array along rows, described by ``spec``."""
    attributes: dict[str, Any] = {"unit": spec.unit, "names": list(spec.names)}
    if name == "data/source":
        attributes["source_names"] = []
    options = _compressed_options()
    options["fill_value"] = _fill_value(name, spec)
    chunks, shards = _chunks(spec)
    if codec == "jpeg":
        from robot_learning.datasets.jpeg import JpegCodec

        options |= {"serializer": JpegCodec(quality=quality), "compressors": None}
    return group.create_array(
        name,
        shape=(rows, *spec.shape),
        dtype=spec.dtype,
        chunks=chunks,
        shards=shards,
        attributes=attributes,
        **options,
    )


def histogram_name(key: str) -> str:
    """Return the name under ``meta/`` of the pixel counts of image ``key``, one ``[c, 256]`` table per episode."""
    return f"histogram/{key}"


def _fill_value(name: str, spec: ArraySpec) -> float | int:
    if name == "data/source":
        return NOBODY
    if name.removeprefix("data/") in STEP_ARRAYS or name.startswith("data/" + STREAM_PREFIX):
        return float("nan")
    return False if spec.dtype == "bool" else 0


def _chunks(spec: ArraySpec) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    size = max(1, int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize)
    if spec.is_image:
        return (1, *spec.shape), (int(np.clip(_SHARD_BYTES // size, 8, 256)), *spec.shape)
    return (max(1, _CHUNK_BYTES // size), *spec.shape), None


def _plain_options() -> dict[str, Any]:
    return {"compressors": None, "chunk_key_encoding": {"name": "default", "separator": "."}, "fill_value": 0}


def _compressed_options() -> dict[str, Any]:
    return _plain_options() | {"compressors": ZstdCodec(level=3, checksum=True)}
