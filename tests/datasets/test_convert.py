import json

import av
import cv2
import numpy as np
import pytest
import zarr

from robot_learning.core.errors import ConfigError, SpecMismatch, StoreCorrupt
from robot_learning.datasets.convert.diffusion_policy import PUSHT_SPEC, convert_diffusion_policy
from robot_learning.datasets.convert.lerobot import convert_lerobot
from robot_learning.datasets.convert.video import video_frames
from robot_learning.datasets.store import DemoStore
from tests.datasets.real_data import real_data

parquet = pytest.importorskip("pyarrow.parquet")
import pyarrow as pa  # noqa: E402 - after the check that it is there

FPS = 10
LENGTHS = [7, 5]


def _check_pusht(store, group, episodes):
    state, ends = group["data/state"], group["meta/episode_ends"][:]
    rows = int(ends[episodes - 1])
    assert (len(store), store.n_steps, store.n_rows) == (episodes, rows, rows)
    assert store.spec == PUSHT_SPEC
    np.testing.assert_array_equal(store.episode_ends, ends[:episodes])
    np.testing.assert_array_equal(store.read("agent_pos", 0, rows), state[:rows, :2])
    np.testing.assert_array_equal(store.read("block_pose", 0, rows), state[:rows, 2:])
    np.testing.assert_array_equal(store.read("keypoint", 0, rows), group["data/keypoint"][:rows].reshape(-1, 18))
    np.testing.assert_array_equal(store.read("action", 0, rows), group["data/action"][:rows])
    np.testing.assert_array_equal(store.read("image", 0, min(rows, 400)), group["data/img"][: min(rows, 400)])


def test_pusht_begins_like_its_source(tmp_path):
    source = real_data("pusht_human.zarr")
    group = zarr.open_group(source, mode="r", zarr_format=2)
    with convert_diffusion_policy(source, tmp_path / "pusht.zarr", limit=3) as store:
        _check_pusht(store, group, 3)
        assert store.verify() == []
        assert store[2].source == ("human",) * store[2].steps
        np.testing.assert_allclose(np.diff(store[0].time), 0.1)


def test_pusht_without_its_images(tmp_path):
    with convert_diffusion_policy(
        real_data("pusht_human.zarr"), tmp_path / "pusht.zarr", limit=2, without_images=True
    ) as store:
        assert list(store.spec.observation) == ["agent_pos", "block_pose", "keypoint"]
        assert store.spec.action == PUSHT_SPEC.action
        assert store.verify() == []


@pytest.mark.slow
def test_the_whole_of_pusht(tmp_path):
    source = real_data("pusht_human.zarr")
    with convert_diffusion_policy(source, tmp_path / "pusht.zarr") as store:
        _check_pusht(store, zarr.open_group(source, mode="r", zarr_format=2), 206)
        assert store.n_steps == 25_650
        assert store.verify() == []


def _diffusion_policy_source(path, **arrays):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for key, value in arrays.items():
        group.create_array(f"data/{key}", data=value)
    group.create_array("meta/episode_ends", data=np.array([4, 6], np.int64))
    return path


def test_another_data_set_of_the_layout_keeps_its_keys(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "action": rng.normal(size=(6, 3)),
        "arm": rng.normal(size=(6, 2)).astype("f4"),
        "cam": np.floor(rng.uniform(0, 256, (6, 8, 8, 3))).astype("f4"),
    }
    source = _diffusion_policy_source(tmp_path / "source.zarr", **arrays)
    calls = []
    with convert_diffusion_policy(
        source, tmp_path / "out.zarr", control_hz=5.0, progress=lambda *at: calls.append(at)
    ) as store:
        assert calls == [(1, 2), (2, 2)]
        assert store.spec.control_hz == 5.0
        assert store.spec.observation["cam"].is_image
        np.testing.assert_array_equal(store[1].observation["cam"], arrays["cam"][4:].astype(np.uint8))
        np.testing.assert_array_equal(store[1].action, arrays["action"][4:])
        assert store.verify() == []


