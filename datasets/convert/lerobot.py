"""Import LeRobot data sets, version 3.0: parquet tables and one video per camera and file.

Keys lose their prefix: ``observation.state`` becomes ``state``, ``observation.images.front`` becomes ``front``. Values
keep LeRobot's units, which its files do not name (motor positions are degrees or percent of the calibrated range), and
the spec says so. Episodes are found by their index, never by position, and their rows are counted.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError, MissingExtra, SpecMismatch, StoreCorrupt
from robot_learning.core.spec import TIME_KEY, ArraySpec, RobotSpec
from robot_learning.core.types import Outcome
from robot_learning.datasets.convert.video import video_frames
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.stores import new_store

UNIT = "lerobot"
UNIT_NOTE = "LeRobot's motor normalisation: degrees or -100..100 for joints, 0..100 for grippers; its files do not say"

_BLOCK = 64  # rows decoded and written at a time, so that memory does not grow with the episode
_BOOKKEEPING = {"timestamp", "frame_index", "episode_index", "index", "task_index"}


@dataclass(frozen=True)
class _Source:
    """A LeRobot data set on disk.

    Attributes:
        root: Its folder.
        info: ``meta/info.json``.
        episodes: One row of ``meta/episodes`` per episode, in the order of their index.
        keys: Feature name by our observation key.
    """

    root: Path
    info: dict[str, Any]
    episodes: list[dict[str, Any]]
    keys: dict[str, str]

    def feature(self, key: str) -> dict[str, Any]:
        """Return what the data set says of observation ``key``."""
        return dict(self.info["features"][self.keys[key]])

    def video(self, key: str, episode: Mapping[str, Any]) -> Path:
        """Return the file with the frames of ``key`` in ``episode``."""
        return self._file("video_path", f"videos/{self.keys[key]}", episode, video_key=self.keys[key])

    def table(self, episode: Mapping[str, Any]) -> Path:
        """Return the parquet file with the rows of ``episode``."""
        return self._file("data_path", "data", episode)

    def _file(self, template: str, prefix: str, episode: Mapping[str, Any], **names: str) -> Path:
        numbers = {name: episode[f"{prefix}/{name}"] for name in ("chunk_index", "file_index")}
        return self.root / str(self.info[template]).format(**numbers, **names)


def convert_lerobot(
    source: str | Path,
    out: str | Path,
    *,
    without_images: bool = False,
    image_codec: str = "zstd",
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DemoStore:
    """Import ``source`` into a new store ``out`` and return it open for writing.

    Args:
        source: The data set's folder, which holds ``meta/info.json``.
        out: A folder that does not exist yet.
        without_images: Leave cameras out, e.g. because their videos are missing.
        image_codec: ``zstd`` or ``jpeg``.
        limit: Import only so many episodes, to try things out.
        progress: Called with the number of episodes written and the number of all.
    """
    data = _open(Path(source), without_images)
    _check_videos(data)
    spec = _spec(data)
    meta: dict[str, Any] = {
        "source": str(source),
        "format": f"lerobot {data.info['codebase_version']}",
        "unit": UNIT_NOTE,
    }
    meta |= {"robot_type": data.info.get("robot_type"), "episodes": len(data.episodes)}
    with new_store(out, spec, image_codec=image_codec, meta=meta) as store:
        for count, episode in enumerate(data.episodes[:limit]):
            _copy_episode(data, episode, spec, store)
            if progress is not None:
                progress(count + 1, len(data.episodes[:limit]))
        if limit is None and store.n_steps != data.info["total_frames"]:
            raise SpecMismatch(f"{source}: expected {data.info['total_frames']} frames, got {store.n_steps}")
    return store


def _open(root: Path, without_images: bool) -> _Source:
    try:
        info = json.loads((root / "meta" / "info.json").read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{root}: expected a LeRobot data set with meta/info.json, got none") from error
    version = str(info.get("codebase_version"))
    if not version.startswith("v3."):
        raise ConfigError(f"{root}: expected LeRobot format v3.x, got {version}; convert it with LeRobot's own tool")
    names = [
        name
        for name, feature in info["features"].items()
        if name.startswith("observation.") and not (without_images and feature["dtype"] in ("video", "image"))
    ]
    keys = {name.removeprefix("observation.").removeprefix("images."): name for name in names}
    if len(keys) != len(names):
        raise ConfigError(f"{root}: expected features with different short names, got {names}")
    episodes = sorted(
        (row for path in sorted((root / "meta" / "episodes").rglob("*.parquet")) for row in _rows(path)),
        key=lambda row: int(row["episode_index"]),
    )
    if len(episodes) != info["total_episodes"]:
        raise StoreCorrupt(f"{root}: expected {info['total_episodes']} episodes, got {len(episodes)} in meta/episodes")
    return _Source(root, info, episodes, keys)


def _check_videos(data: _Source) -> None:
    videos = [key for key in data.keys if data.feature(key)["dtype"] == "video"]
    files = {data.video(key, episode) for key in videos for episode in data.episodes}
    missing = sorted(str(path) for path in files if not path.is_file())
    if missing:
        raise ConfigError(
            f"{data.root}: expected {len(files)} video file(s), {len(missing)} are missing: {', '.join(missing)}; "
            "fetch them, or use --without-images to import everything else"
        )


def _spec(data: _Source) -> RobotSpec:
    observation = {}
    for key in data.keys:
        feature = data.feature(key)
        shape = tuple(int(size) for size in feature["shape"])
        if feature["dtype"] in ("video", "image"):
            height, width, channels = shape if shape[-1] in (1, 3) else (*shape[1:], shape[0])
            observation[key] = ArraySpec((height, width, channels), "uint8", "rgb")
        else:
            observation[key] = ArraySpec(shape, feature["dtype"], UNIT, _names(feature, shape))
    action = data.info["features"]["action"]
    shape = tuple(int(size) for size in action["shape"])
    return RobotSpec(
        observation=observation,
        action=ArraySpec(shape, action["dtype"], UNIT, _names(action, shape)),
        control_hz=float(data.info["fps"]),
        name=str(data.info.get("robot_type") or "lerobot"),
    )


def _names(feature: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[str, ...]:
    names = feature.get("names")
    names = next(iter(names.values()), None) if isinstance(names, dict) else names
    return tuple(names) if names is not None and len(names) == shape[-1] else ()


def _copy_episode(data: _Source, episode: Mapping[str, Any], spec: RobotSpec, store: DemoStore) -> None:
    index, length = int(episode["episode_index"]), int(episode["length"])
    columns = _columns(data, episode)
    found = len(columns["action"])
    if found != length or not np.array_equal(columns["frame_index"], np.arange(length)):
        raise StoreCorrupt(f"{data.table(episode)}: episode {index}: expected frames 0 to {length - 1}, got {found}")
    frames = {key: _frames(data, key, episode, columns) for key in spec.image_keys}
    reward = columns.get("next.reward", np.full(length, np.nan))
    writer = store.begin()
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        rows = {key: columns[name][start:stop] for key, name in data.keys.items() if key not in frames}
        rows |= {key: np.stack(list(islice(iterator, stop - start))) for key, iterator in frames.items()}
        rows |= {"action": columns["action"][start:stop], "applied": columns["action"][start:stop]}
        rows |= {"reward": reward[start:stop].astype(np.float32), TIME_KEY: np.arange(start, stop) / spec.control_hz}
        writer.extend(rows, ["human"] * (stop - start))
    success = bool(columns["next.success"][-1]) if "next.success" in columns else None
    outcome = Outcome(success, "imported", length, (length - 1) / spec.control_hz)
    meta = {"imported": True, "tasks": list(episode["tasks"]), "source_episode": index}
    writer.commit(outcome, "; ".join(episode["tasks"]), meta, steps=length)


def _frames(
    data: _Source, key: str, episode: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]
) -> Iterator[NDArray[np.uint8]]:
    name = data.keys[key]
    if data.feature(key)["dtype"] == "video":
        start = float(episode[f"videos/{name}/from_timestamp"])
        return video_frames(data.video(key, episode), start, int(episode["length"]), float(data.info["fps"]))
    return (_picture(item) for item in columns[name])


def _picture(item: Mapping[str, Any]) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(item["bytes"], np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise StoreCorrupt(f"image {item.get('path')!r}: expected PNG or JPEG bytes, got {len(item['bytes'])} others")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _rows(path: Path) -> list[dict[str, Any]]:
    table = _parquet().read_table(path)
    wanted = [name for name in table.column_names if not name.startswith("stats/")]
    return list(table.select(wanted).to_pylist())


def _columns(data: _Source, episode: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the rows of one episode as arrays ``[n, ...]``; pictures stay objects."""
    filters = [("episode_index", "=", int(episode["episode_index"]))]
    table = _parquet().read_table(data.table(episode), filters=filters)
    columns = {}
    for name in table.column_names:
        feature = data.info["features"].get(name, {"dtype": "string"})
        values = table.column(name).to_pylist()
        if feature["dtype"] == "image":
            columns[name] = np.array(values, dtype=object)
        elif feature["dtype"] not in ("string", "language"):
            shape = (len(values), *(feature["shape"] if name in (*data.keys.values(), "action") else ()))
            columns[name] = np.asarray(values, dtype=feature["dtype"]).reshape(shape)
    return columns


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "lerobot") from error
    return pyarrow.parquet
