import json
import warnings
from typing import ClassVar

import numpy as np
import pytest
import zarr

from robot_learning.core.errors import ConfigError, SpecMismatch, StoreCorrupt
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.stores import DemoStores, merge, open_stores
from tests.contracts.demo_store import DemoStoreContract
from tests.datasets.episodes import IMAGE_SPEC, STATE_SPEC, assert_same, make_episode


class TestImageStore(DemoStoreContract):
    spec = IMAGE_SPEC


class TestJpegStore(DemoStoreContract):
    spec = IMAGE_SPEC
    options: ClassVar[dict] = {"image_codec": "jpeg"}
    tolerance = 12


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "demos.zarr"
    with DemoStore.create(path, IMAGE_SPEC) as store:
        for seed in range(3):
            store.append(make_episode(IMAGE_SPEC, 6, seed=seed))
    return path


def test_any_zarr_reader_opens_it(path):
    group = zarr.open_group(path, mode="r")
    names = {name for name, _ in group.members(max_depth=None)}
    assert {"data/camera", "data/action", "data/time", "meta/episode_ends", "meta/histogram/camera"} <= names
    assert group["meta/episode_ends"][:].tolist() == [7, 14, 21]
    assert group["data/camera"].shape == (21, 12, 16, 3)
    assert group["data/joint_position"].attrs["unit"] == "rad"
    assert group.attrs["robot_learning"]["spec"]["control_hz"] == 10.0
    assert group["meta/episodes/000000"].attrs["episodes"][2]["instruction"] == "move 2"


def test_every_file_is_strict_json(path):
    def refuse(token):
        raise AssertionError(f"{token} is not JSON")

    for file in path.rglob("zarr.json"):
        if file.parent.name not in ("action", "applied", "reward"):  # zarr writes their fill value as a string
            json.loads(file.read_text(), parse_constant=refuse)


def test_more_episodes_than_a_block_of_records_holds(tmp_path):
    with DemoStore.create(tmp_path / "many.zarr", STATE_SPEC) as store:
        for seed in range(66):
            store.append(make_episode(steps=1, seed=seed))
    store = DemoStore.open(tmp_path / "many.zarr")
    assert len(store) == 66
    assert_same(make_episode(steps=1, seed=65), store[65])
    assert store.table["seed"] == list(range(66))


def test_streams_may_come_and_go(tmp_path):
    episodes = [
        make_episode(seed=0),
        make_episode(seed=1, streams=("wrist",)),
        make_episode(seed=2, streams=("front", "wrist")),
        make_episode(seed=3),
    ]
    with DemoStore.create(tmp_path / "streams.zarr", STATE_SPEC) as store:
        for episode in episodes:
            store.append(episode)
        for expected, got in zip(episodes, store, strict=True):
            assert_same(expected, got)
        assert store.streams == ["front", "wrist"]
        assert store.verify() == []


def test_appending_jpeg_never_encodes_a_frame_twice(tmp_path):
    with DemoStore.create(tmp_path / "jpeg.zarr", IMAGE_SPEC, image_codec="jpeg", jpeg_quality=50) as store:
        store.append(make_episode(IMAGE_SPEC, 3))
        before = store[0].observation["camera"]
        for seed in range(5):
            store.append(make_episode(IMAGE_SPEC, 2, seed=seed))
        np.testing.assert_array_equal(store[0].observation["camera"], before)


@pytest.mark.parametrize("key", ["camera", "pose", "action", "time", "source"])
def test_tampering_is_named(path, key):
    array = zarr.open_group(path, mode="r+")[f"data/{key}"]
    array[9] = array[8] + 1
    problems = DemoStore.open(path).verify()
    assert len(problems) == 1
    assert problems[0].startswith(f"episode 1: data/{key}: content is not what was recorded")


def test_a_flipped_byte_is_named(path):
    shard = path / "data" / "camera" / "c.0.0.0.0"
    content = bytearray(shard.read_bytes())
    content[40] ^= 255
    shard.write_bytes(content)
    problems = DemoStore.open(path).verify()
    assert problems
    assert problems[0].startswith("episode 0: data/camera: ")


def test_a_missing_chunk_is_named(path):
    (path / "data" / "pose" / "c.0.0.0").unlink()
    problems = DemoStore.open(path).verify()
    assert [line.split(": content")[0] for line in problems] == [f"episode {i}: data/pose" for i in range(3)]


def test_a_changed_record_is_named(path):
    file = path / "meta" / "episodes" / "000000" / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"]["episodes"][1]["outcome"]["success"] = False
    file.write_text(json.dumps(content))
    assert DemoStore.open(path).verify() == ["episode 1: meta/episodes: the record was changed after it was written"]


def test_a_missing_array_is_named(path):
    (path / "data" / "pose" / "zarr.json").unlink()
    problems = DemoStore.open(path).verify()
    assert len(problems) == 1
    assert problems[0].startswith("data/pose: cannot be opened")