def test_a_source_that_cannot_be_imported_leaves_nothing(tmp_path):
    out = tmp_path / "out.zarr"
    with pytest.raises(ConfigError, match="Zarr v2 folder"):
        convert_diffusion_policy(tmp_path / "nowhere", out)
    source = _diffusion_policy_source(tmp_path / "a.zarr", action=np.zeros((6, 1)), arm=np.zeros((5, 1)))
    with pytest.raises(SpecMismatch, match=r"expected 6 rows.*arm \(5\)"):
        convert_diffusion_policy(source, out)
    images = np.full((6, 8, 8, 3), 0.5, "f4")
    source = _diffusion_policy_source(tmp_path / "b.zarr", action=np.zeros((6, 1)), cam=images)
    with pytest.raises(SpecMismatch, match="whole numbers"):
        convert_diffusion_policy(source, out)
    assert not out.exists()


def test_real_lerobot_episodes_without_their_videos(tmp_path):
    source = real_data("so101_lerobot_v3")
    with pytest.raises(ConfigError, match=r"2 are missing: .*front.*file-000\.mp4.*--without-images"):
        convert_lerobot(source, tmp_path / "so101.zarr")
    assert not (tmp_path / "so101.zarr").exists()
    with convert_lerobot(source, tmp_path / "so101.zarr", without_images=True) as store:
        assert (len(store), store.n_steps) == (4, 1492)
        assert store.spec.control_hz == 30.0
        assert store.spec.name == "so101_follower"
        assert store.spec.observation["state"].names[0] == "shoulder_pan.pos"
        assert set(store.table["instruction"]) == {"Pick the orange cube and place it in the box"}
        assert store.verify() == []
        table = parquet.read_table(source / "data" / "chunk-000" / "file-000.parquet")
        np.testing.assert_array_equal(store.read("action", 0, 1492), np.array(table.column("action").to_pylist(), np.float32))
        stats = json.loads((source / "meta" / "stats.json").read_text())["observation.state"]
        np.testing.assert_allclose(store.statistics()["state"].mean, stats["mean"], rtol=1e-4)


