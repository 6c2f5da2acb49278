"""Two processes make the weights that one makes; they stop, fail and go on together."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from robot_learning.core.errors import ConfigError, MissingExtra
from robot_learning.learning.team import join_team
from tests.learning import two_processes
from tests.learning.two_processes import JEPA, NOISY, PLAIN, train

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def runs(store, tmp_path_factory):
    """The folder in which two processes trained all cases."""
    return train_in_two(store, tmp_path_factory.mktemp("two"), "cpu")


def train_in_two(store, out, device):
    command = [*TORCHRUN, "-m", two_processes.__name__, store, str(out), device]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return out


def assert_close(one, other, tolerance=0.0):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


def assert_both(runs, name, checkpoint, tolerance):
    """Check that both processes hold the same weights and averages, and that these are a checkpoint's."""
    for kind, file in (("raw", "raw"), ("average", "weights")):
        first, second = (load_file(runs / f"{name}.{rank}.{kind}") for rank in (0, 1))
        assert_close(first, second)
        wanted = load_file(checkpoint / f"{file}.safetensors")
        assert_close(first, {key: wanted[key] for key in first}, tolerance)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_without_noise_and_padding_it_is_the_joint_batch(runs, store, tmp_path, accumulate):
    alone = train(PLAIN, store, tmp_path / "alone", accumulate=accumulate)
    assert_both(runs, "plain", alone.checkpoint, 1e-6)


@pytest.mark.parametrize(("name", "policy", "accumulate", "tolerance"), [("noisy", NOISY, 4, 1e-5), ("jepa", JEPA, 2, 1e-6)])
def test_two_processes_are_one_with_twice_as_many_pieces(runs, store, tmp_path, name, policy, accumulate, tolerance):
    """The keys' biases of attention have no gradient but rounding errors, which Adam magnifies: hence the tolerance."""
    alone = train(policy, store, tmp_path / "alone", accumulate=accumulate)
    assert_both(runs, name, alone.checkpoint, tolerance)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_are_one(store, tmp_path):
    runs = train_in_two(store, tmp_path, "cuda")
    for name, policy, accumulate in (("plain", PLAIN, 1), ("noisy", NOISY, 4)):
        alone = train(policy, store, tmp_path / f"{name} alone", accumulate=accumulate, device="cuda")
        assert_both(runs, name, alone.checkpoint, 1e-4)


def test_figures_are_those_of_the_joint_batch(runs, store, tmp_path):
    train(PLAIN, store, tmp_path / "alone")
    rows, wanted = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (runs / "plain", tmp_path / "alone")
    )
    assert [row["step"] for row in rows] == [row["step"] for row in wanted] == [3, 5, 6, 9, 10, 10]
    for name in ("train/loss", "train/gradient_norm", "validation/loss"):
        found = [row[name] for row in rows if name in row]
        assert found == pytest.approx([row[name] for row in wanted if name in row], abs=1e-6)


def test_a_signal_to_one_stops_both_and_resuming_ends_with_the_same_weights(runs, store, tmp_path):
    assert [(runs / f"stopped.{rank}.steps").read_text() for rank in (0, 1)] == ["5 True"] * 2
    assert [(runs / f"resumed.{rank}.steps").read_text() for rank in (0, 1)] == ["10 False"] * 2
    assert_both(runs, "resumed", runs / "plain/checkpoints/last", 0.0)


def test_one_process_goes_on_where_two_stopped(runs, store, tmp_path):
    half = shutil.copytree(runs / "halfway", tmp_path / "half", symlinks=True)
    alone = train(PLAIN, store, half, resume=True)
    assert_both(runs, "plain", alone.checkpoint, 1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("diverged", "RobotLearningError: step 7: expected a finite loss, got nan on the windows"),
        ("again", "plain: holds a run already; add resume=true"),
        ("odd", "ConfigError: batch_size: expected a multiple of the 2 processes that share a batch, got 7"),
    ],
)
def test_an_error_of_one_ends_both_and_is_told_once(runs, name, message):
    first, second = ((runs / f"{name}.{rank}.error").read_text() for rank in (0, 1))
    assert message in first
    assert second == "SystemExit: 2"


def test_divergence_leaves_the_last_good_checkpoint(runs):
    assert json.loads((runs / "diverged/checkpoints/last/trainer.json").read_text())["step"] == 5


def test_ctrl_c_at_the_launcher_keeps_the_run(store, tmp_path):
    """The command of docs/training.md, stopped by hand."""
    policy = ["policy=gcbc_mlp", "policy.network.width=16", "policy.observation_keys=[position]", "policy.goal_keys=[position]"]
    data = [f"data.stores=[{store}]", "data.batch_size=8", "data.interchangeable=null"]
    settings = ["learner=quickstart", "trainer.log_every=1", "steps=1000000", f"out={tmp_path}"]
    command = [
        *TORCHRUN,
        "--no-python",
        str(Path(sys.executable).with_name("robot-learning")),
        "train",
        *policy,
        *data,
        *settings,
    ]
    no_gpu = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}  # which device=auto has to find out
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=no_gpu) as process:
        metrics = tmp_path / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        told, errors = process.communicate(timeout=100)
    assert told.count("go on with") == 1, errors
    assert errors.count("SIGINT: finishing the step and saving") == 1
    assert json.loads((tmp_path / "checkpoints/last/trainer.json").read_text())["step"] >= 1


def test_a_single_device_is_refused(monkeypatch):
    """Checked before the processes meet, so that no other one is needed."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="device: expected auto, cpu or cuda with 2 processes, got 'cuda:1'"):
        join_team("cuda:1")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtra, match=r"robot-learning\[distributed\]"):
        join_team("cpu")
