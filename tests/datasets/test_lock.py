import json
import logging
import multiprocessing
import os
import socket

import pytest

from robot_learning.core.errors import StoreLocked
from robot_learning.datasets.lock import WriterLock


def _acquire_and_die(path):
    WriterLock(path).acquire()
    os._exit(1)


def test_a_dead_writers_lock_is_taken_over(tmp_path, caplog):
    path = tmp_path / "demos.zarr"
    process = multiprocessing.get_context("forkserver").Process(target=_acquire_and_die, args=(path,))
    process.start()
    process.join()
    lock = WriterLock(path)
    assert lock.path.exists()
    with caplog.at_level(logging.WARNING):
        lock.acquire()
    assert f"process {process.pid} is gone" in caplog.text
    lock.release()
    lock.release()
    assert not lock.path.exists()


def test_a_reused_process_number_is_not_mistaken_for_the_writer(tmp_path):
    lock = WriterLock(tmp_path / "demos.zarr")
    lock.path.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": 0.0}))
    lock.acquire()
    assert json.loads(lock.path.read_text())["started"] > 0.0, "the lock is ours now"
    lock.release()


def test_a_writer_on_another_host_is_respected(tmp_path):
    lock = WriterLock(tmp_path / "demos.zarr")
    lock.path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": 0.0}))
    with pytest.raises(StoreLocked, match="process 1 on elsewhere"):
        lock.acquire()


def test_a_lock_left_half_written_is_taken(tmp_path):
    lock = WriterLock(tmp_path / "demos.zarr")
    for content in ("", "{", "[]", "{}"):
        lock.path.write_text(content)
        lock.acquire()
        with pytest.raises(StoreLocked):
            WriterLock(tmp_path / "demos.zarr").acquire()
        lock.release()
