"""Kill the writer, fail its disk, crash it at every single file operation: finished episodes survive all of it."""

import errno
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from robot_learning.core.errors import StoreWriteFailed
from robot_learning.datasets.recorder import Recorder
from robot_learning.datasets.store import DemoStore
from tests.datasets.collecting import collect, episode, play
from tests.datasets.episodes import IMAGE_SPEC, assert_same, make_episode

KILLS = 20


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "demos.zarr"


def _record_and_kill(context, path, delay_s, flush_every):
    """Return how many episodes the killed process said were finished."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=collect, args=(path, flush_every, theirs))
    process.start()
    theirs.close()
    _, finished = ours.recv()
    time.sleep(delay_s)
    process.kill()
    process.join()
    try:
        while True:
            finished = ours.recv()[1] + 1
    except EOFError:
        ours.close()
        return finished


def test_kill_at_random_moments_loses_no_finished_episode(path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.datasets.collecting"])
    rng = np.random.default_rng(0)
    for kill in range(KILLS):
        finished = _record_and_kill(context, path, rng.uniform(0.0, 0.25), flush_every=None if kill % 2 else 2)
        reader = DemoStore.open(path)  # also before any repair
        assert len(reader) >= finished
        assert reader.verify() == []
        with DemoStore.open(path, "a") as store:
            assert store.verify() == []
            assert len(store) >= finished
    for got in DemoStore.open(path):
        whole = episode(got.meta["marker"])
        if got.meta.get("recovered"):
            assert 0 < got.steps == got.rows <= whole.steps
            assert got.outcome.success is None
            np.testing.assert_array_equal(got.action, whole.action[: got.steps])
            np.testing.assert_array_equal(got.observation["camera"], whole.observation["camera"][: got.steps])
        else:
            np.testing.assert_array_equal(got.action, whole.action)
            np.testing.assert_array_equal(got.observation["camera"], whole.observation["camera"])
    assert finished > 0, "the processes were killed before they recorded anything"


def test_a_crash_at_every_file_operation(path, monkeypatch):
    """Stop at the first, second, third ... flush of an append; each leaves the old state or the new one."""
    with DemoStore.create(path, IMAGE_SPEC) as store:
        store.append(make_episode(IMAGE_SPEC, 4, seed=0))
    flush, left = os.fsync, [0]

    def crashing_flush(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise Crash
        flush(descriptor)

    for operation in range(200):
        store = DemoStore.open(path, "a")
        before = len(store)
        monkeypatch.setattr(os, "fsync", crashing_flush)
        left[0] = operation
        try:
            store.append(make_episode(IMAGE_SPEC, 3, seed=operation))
        except Crash:
            crashed = True
        else:
            crashed = False
        monkeypatch.setattr(os, "fsync", flush)
        store.close()
        after = DemoStore.open(path)
        assert len(after) in (before, before + 1)
        assert after.verify() == []
        assert_same(make_episode(IMAGE_SPEC, 4, seed=0), after[0])
        if not crashed:
            break
    assert operation > 20
    with DemoStore.open(path, "a") as store:
        store.append(make_episode(IMAGE_SPEC, 5, seed=999))
        assert_same(make_episode(IMAGE_SPEC, 5, seed=999), store[-1])
        assert store.verify() == []


def test_a_torn_tail_is_cut_and_reported(path, caplog):
    with DemoStore.create(path, IMAGE_SPEC) as store:
        store.append(make_episode(IMAGE_SPEC, 4))
        fingerprint = store.fingerprint()
        writer = store.begin()
        torn = make_episode(IMAGE_SPEC, 6, seed=1, last_observation=False)
        rows = {**torn.observation, "time": torn.time, "reward": torn.reward}
        writer.extend({**rows, "action": torn.action, "applied": torn.applied}, torn.source)
    assert DemoStore.open(path).verify() == []
    with caplog.at_level(logging.WARNING), DemoStore.open(path, "a") as store:
        assert "cut a torn tail of 6 rows after episode 0" in caplog.text
        assert store.array_length("camera") == store.n_rows == 5
        assert store.fingerprint() == fingerprint
        assert store.verify() == []
    caplog.clear()
    DemoStore.open(path, "a").close()
    assert caplog.text == ""


def test_an_interrupted_episode_is_recovered_and_marked(path, caplog):
    with DemoStore.create(path, IMAGE_SPEC) as store:
        recorder = Recorder(store, flush_every=3, meta={"operator": "ann"})
        play(recorder, make_episode(IMAGE_SPEC, 8, seed=1, streams=("camera",)), end=False)
        recorder.close()
    with caplog.at_level(logging.WARNING), DemoStore.open(path, "a") as store:
        assert "recovered 6 steps of an interrupted episode as episode 0" in caplog.text
        got = store[0]
        assert (got.steps, got.rows) == (6, 6)
        assert got.meta["recovered"] is True
        assert got.meta["operator"] == "tester"
        assert got.outcome.success is None
        assert "interrupted" in got.outcome.reason
        whole = make_episode(IMAGE_SPEC, 8, seed=1, streams=("camera",))
        np.testing.assert_array_equal(got.observation["camera"], whole.observation["camera"][:6])
        np.testing.assert_array_equal(got.stream_time["camera"], whole.stream_time["camera"][:6])
        assert store.verify() == []
        assert store.statistics()["camera"].count == 6
    caplog.clear()
    with DemoStore.open(path, "a") as store:
        assert len(store) == 1
    assert caplog.text == ""


def test_a_file_size_limit_while_appending(path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    noise = np.random.default_rng(0).integers(0, 256, (41, 12, 16, 3), dtype=np.uint8)
    large = make_episode(IMAGE_SPEC, 40, seed=1)
    large.observation["camera"][:] = noise
    with DemoStore.create(path, IMAGE_SPEC) as store:
        store.append(make_episode(IMAGE_SPEC, 4))
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
            with pytest.raises(StoreWriteFailed, match=r"episode 1 was lost \(40 steps\).*1 finished episodes are safe"):
                store.append(large)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert store.verify() == []
        assert store.append(large) == 1
        assert_same(large, store[1])
        assert store.verify() == []


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes root on Linux")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_while_creating(small_disk):
    (small_disk / "filler").write_bytes(b"x" * (480 << 10))
    with pytest.raises(StoreWriteFailed, match=r"could not be created.*No space left"):
        DemoStore.create(small_disk / "demos.zarr", IMAGE_SPEC)
    assert [file.name for file in small_disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("flush_every", [None, 20])
def test_a_full_disk_while_recording(small_disk, flush_every):
    path = small_disk / "demos.zarr"
    rng = np.random.default_rng(0)
    with DemoStore.create(path, IMAGE_SPEC) as store:
        recorder = Recorder(store, flush_every=flush_every)
        episodes = []

        def record_until_full():
            for seed in range(100):
                source = make_episode(IMAGE_SPEC, 60, seed=seed)
                source.observation["camera"][:] = rng.integers(0, 256, (61, 12, 16, 3), dtype=np.uint8)
                play(recorder, source)
                episodes.append(source)

        with pytest.raises(StoreWriteFailed, match=r"No space left on device.*free some space") as caught:
            record_until_full()
        recorder.close()
        assert caught.value.__cause__.errno == errno.ENOSPC
        assert f"The {len(store)} finished episodes are safe" in str(caught.value)
    store = DemoStore.open(path)
    assert len(store) == len(episodes) > 2
    assert store.verify() == []
    for expected, got in zip(episodes, store, strict=True):
        np.testing.assert_array_equal(expected.observation["camera"], got.observation["camera"])