def _write_video(path, frames, fps=FPS):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=fps, options={"qp": "0", "g": "4"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "rgb24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def lerobot(tmp_path):
    """A small LeRobot data set with a video camera and a camera of stored pictures."""
    root = tmp_path / "source"
    (root / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
    (root / "data" / "chunk-000").mkdir(parents=True)
    total, rng = sum(LENGTHS), np.random.default_rng(0)
    data = {
        "frames": rng.integers(0, 256, (total, 16, 32, 3), dtype=np.uint8),
        "pictures": rng.integers(0, 256, (total, 8, 8, 3), dtype=np.uint8),
        "state": rng.normal(size=(total, 2)).astype("f4"),
        "action": rng.normal(size=(total, 2)).astype("f4"),
    }
    _write_video(root / "videos" / "observation.images.top" / "chunk-000" / "file-000.mp4", data["frames"])
    vector = {"dtype": "float32", "shape": [2], "names": ["pan", "lift"]}
    index = {"dtype": "int64", "shape": [1], "names": None}
    info = {
        "codebase_version": "v3.0",
        "robot_type": "toy",
        "total_episodes": 2,
        "total_frames": total,
        "fps": FPS,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": {
            "action": vector,
            "observation.state": vector,
            "observation.images.top": {"dtype": "video", "shape": [16, 32, 3], "names": None},
            "observation.images.wrist": {"dtype": "image", "shape": [3, 8, 8], "names": None},
            "observation.force": {"dtype": "float64", "shape": [1], "names": None},
            "next.reward": {"dtype": "float32", "shape": [1], "names": None},
            "next.success": {"dtype": "bool", "shape": [1], "names": None},
            **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), index),
        },
    }
    (root / "meta" / "info.json").write_text(json.dumps(info))
    episode = np.repeat(np.arange(2), LENGTHS)
    pngs = [cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes() for image in data["pictures"]]
    rows = {
        "action": list(data["action"]),
        "observation.state": list(data["state"]),
        "observation.images.wrist": [{"bytes": png, "path": None} for png in pngs],
        "observation.force": np.arange(total) * 0.5,
        "next.reward": np.arange(total, dtype="f4"),
        "next.success": np.arange(total) == total - 1,
        "frame_index": np.concatenate([np.arange(length) for length in LENGTHS]),
        "episode_index": episode,
        "index": np.arange(total),
        "task_index": np.zeros(total, np.int64),
    }
    parquet.write_table(pa.table(rows), root / "data" / "chunk-000" / "file-000.parquet")
    starts = np.array([0, LENGTHS[0]])
    episodes = {
        "episode_index": [0, 1],
        "tasks": [["wave"], ["wave", "bow"]],
        "length": LENGTHS,
        "data/chunk_index": [0, 0],
        "data/file_index": [0, 0],
        "videos/observation.images.top/chunk_index": [0, 0],
        "videos/observation.images.top/file_index": [0, 0],
        "videos/observation.images.top/from_timestamp": starts / FPS,
        "videos/observation.images.top/to_timestamp": (starts + LENGTHS) / FPS,
        "stats/action/min": [[0.0], [0.0]],
    }
    parquet.write_table(pa.table(episodes), root / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    return root, data


def test_lerobot_with_videos_and_pictures(lerobot, tmp_path):
    root, data = lerobot
    with convert_lerobot(root, tmp_path / "out.zarr") as store:
        assert (len(store), store.n_steps) == (2, 12)
        np.testing.assert_array_equal(store.read("top", 0, 12), data["frames"])
        np.testing.assert_array_equal(store.read("wrist", 0, 12), data["pictures"])
        np.testing.assert_array_equal(store.read("state", 0, 12), data["state"])
        np.testing.assert_array_equal(store.read("force", 0, 12)[:, 0], np.arange(12) * 0.5)
        second = store[1]
        np.testing.assert_array_equal(second.reward, np.arange(7, 12))
        np.testing.assert_array_equal(second.action, data["action"][7:])
        assert second.instruction == "wave; bow"
        assert (store[0].outcome.success, second.outcome.success) == (False, True)
        assert store.verify() == []


def test_a_video_with_too_few_frames_is_refused(lerobot, tmp_path):
    root, data = lerobot
    _write_video(root / "videos" / "observation.images.top" / "chunk-000" / "file-000.mp4", data["frames"][:10])
    with pytest.raises(StoreCorrupt, match=r"file-000\.mp4: expected 5 frames from 0\.700 s at 10 Hz, got 3"):
        convert_lerobot(root, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


def test_a_stretch_of_a_video(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    _write_video(tmp_path / "v.mp4", frames)
    np.testing.assert_array_equal(np.stack(list(video_frames(tmp_path / "v.mp4", 1.1, 4, FPS))), frames[11:15])
    with pytest.raises(StoreCorrupt, match="expected 4 frames"):
        list(video_frames(tmp_path / "v.mp4", 1.1, 4, 7.0))


def test_rows_that_do_not_match_the_tables_are_refused(lerobot, tmp_path):
    root, _ = lerobot
    info = json.loads((root / "meta" / "info.json").read_text())
    for key, value, error, message in (
        ("codebase_version", "v2.1", ConfigError, "v3.x, got v2.1"),
        ("total_episodes", 3, StoreCorrupt, "expected 3 episodes, got 2"),
        ("total_frames", 13, SpecMismatch, "expected 13 frames, got 12"),
    ):
        (root / "meta" / "info.json").write_text(json.dumps({**info, key: value}))
        with pytest.raises(error, match=message):
            convert_lerobot(root, tmp_path / "out.zarr")
    path = root / "data" / "chunk-000" / "file-000.parquet"
    (root / "meta" / "info.json").write_text(json.dumps(info))
    table = parquet.read_table(path)
    parquet.write_table(table.take([0, 1, 2, 4, 5, 6, *range(7, 12)]), path)
    with pytest.raises(StoreCorrupt, match="episode 0: expected frames 0 to 6, got 6"):
        convert_lerobot(root, tmp_path / "out.zarr")
    with pytest.raises(ConfigError, match=r"meta/info\.json"):
        convert_lerobot(tmp_path / "nowhere", tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


def test_only_the_first_episodes(lerobot, tmp_path):
    with convert_lerobot(lerobot[0], tmp_path / "out.zarr", without_images=True, limit=1) as store:
        assert len(store) == 1
    assert set(DemoStore.open(tmp_path / "out.zarr").spec.observation) == {"state", "force"}
