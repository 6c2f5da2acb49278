"""Make an empty store appear, whole or not at all.

It is built under another name and renamed into place with the writer's lock held, so that of two processes that create
the same store one is refused, and what a killed one left half built can be told apart and removed.
"""

import glob
import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_learning.core.errors import ConfigError, StoreCorrupt, StoreWriteFailed
from robot_learning.core.spec import RobotSpec
from robot_learning.datasets.durable import PARTIAL_SUFFIX, sync_folder, sync_tree, write_atomic
from robot_learning.datasets.layout import FORMAT, ROOT_KEY, check_spec, create_arrays
from robot_learning.datasets.lock import WriterLock
from robot_learning.datasets.plain import digest, dump, from_plain


def create_store(path: Path, spec: RobotSpec, image_codec: str, jpeg_quality: int, meta: Mapping[str, Any]) -> None:
    """Put an empty store at ``path``; see :meth:`robot_learning.datasets.store.DemoStore.create`."""
    check_spec(spec, image_codec)
    header = {"format": FORMAT, "spec": spec.to_json(), "image_codec": image_codec, "meta": dict(meta)}
    root = {"zarr_format": 3, "node_type": "group", "attributes": {ROOT_KEY: {**header, "digest": digest(header)}}}
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(path)
    lock.acquire()
    try:
        _refuse_existing(path)
        for leftover in _unfinished(path):
            shutil.rmtree(leftover)
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}")
        temporary.mkdir()
        create_arrays(temporary, spec, image_codec, jpeg_quality)
        write_atomic(temporary / "zarr.json", dump(root))
        sync_tree(temporary)
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        for leftover in _unfinished(path):
            shutil.rmtree(leftover, ignore_errors=True)
        raise StoreWriteFailed(f"{path}: the store could not be created: {error}; nothing was left behind") from error
    finally:
        lock.release()


def read_header(path: Path) -> dict[str, Any]:
    """Return format, spec, image codec and notes of the store at ``path``."""
    try:
        header = from_plain(json.loads((path / "zarr.json").read_text())["attributes"][ROOT_KEY])
        newer = header["format"] > FORMAT
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: expected a demonstration store, got nothing with a zarr.json") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(f"{path / 'zarr.json'}: expected a robot-learning store, got {error!r}") from error
    if newer:
        raise StoreCorrupt(f"{path}: expected store format {FORMAT} or older, got {header['format']}; upgrade")
    return dict(header)


def header_was_changed(header: Mapping[str, Any]) -> bool:
    """Tell whether spec, codec or notes are others than those the store was created with."""
    return "digest" in header and digest({key: value for key, value in header.items() if key != "digest"}) != header["digest"]


def _refuse_existing(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{path}: expected no file or folder there, got one; open it with mode='a' or move it")


def _unfinished(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{glob.escape(path.name)}.*{PARTIAL_SUFFIX}"))
