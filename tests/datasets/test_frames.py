import json

import numpy as np
import pytest
import zarr

from robot_learning.core.errors import ConfigError, StoreCorrupt
from robot_learning.datasets.frames import FrameFiles, _shard_layout
from robot_learning.datasets.jpeg import JpegCodec, decode_jpeg, encode_jpeg
from robot_learning.datasets.store import DemoStore
from tests.datasets.episodes import IMAGE_SPEC, make_episode, smooth_image


@pytest.fixture
def store(tmp_path):
    with DemoStore.create(tmp_path / "demos.zarr", IMAGE_SPEC) as store:
        for seed in range(3):
            episode = make_episode(IMAGE_SPEC, 199, seed=seed)
            episode.observation["camera"][50:60] = 0  # frames of zeros are not stored
            store.append(episode)
    return DemoStore.open(tmp_path / "demos.zarr")


@pytest.mark.parametrize("key", ["camera", "depth"])
def test_frames_are_those_that_zarr_reads(store, key):
    expected = store.read(key, 0, store.n_rows)
    files = FrameFiles(store, key)
    np.testing.assert_array_equal(files.load(np.arange(store.n_rows)), expected)
    np.testing.assert_array_equal(files.load(np.array([*range(300, 310), 2, 3, 4])), expected[[*range(300, 310), 2, 3, 4]])
    rows = np.random.default_rng(0).integers(0, store.n_rows, (40, 3))
    np.testing.assert_array_equal(files.take(rows), expected[rows])


def test_a_cache_holds_no_more_than_its_budget(store):
    size = 12 * 16 * 3
    files = FrameFiles(store, "camera", cache_bytes=10 * size)
    expected = store.read("camera", 0, store.n_rows)
    rng = np.random.default_rng(0)
    for _ in range(10):
        rows = rng.integers(0, 20, 8)
        np.testing.assert_array_equal(files.take(rows), expected[rows])
    assert len(files._cache) == 10


def test_an_array_that_another_tool_laid_out_is_read_through_zarr(store):
    expected = store.read("camera", 0, store.n_rows)
    group = zarr.open_group(store.path / "data", mode="r+")
    del group["camera"]
    group.create_array("camera", data=expected, chunks=(7, 12, 16, 3))
    rows = np.array([[3, 599], [0, 255]])
    np.testing.assert_array_equal(FrameFiles(DemoStore.open(store.path), "camera").take(rows), expected[rows])


def test_a_damaged_frame_is_named(store):
    shard = store.path / "data" / "camera" / "c.1.0.0.0"
    content = bytearray(shard.read_bytes())
    size = len(content) - (256 * 16 + 4)  # the index stays
    content[:size] = bytes(size)
    shard.write_bytes(content)
    with pytest.raises(StoreCorrupt, match=r"c\.1\.0\.0\.0.*'camera' cannot be decoded"):
        FrameFiles(store, "camera").take(np.array([3, 300]))


def test_jpeg_keeps_colours():
    for channels in (1, 3):
        image = smooth_image(0.3, (24, 32, channels))
        image[5:9, 5:9] = [200, 30, 60][:channels]
        back = decode_jpeg(encode_jpeg(image, 95), image.shape)
        assert back.shape == image.shape
        assert np.abs(back.astype(int) - image).mean() < 3
    with pytest.raises(StoreCorrupt, match="no JPEG"):
        decode_jpeg(b"nonsense", (2, 2, 3))
    with pytest.raises(ConfigError, match="1 to 100"):
        JpegCodec(quality=0)


def test_the_quality_is_noted_with_the_array(tmp_path):
    DemoStore.create(tmp_path / "a.zarr", IMAGE_SPEC, image_codec="jpeg", jpeg_quality=80).close()
    metadata = json.loads((tmp_path / "a.zarr" / "data" / "camera" / "zarr.json").read_text())
    codecs = metadata["codecs"][0]["configuration"]["codecs"]
    assert codecs == [{"name": "robot_learning.jpeg", "configuration": {"quality": 80}}]


def test_an_array_in_another_byte_order_is_left_to_zarr(store):
    metadata = json.loads((store.path / "data/depth/zarr.json").read_text())
    assert _shard_layout(metadata, (12, 16, 1))[0] == ("bytes", "zstd")
    metadata["codecs"][0]["configuration"]["codecs"][0]["configuration"]["endian"] = "big"
    assert _shard_layout(metadata, (12, 16, 1))[0] == ()