def test_changed_pixel_counts_are_named(path):
    zarr.open_group(path, mode="r+")["meta/histogram/camera"][1, 0, 3] = 99_999
    problems = DemoStore.open(path).verify()
    assert problems == ["episode 1: meta/histogram/camera: the pixel counts are not those of the images"]
    (path / "meta" / "histogram" / "camera" / "zarr.json").unlink()
    problems = DemoStore.open(path).verify()
    assert len(problems) == 1
    assert problems[0].startswith("meta/histogram/camera: cannot be read")
    with pytest.raises(StoreCorrupt, match="meta/histogram/camera: expected a Zarr array"):
        DemoStore.open(path, "a")


def test_a_changed_spec_is_named(path):
    content = json.loads((path / "zarr.json").read_text())
    content["attributes"]["robot_learning"]["spec"]["control_hz"] = 33.0
    (path / "zarr.json").write_text(json.dumps(content))
    problems = DemoStore.open(path).verify()
    assert problems == ["zarr.json: spec, image codec or notes were changed after the store was created"]


def test_finished_episodes_without_an_end_are_never_cut(path):
    """With its length set back, ``episode_ends`` makes finished episodes look like a torn tail."""
    file = path / "meta" / "episode_ends" / "zarr.json"
    whole = file.read_text()
    file.write_text(json.dumps({**json.loads(whole), "shape": [1]}))
    assert DemoStore.open(path).verify() == ["meta/episode_ends: expected the ends of 2 episodes or more, got 1"]
    with pytest.raises(StoreCorrupt, match="Nothing was cut"):
        DemoStore.open(path, "a")
    file.write_text(whole)
    with DemoStore.open(path, "a") as store:
        assert len(store) == 3
        assert store.verify() == []


def test_what_a_killed_creator_left_is_removed(tmp_path):
    leftover = tmp_path / "new.zarr.0123.partial"
    (leftover / "data").mkdir(parents=True)
    DemoStore.create(tmp_path / "new.zarr", IMAGE_SPEC).close()
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("new")] == ["new.zarr"]


def test_lost_records_are_named_on_opening(path):
    (path / "meta" / "episodes" / "000000" / "zarr.json").unlink()
    with pytest.raises(StoreCorrupt, match="expected records of 3 episodes, got 0: episode 0"):
        DemoStore.open(path)


def test_opening_something_else_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing with a zarr\.json"):
        DemoStore.open(tmp_path / "nowhere.zarr")
    zarr.open_group(tmp_path / "other.zarr", mode="w")
    with pytest.raises(StoreCorrupt, match="expected a robot-learning store"):
        DemoStore.open(tmp_path / "other.zarr")
    with pytest.raises(ConfigError, match="expected 'r' or 'a', got 'w'"):
        DemoStore.open(tmp_path / "other.zarr", "w")


def test_a_newer_format_is_refused(path):
    content = json.loads((path / "zarr.json").read_text())
    content["attributes"]["robot_learning"]["format"] = 99
    (path / "zarr.json").write_text(json.dumps(content))
    with pytest.raises(StoreCorrupt, match="got 99; upgrade"):
        DemoStore.open(path)


def test_specs_that_cannot_be_stored_are_refused(tmp_path):
    action = ArraySpec((1,))
    for key in ("action", "time", "time_camera"):
        with pytest.raises(SpecMismatch, match="expected none of"):
            DemoStore.create(tmp_path / "x.zarr", RobotSpec({key: ArraySpec((1,))}, action, 1.0))
    with pytest.raises(SpecMismatch, match="floating"):
        DemoStore.create(tmp_path / "x.zarr", RobotSpec({}, ArraySpec((1,), "int64"), 1.0))
    with pytest.raises(ConfigError, match="image_codec"):
        DemoStore.create(tmp_path / "x.zarr", STATE_SPEC, image_codec="png")
    assert list(tmp_path.iterdir()) == []


def test_stores_of_different_robots_do_not_open_as_one(path, tmp_path):
    other = RobotSpec(IMAGE_SPEC.observation, ArraySpec((4,), "float32", "rad"), 20.0)
    DemoStore.create(tmp_path / "other.zarr", other).close()
    with pytest.raises(SpecMismatch, match="3 difference") as caught:
        open_stores([path, tmp_path / "other.zarr"])
    assert "control_hz: expected 10, got 20" in str(caught.value)
    with pytest.raises(ConfigError, match="at least one"):
        DemoStores([])


def test_merging_a_damaged_store_leaves_nothing(path, tmp_path):
    zarr.open_group(path, mode="r+")["data/pose"][3] = 7.0
    with pytest.raises(StoreCorrupt, match=r"episode 0 .*\['pose'\]"):
        merge([path], tmp_path / "merged.zarr")
    assert not (tmp_path / "merged.zarr").exists()
    assert not (tmp_path / "merged.zarr.lock").exists()


def test_an_empty_store_has_no_statistics(tmp_path):
    with DemoStore.create(tmp_path / "empty.zarr", STATE_SPEC) as store:
        assert store.verify() == []
        assert len(store) == 0
        with pytest.raises(StoreCorrupt, match="at least one episode"):
            store.statistics()


def test_reading_warns_of_nothing(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(DemoStore.open(path))) == 3
