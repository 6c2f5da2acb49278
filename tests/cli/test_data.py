import json
import subprocess
import sys

import numpy as np
import pytest
import zarr

from robot_learning.cli.data import main as data
from robot_learning.cli.main import main
from robot_learning.datasets.store import DemoStore
from tests.datasets.episodes import IMAGE_SPEC, make_episode


@pytest.fixture
def path(tmp_path):
    with DemoStore.create(tmp_path / "demos.zarr", IMAGE_SPEC) as store:
        for seed in range(2):
            store.append(make_episode(IMAGE_SPEC, 5, seed=seed, success=bool(seed)))
    return tmp_path / "demos.zarr"


def test_info(path, capsys):
    assert data(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert "2 episodes, 10 steps, 0.00 h at 10 Hz" in text
    assert "no (1), yes (1)" in text
    assert "joint_position  float32  3" in text
    assert data(["info", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["episodes"] == 2
    assert report["fingerprint"] == DemoStore.open(path).fingerprint()
    assert report["observation"]["joint_position"]["low"] == [None] * 3


def test_verify_names_problems_and_fails(path, capsys):
    assert data(["verify", str(path)]) == 0
    assert "every byte as recorded" in capsys.readouterr().out
    zarr.open_group(path, mode="r+")["data/pose"][0] = 5.0
    assert data(["verify", str(path)]) == 1
    assert "episode 0: data/pose: content is not what was recorded" in capsys.readouterr().out
    assert data(["verify", str(path), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)[str(path)]) == 1


def test_stats(path, capsys):
    assert data(["stats", str(path), str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["key", "mean", "std", "low", "q01", "q99", "high"]
    assert len(lines) == 1 + 3 + 1 + 4 + 3 + 1 + 2
    assert lines[1].startswith("joint_position[a]")
    assert data(["stats", str(path), "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)["joint_position"]
    np.testing.assert_allclose(stats["mean"], DemoStore.open(path).statistics()["joint_position"].mean)


def test_merge(path, tmp_path, capsys):
    out = tmp_path / "merged.zarr"
    assert data(["merge", str(path), str(path), "--out", str(out)]) == 0
    assert "4 episodes, 20 steps" in capsys.readouterr().out
    assert DemoStore.open(out).verify() == []
    assert main(["data", "merge", str(path), "--out", str(out)]) == 2
    assert "expected no file or folder there" in capsys.readouterr().err


def test_convert(tmp_path, capsys):
    group = zarr.open_group(tmp_path / "source.zarr", mode="w", zarr_format=2)
    group.create_array("data/action", data=np.zeros((4, 2)))
    group.create_array("data/arm", data=np.ones((4, 2)))
    group.create_array("meta/episode_ends", data=np.array([2, 4], np.int64))
    out = str(tmp_path / "out.zarr")
    arguments = ["convert", "diffusion_policy", str(tmp_path / "source.zarr"), out, "--control-hz", "4", "--json"]
    assert data(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["episodes"], report["steps"], report["control_hz"]) == (2, 4, 4.0)
    assert main(["data", "convert", "lerobot", str(tmp_path), out]) == 2
    assert "meta/info.json" in capsys.readouterr().err


def test_a_store_that_is_none_is_one_line(tmp_path, capsys):
    assert main(["data", "info", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_reader_that_has_read_enough_is_no_error(path):
    command = [sys.executable, "-m", "robot_learning.cli.main", "data", "info", *[str(path)] * 400]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
    process.stderr.close()


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as stopped:
        data(["--help"])
    assert stopped.value.code == 0
    assert "robot-learning data convert lerobot" in capsys.readouterr().out
