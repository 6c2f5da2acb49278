"""The arrays of one store: read ranges of rows, append rows, cut torn tails.

Reading uses the ``zarrs`` codec pipeline where it is installed (three times faster); writing always uses zarr's own,
whose writes go through :class:`~robot_learning.datasets.durable.DurableStore`.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from robot_learning.core.errors import StoreCorrupt
from robot_learning.core.spec import ArraySpec
from robot_learning.datasets.durable import DurableStore
from robot_learning.datasets.layout import STREAM_PREFIX, create_array, histogram_name


class StoreArrays:
    """Arrays under ``data/`` and histograms under ``meta/`` of the store at ``root``."""

    def __init__(self, root: Path, *, writable: bool) -> None:
        self.root = root
        self._durable = DurableStore(root) if writable else None
        self._write_group = zarr.open_group(self._durable, mode="r+") if self._durable is not None else None
        self._write: dict[str, zarr.Array[Any]] = {}
        self._read: dict[str, zarr.Array[Any]] = {}

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return rows ``start`` to ``stop`` of the array ``name``, e.g. ``data/action``."""
        if name not in self._read:
            self._read[name] = self._open_for_reading(name)
        return cast("NDArray[Any]", self._read[name][start:stop])

    def attributes(self, name: str) -> dict[str, Any]:
        """Return the attributes of an array."""
        array = self._writer(name) if self._write_group is not None else self._open_for_reading(name)
        return dict(array.attrs)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array as it is on the disk."""
        return tuple(self._open_for_reading(name).shape)

    def stream_names(self) -> list[str]:
        """Return the names of streams with their own clock."""
        folders = (self.root / "data").glob(f"{STREAM_PREFIX}*/zarr.json")
        return sorted(path.parent.name.removeprefix(STREAM_PREFIX) for path in folders)

    def write(self, name: str, start: int, values: NDArray[Any]) -> None:
        """Make ``values`` the rows from ``start`` on, and the last rows, of the array ``name``."""
        array = self._writer(name)
        stop = start + len(values)
        if array.shape[0] != stop:
            array.resize((stop, *array.shape[1:]))
        array[start:stop] = values
        self._read.pop(name, None)

    def read_back(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return rows just written (a lossy codec may have changed them)."""
        return cast("NDArray[Any]", self._writer(name)[start:stop])

    def create_stream(self, stream: str, rows: int) -> None:
        """Add the clock of a stream that earlier episodes did not have; their rows read NaN."""
        assert self._write_group is not None  # noqa: S101 - writers only
        create_array(self._write_group, f"data/{STREAM_PREFIX}{stream}", ArraySpec((), "float64", "s"), rows=rows)

    def set_attribute(self, name: str, key: str, value: Any) -> None:
        """Change one attribute of an array."""
        self._writer(name).attrs[key] = value

    def cut(self, name: str, rows: int) -> int:
        """Drop all rows from ``rows`` on and return how many there were."""
        array = self._writer(name)
        extra = int(array.shape[0]) - rows
        if extra < 0:
            raise StoreCorrupt(f"{self.root / name}: expected {rows} rows, got {array.shape[0]}; run `data verify`")
        if extra:
            array.resize((rows, *array.shape[1:]))
            self._read.pop(name, None)
        return extra

    def sync(self) -> None:
        """Make everything written so far survive a power cut."""
        if self._durable is not None:
            self._durable.sync()

    def blocks(self, name: str, start: int, stop: int) -> Iterator[NDArray[Any]]:
        """Yield rows ``start`` to ``stop`` in blocks of bounded memory."""
        step = max(1, 32 * 1024 * 1024 // max(1, int(np.prod(self.shape(name)[1:]))))
        for first in range(start, stop, step):
            yield self.read(name, first, min(first + step, stop))

    def _writer(self, name: str) -> zarr.Array[Any]:
        if self._write_group is None:
            raise StoreCorrupt(f"{self.root}: opened for reading; open it with mode='a' to write")
        if name not in self._write:
            try:
                self._write[name] = cast("zarr.Array[Any]", self._write_group[name])
            except (KeyError, ValueError) as error:
                raise StoreCorrupt(f"{self.root / name}: expected a Zarr array, got {error!r}") from error
        return self._write[name]

    def _open_for_reading(self, name: str) -> zarr.Array[Any]:
        register_codecs()
        try:
            with _reading_pipeline(self.root / name):
                return zarr.open_array(LocalStore(self.root, read_only=True), path=name, mode="r")
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise StoreCorrupt(f"{self.root / name}: expected a Zarr array, got {error!r}") from error


def register_codecs() -> None:
    """Tell zarr about our JPEG codec; idempotent."""
    from zarr.registry import register_codec

    from robot_learning.datasets.jpeg import JPEG_NAME, JpegCodec

    register_codec(JPEG_NAME, JpegCodec)


def histogram_array(key: str) -> str:
    """Return the full name of the pixel counts of image ``key``."""
    return f"meta/{histogram_name(key)}"


def _reading_pipeline(folder: Path) -> AbstractContextManager[Any]:
    from robot_learning.datasets.jpeg import JPEG_NAME

    if importlib.util.find_spec("zarrs") is None or JPEG_NAME in (folder / "zarr.json").read_text():
        return nullcontext()
    fast: AbstractContextManager[Any] = zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    return fast
