import threading

import numpy as np
import pytest

from robot_learning.core.errors import ConfigError, SpecMismatch
from robot_learning.core.protocols import StepObserver
from robot_learning.core.types import Outcome, Step
from robot_learning.datasets.recorder import Recorder
from robot_learning.datasets.store import DemoStore
from tests.datasets.collecting import observation, play
from tests.datasets.episodes import IMAGE_SPEC, assert_same, make_episode


@pytest.fixture
def store(tmp_path):
    with DemoStore.create(tmp_path / "demos.zarr", IMAGE_SPEC) as store:
        yield store


@pytest.mark.parametrize("flush_every", [None, 1, 3, 100])
def test_what_the_loop_shows_is_stored(store, flush_every):
    recorder = Recorder(store, flush_every=flush_every, meta={"operator": "ann"})
    assert isinstance(recorder, StepObserver)
    for seed in range(3):
        expected = make_episode(IMAGE_SPEC, 6 + seed, seed=seed, streams=("camera",) if seed == 1 else ())
        play(recorder, expected)
        assert recorder.last_index == seed
        got = store[seed]
        assert got.meta["wall_time"] > 1.6e9
        got.meta.pop("wall_time")
        assert_same(expected, got)
    recorder.close()
    assert store.verify() == []


def test_flushing_and_not_flushing_store_the_same(tmp_path):
    prints = []
    for flush_every in (None, 2):
        with DemoStore.create(tmp_path / f"{flush_every}.zarr", IMAGE_SPEC) as store:
            recorder = Recorder(store, flush_every=flush_every)
            play(recorder, make_episode(IMAGE_SPEC, 7))
            recorder.close()
            prints.append(store.records[0]["checksums"])
    assert prints[0] == prints[1]


def test_the_instruction_and_seed_come_from_the_loop_unless_given(store):
    recorder = Recorder(store, meta={"operator": "ann"})
    source = make_episode(IMAGE_SPEC, 2)
    recorder.on_reset(observation(source, 0), goal={"instruction": "open the drawer"}, seed=7)
    recorder.annotate(task="open_drawer")
    recorder.on_step(Step(0, observation(source, 0), source.action[0], source.applied[0], "policy", observation(source, 1)))
    recorder.on_end(Outcome(True, "done", 1))
    got = store[0]
    assert got.instruction == "open the drawer"
    assert (got.meta["seed"], got.meta["task"], got.meta["operator"]) == (7, "open_drawer", "ann")
    assert np.isnan(got.reward).all()
    play(recorder, source)
    assert store[1].instruction == "move 0"
    assert "task" not in store[1].meta


@pytest.mark.parametrize("flush_every", [None, 2])
def test_a_discarded_or_empty_episode_leaves_nothing(store, flush_every):
    recorder = Recorder(store, flush_every=flush_every)
    source = make_episode(IMAGE_SPEC, 5)
    play(recorder, source, end=False)
    recorder.discard()
    recorder.on_end(Outcome(None, "again"))
    recorder.on_reset(observation(source, 0), goal=None, seed=None)
    recorder.on_end(Outcome(None, "safety: nothing happened"))
    assert len(store) == 0
    assert store.array_length("camera") == 0
    play(recorder, source)
    recorder.close()
    assert len(store) == 1
    store.close()
    with DemoStore.open(store.path, "a") as reopened:
        assert len(reopened) == 1
        assert reopened.verify() == []


def test_a_failed_write_leaves_no_gap(store):
    """Writes queued behind a failed one must not be taken for the rows that follow it."""
    recorder = Recorder(store, flush_every=1)
    source = make_episode(IMAGE_SPEC, 5)
    source.action[2] = np.nan
    queued = threading.Event()
    recorder._pool.submit(queued.wait)
    play(recorder, source, end=False)
    queued.set()
    recorder.close()
    store.close()
    with DemoStore.open(store.path, "a") as reopened:
        assert len(reopened) == 1
        assert reopened[0].steps == 2
        np.testing.assert_array_equal(reopened[0].action, source.action[:2])
        assert reopened.verify() == []


def test_what_does_not_fit_the_store_is_refused(store):
    recorder = Recorder(store)
    source = make_episode(IMAGE_SPEC, 3)
    source.action[1] = np.nan
    with pytest.raises(SpecMismatch, match="step 1"):
        play(recorder, source)
    play(recorder, make_episode(IMAGE_SPEC, 3))
    assert len(store) == 1
    assert store.verify() == []
    with pytest.raises(ConfigError, match="flush_every"):
        Recorder(store, flush_every=0)
    with pytest.raises(ConfigError, match="mode='a'"):
        play(Recorder(DemoStore.open(store.path)), source)
