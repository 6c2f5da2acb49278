"""Training from the command line: Ctrl-C in the middle, going on, and the same weights as in one go."""

import signal
import subprocess
import sys
import time

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from robot_learning.cli.main import main
from robot_learning.policies.policy import load_policy

COLLECT = ("minutes=0.2", "episode_seconds=4", "seed=0", "workers=0")
TRAIN = ("policy=beso_mlp", "learner=quickstart", "policy.network.width=16", "data.batch_size=8", "threads=1", "steps=400")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "play.zarr"
    assert main(["collect", f"out={path}", *COLLECT]) == 0
    return path


def arguments(store, out, *more):
    return ["train", *TRAIN, f"data.stores=[{store}]", "data.validation=0.2", f"out={out}", *more]


def weights(out):
    return load_file(out / "checkpoints/last/weights.safetensors")


def test_ctrl_c_keeps_the_run_and_resume_ends_with_the_same_weights(store, tmp_path, capfd):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert main(arguments(store, straight)) == 0
    command = [sys.executable, "-m", "robot_learning.cli.main", *arguments(store, stopped, "trainer.log_every=1")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        metrics = stopped / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.01)
        assert OmegaConf.load(stopped / "config.yaml").steps == 400, "the configuration is there before the end"
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "go on with" in told
    assert "resume=true" in told
    assert main(arguments(store, stopped, "resume=true")) == 0
    capfd.readouterr()
    one, other = weights(straight), weights(stopped)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_is_not_written_over(store, tmp_path, capfd):
    out = tmp_path / "run"
    assert main(arguments(store, out, "steps=2")) == 0
    assert main(arguments(store, out, "steps=2")) == 2
    assert "holds a run already; add resume=true" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("data.stores=[/nowhere/play.zarr]", "/nowhere/play.zarr"),
        ("data.stores=[]", "expected at least one store"),
        ("policy.observation_keys=[ee_pos]", "ee_pose"),
        ("policy.sampler=dimm", "ddim"),
        ("policy.draws=0", "draws >= 1"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_line(store, tmp_path, capfd, wrong, message):
    assert main(arguments(store, tmp_path / "run", wrong)) == 2
    error = capfd.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_decoder_is_trained_on_the_encoder_of_another_run(store, tmp_path, capfd):
    small = (
        "policy=act_jepa_small",
        "policy.encoder.width=32",
        "policy.horizon=4",
        "data.batch_size=8",
        "threads=1",
        "steps=2",
    )
    command, pretrained = ["train", *small, f"data.stores=[{store}]"], tmp_path / "pretrained/checkpoints/last"
    assert main([*command, "policy.stage=pretrain", f"out={tmp_path / 'pretrained'}"]) == 0
    assert main([*command, "policy.stage=decoder", f"init_from={pretrained}", f"out={tmp_path / 'decoder'}"]) == 0
    one, other = weights(tmp_path / "pretrained"), weights(tmp_path / "decoder")
    same = {name.partition(".")[0] for name in one if torch.equal(one[name], other[name])}
    changed = {name.partition(".")[0] for name in one if not torch.equal(one[name], other[name])}
    assert (same, changed) == ({"encoder", "target", "predictor", "actions"}, {"decoder"})
    assert main([*command, "policy.encoder.width=16", f"init_from={pretrained}", f"out={tmp_path / 'other'}"]) == 2
    assert "not the weights of this policy" in capfd.readouterr().err


def test_depth_is_recorded_trained_on_and_needed(tmp_path, capfd):
    """From the simulated camera through the store to the encoder; a robot without depth is refused."""
    cameras = "task.cameras=[{name: static, width: 24, height: 24, depth: true}]"
    plain = cameras.replace(", depth: true", "")
    play, out = tmp_path / "play.zarr", tmp_path / "run"
    assert main(["collect", f"out={play}", "minutes=0.03", "episode_seconds=1", "workers=0", cameras]) == 0
    keys = ("data.observation_keys=[static_rgb,static_depth,ee_pose]", "data.goal_keys=[static_rgb,static_depth]")
    pair = "policy.vision.depth={static_rgb: static_depth}"
    small = ("data=play_images", "data.batch_size=4", "policy.network.width=32", "steps=2", "threads=1")
    assert main(["train", *small, *keys, pair, f"data.stores=[{play}]", f"out={out}"]) == 0
    policy = load_policy(out / "checkpoints/last")
    weights = policy.encoder.images.encoders["static_rgb"].state_dict()
    assert weights["stages.0.weight"].shape[1] == 4
    checkpoint = f"checkpoint={out / 'checkpoints/last'}"
    assert main(["evaluate", checkpoint, plain, "per_task=1", f"out={tmp_path / 'evaluation'}"]) == 2
    assert "observation 'static_depth': missing" in capfd.readouterr().err
