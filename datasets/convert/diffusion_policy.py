"""Import data sets in Diffusion Policy's layout (Zarr v2, flat arrays and ``meta/episode_ends``), Push-T above all.

Push-T's ``state`` becomes ``agent_pos`` and ``block_pose``, ``keypoint`` is flattened, ``img`` becomes uint8: the keys
of the simulated Push-T robot. Any other data set of this layout keeps its own keys, with units unknown.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError, SpecMismatch
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Episode, Outcome
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.stores import new_store

PUSHT_KEYS = {"action", "state", "keypoint", "img"}
PUSHT_SIZE = 512.0  # side of the scene [px]

_SCENE_LIMITS = {"low": np.zeros(2), "high": np.full(2, PUSHT_SIZE)}

PUSHT_SPEC = RobotSpec(
    observation={
        "agent_pos": ArraySpec((2,), "float32", "px", ("x", "y"), **_SCENE_LIMITS),
        "block_pose": ArraySpec((3,), "float32", "mixed", ("x [px]", "y [px]", "angle [rad]")),
        "keypoint": ArraySpec((18,), "float32", "px"),
        "image": ArraySpec((96, 96, 3), "uint8", "rgb"),
    },
    action=ArraySpec((2,), "float32", "px", ("x", "y"), **_SCENE_LIMITS),
    control_hz=10.0,
    name="pusht",
)

Columns = dict[str, NDArray[Any]]
AnyArray = zarr.Array[Any]


def convert_diffusion_policy(
    source: str | Path,
    out: str | Path,
    *,
    control_hz: float = 10.0,
    without_images: bool = False,
    image_codec: str = "zstd",
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DemoStore:
    """Import ``source`` into a new store ``out`` and return it open for writing.

    Args:
        source: The ``.zarr`` folder.
        out: A folder that does not exist yet.
        control_hz: Rate of the recording [1/s]; the format does not say it (Push-T's is 10).
        without_images: Leave cameras out.
        image_codec: ``zstd`` or ``jpeg``.
        limit: Import only so many episodes, to try things out.
        progress: Called with the number of episodes written and the number of all.
    """
    arrays, ends = _open(Path(source))
    ends = ends[:limit]
    is_pusht = set(arrays) >= PUSHT_KEYS and arrays["state"].shape[1:] == (5,)
    spec = PUSHT_SPEC if is_pusht else _generic_spec(arrays, control_hz, Path(source).stem)
    if without_images:
        kept = {key: array_spec for key, array_spec in spec.observation.items() if not array_spec.is_image}
        spec = replace(spec, observation=kept)
        arrays = {key: array for key, array in arrays.items() if not _is_image(array.shape)}
    meta = {"source": str(source), "format": "diffusion_policy", "episodes": len(ends), "steps": int(ends[-1])}
    with new_store(out, spec, image_codec=image_codec, meta=meta) as store:
        for index, (start, stop) in enumerate(pairwise([0, *ends.tolist()])):
            columns = {key: np.asarray(array[start:stop]) for key, array in arrays.items()}
            observation = _pusht_observation(columns) if is_pusht else _generic_observation(columns)
            store.append(_episode(observation, columns["action"], spec))
            if progress is not None:
                progress(index + 1, len(ends))
    return store


def _open(source: Path) -> tuple[dict[str, AnyArray], NDArray[np.int64]]:
    """Return the arrays under ``data/`` and the episodes' ends."""
    try:
        arrays = dict(zarr.open_group(source / "data", mode="r", zarr_format=2).arrays())
        ends = np.asarray(zarr.open_array(source / "meta" / "episode_ends", mode="r", zarr_format=2)[:], np.int64)
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise ConfigError(f"{source}: expected a Zarr v2 folder with data/ and meta/episode_ends, got {error}") from error
    if "action" not in arrays or not len(ends):
        raise ConfigError(f"{source}: expected data/action and at least one episode, got {len(ends)} episodes")
    short = [f"{key} ({array.shape[0]})" for key, array in arrays.items() if array.shape[0] < ends[-1]]
    if short:
        raise SpecMismatch(f"{source}: expected {ends[-1]} rows in every array, got fewer in {', '.join(short)}")
    return arrays, ends


def _episode(observation: Columns, action: NDArray[Any], spec: RobotSpec) -> Episode:
    steps = len(action)
    action = action.astype(spec.action.dtype)
    return Episode(
        observation=observation,
        action=action,
        applied=action,
        time=np.arange(steps, dtype=np.float64) * spec.dt,
        source=("human",) * steps,
        reward=np.full(steps, np.nan, np.float32),
        outcome=Outcome(reason="imported", steps=steps, duration_s=(steps - 1) * spec.dt),
        meta={"imported": True},
    )


def _pusht_observation(columns: Columns) -> Columns:
    return {
        "agent_pos": columns["state"][:, :2],
        "block_pose": columns["state"][:, 2:],
        "keypoint": columns["keypoint"].reshape(-1, 18),
    } | ({"image": _to_uint8(columns["img"], "img")} if "img" in columns else {})


def _generic_observation(columns: Columns) -> Columns:
    rest = {key: value for key, value in columns.items() if key != "action"}
    return {key: _to_uint8(value, key) if _is_image(value.shape) else value for key, value in rest.items()}


def _generic_spec(arrays: Mapping[str, AnyArray], control_hz: float, name: str) -> RobotSpec:
    observation = {}
    for key, array in arrays.items():
        dtype = "uint8" if _is_image(array.shape) else array.dtype.name
        if key != "action":
            observation[key] = ArraySpec(array.shape[1:], dtype, "rgb" if dtype == "uint8" else "")
    action = arrays["action"]
    dtype = action.dtype.name if np.issubdtype(action.dtype, np.floating) else "float32"
    return RobotSpec(observation, ArraySpec(action.shape[1:], dtype), control_hz, name)


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[-1] in (1, 3)


def _to_uint8(images: NDArray[Any], key: str) -> NDArray[np.uint8]:
    if images.dtype == np.uint8:
        return images
    whole = images.astype(np.uint8)
    if not np.array_equal(whole, images):
        raise SpecMismatch(f"{key}: expected whole numbers 0 to 255, got {images.min()} to {images.max()}")
    return whole
