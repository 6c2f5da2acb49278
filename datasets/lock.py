"""One writer per store: a lock file beside the store names the process that writes it.

The file says which host and process (number and start time) owns the store. A lock whose process is gone from this host
is taken over; one from another host cannot be checked and is respected. ``flock`` is held only while the file is read
and rewritten, so forked children never keep a dead writer's lock alive.
"""

import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from robot_learning.core.errors import StoreLocked

LOG = logging.getLogger(__name__)

_START_TOLERANCE_S = 120.0  # start times shift when the wall clock is set; a number is not reused that soon


class WriterLock:
    """The right to write one store.

    Attributes:
        path: The lock file, beside the store: ``demos.zarr.lock``.
    """

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(store.name + ".lock")
        self._owner: dict[str, Any] | None = None

    def acquire(self) -> None:
        """Take the lock; raises :class:`StoreLocked` when a live process has it."""
        with self._exclusive() as descriptor:
            owner = _read_owner(descriptor)
            if owner is not None and _is_alive(owner):
                raise StoreLocked(
                    f"{self.path}: the store is being written by process {owner['pid']} on {owner['host']}; "
                    "wait for it to finish, write another store and merge, or delete the lock if that process is gone"
                )
            if owner is not None:
                LOG.warning("%s: process %s is gone, taking its lock over", self.path, owner["pid"])
            self._owner = _myself()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(self._owner).encode(), 0)

    def release(self) -> None:
        """Give the lock back; does nothing in a process that does not own it."""
        if self._owner is None or self._owner["pid"] != os.getpid():
            return
        with self._exclusive() as descriptor:
            if _read_owner(descriptor) == self._owner:
                self.path.unlink(missing_ok=True)
        self._owner = None

    @contextmanager
    def _exclusive(self) -> Iterator[int]:
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is_same_file(descriptor, self.path):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _myself() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def _read_owner(descriptor: int) -> dict[str, Any] | None:
    content = os.pread(descriptor, 4096, 0)
    try:
        owner = json.loads(content)
    except ValueError:
        return None
    return owner if isinstance(owner, dict) and {"host", "pid", "started"} <= owner.keys() else None


def _is_alive(owner: dict[str, Any]) -> bool:
    if owner["host"] != socket.gethostname():
        return True
    try:
        process = psutil.Process(int(owner["pid"]))
        is_same = abs(process.create_time() - owner["started"]) < _START_TOLERANCE_S
        return bool(is_same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
