"""Write whole files so that a reader, now or after a power cut, sees the old bytes or the new ones, never a mixture.

A file is written beside its place under a name ending in ``.partial``, flushed to the disk, and renamed over the old
one. The rename is atomic for other processes and for ``kill -9``; that it also survives a power cut takes an fsync of
the folder, which :class:`DurableStore` collects and does once per commit.
"""

import asyncio
import os
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from zarr.storage import LocalStore

_T = TypeVar("_T")

PARTIAL_SUFFIX = ".partial"


def write_atomic(path: Path, content: Any) -> None:
    """Replace ``path`` by ``content`` (bytes-like) as a whole; the folder's own fsync is left to the caller."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` (files created, renamed or removed) survive a power cut; or a file's content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """Make a whole new folder survive a power cut."""
    in_parallel(sync_folder, [root, *root.rglob("*")])


def remove_partial_files(root: Path) -> None:
    """Delete what writers that were killed left half written."""
    for path in root.rglob(f"*{PARTIAL_SUFFIX}"):
        path.unlink(missing_ok=True)


class DurableStore(LocalStore):
    """zarr's local store with writes that reach the disk before they replace anything.

    zarr's own ``LocalStore`` renames too, but without fsync, so that after a power cut a shard holding committed
    frames could come back empty.
    """

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._unsynced: set[Path] = set()

    async def set(self, key: str, value: Any) -> None:
        """Write the object ``key``."""
        if not self._is_open:
            await self._open()
        self._check_writable()
        path = self.root / key
        self._unsynced.add(path.parent)
        if not path.parent.exists():
            self._unsynced.add(path.parent.parent)
        await asyncio.to_thread(write_atomic, path, value.as_numpy_array().data)

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        """Write the object ``key`` unless there is one (stores have a single writer, so looking first is enough)."""
        if not await self.exists(key):
            await self.set(key, value)

    def sync(self) -> None:
        """Flush the folders of everything written since the last call."""
        folders = [folder for folder in self._unsynced if folder.exists()]
        self._unsynced.clear()
        in_parallel(sync_folder, folders)


def in_parallel(function: Callable[[_T], object], items: Iterable[_T]) -> None:
    """Call ``function`` on every item in threads of its own: flushes that wait for the disk together cost as one."""
    items = list(items)
    with ThreadPoolExecutor(max(1, min(16, len(items))), "store-writer") as pool:
        for _ in pool.map(function, items):
            pass
