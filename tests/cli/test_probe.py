"""The probe: what its scores are, that it leaves the encoder alone, and that a trained encoder knows more."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robot_learning.cli.main import main
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Episode
from robot_learning.datasets.store import DemoStore
from robot_learning.learning.probe import ProbeSettings, _scores, _States, probe_checkpoint
from robot_learning.policies.policy import load_policy

KEYS = ("data.observation_keys=[position]", "data.goal_keys=[]", "policy.interchangeable=null")
TRAIN = (*KEYS, "data.batch_size=16", "data.validation=0.3", "threads=1", "steps=3")
SMALL = ("policy.encoder.width=32", "policy.encoder.layers=1", "policy.encoder.feedforward=64", "policy.horizon=4")
PROBE = ("width=32", "layers=1", "heads=2", "feedforward=64", "batch_size=32", "threads=1")
TINY = ProbeSettings(steps=2, batch_size=16, width=16, layers=1, heads=2, feedforward=16)


def circle(seed, steps=30):
    """A point that moves on a circle, so that its place says where it will be, beside noise that nothing foretells."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi) + 0.3 * np.arange(steps + 1)
    return Episode(
        observation={
            "position": np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32),
            "noise": rng.normal(0, 2.0, steps + 1).astype(np.float32),
        },
        action=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        applied=np.zeros((steps, 2), np.float32),
        time=0.1 * np.arange(steps + 1),
        source=("human",) * steps,
        reward=np.full(steps, np.nan, np.float32),
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A store of circles, and a policy trained on it for three steps."""
    folder = tmp_path_factory.mktemp("probe")
    spec = RobotSpec({"position": ArraySpec((2,), unit="m"), "noise": ArraySpec((), unit="V")}, ArraySpec((2,)), 10.0)
    with DemoStore.create(folder / "circles.zarr", spec) as store:
        for seed in range(30):
            store.append(circle(seed))
    command = ["train", "policy=act_jepa_small", *TRAIN, *SMALL, f"data.stores=[{folder / 'circles.zarr'}]"]
    assert main([*command, f"out={folder / 'act'}"]) == 0
    return folder


@pytest.fixture(scope="module")
def checkpoint(runs):
    return runs / "act/checkpoints/last"


def test_it_reads_out_what_the_encoder_knows_and_nothing_else(checkpoint, tmp_path, capfd):
    """Standardised, knowing nothing is an RMSE of 1: that of noise, however long the probe is trained."""
    weights = load_file(checkpoint / "weights.safetensors")
    command = ["probe", f"checkpoint={checkpoint}", *PROBE, "lr=5e-3", "steps=150", f"out={tmp_path}"]
    assert main([*command, "predict=[position,noise]"]) == 0
    shown = capfd.readouterr().out
    scores = {score["name"]: score for score in json.loads((tmp_path / "probe.json").read_text())["scores"]}
    assert {name: score["unit"] for name, score in scores.items()} == {"all": "std", "position": "m", "noise": "V"}
    assert scores["position"]["rmse"] < 0.3 * np.sqrt(0.5), "a circle's coordinates have a variance of a half"
    assert scores["noise"]["rmse"] == pytest.approx(2.0, rel=0.15)
    assert f"{scores['noise']['rmse']:9.4f}" in shown
    after = load_file(checkpoint / "weights.safetensors")
    assert all(torch.equal(weights[name], after[name]) for name in weights)


def test_without_a_choice_all_states_are_predicted(checkpoint):
    scores = probe_checkpoint(checkpoint, settings=TINY)
    assert [score.name for score in scores] == ["all", "position"]


def test_the_same_seed_gives_the_same_scores(checkpoint):
    one, two, other = (probe_checkpoint(checkpoint, settings=TINY, seed=seed) for seed in (0, 0, 1))
    assert one == two
    assert one != other


def test_scores_by_hand(checkpoint):
    """Off by (1, 0) and (2, 2) standard deviations at two steps; the third is padding."""
    policy = load_policy(checkpoint)
    states = _States(policy, ["position"])
    policy.represent = lambda *_: torch.zeros(1, 1, 1)
    scale = states.scales["position"].scale
    wanted = states.scales["position"].inverse(torch.tensor([[[1.0, 0.0], [-2.0, 2.0], [9.0, 9.0]]]))
    batch = {"observation": {}, "future": {"position": wanted}, "future_mask": torch.tensor([[True, True, False]])}
    whole, metres = _scores(policy, states, lambda *_: torch.zeros(1, 3, 2), [batch])
    x, y = scale.tolist()
    assert whole.rmse == pytest.approx(np.sqrt((1 + 4 + 4) / 4), rel=1e-5)
    assert whole.ate == pytest.approx((1 + np.sqrt(8)) / 2, rel=1e-5)
    assert metres.rmse == pytest.approx(np.sqrt((x**2 + 4 * x**2 + 4 * y**2) / 4), rel=1e-5)
    assert metres.ate == pytest.approx((x + np.sqrt(4 * x**2 + 4 * y**2)) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("predict=[postion]", "nearest: position"),
        ("predict=[]", "one key to predict"),
        ("horizon=0", "at least one step"),
        ("steps=0", "at least one step and a positive lr"),
        ("step=9", "nearest: steps"),
        ("validation=0.0", "expected episodes held out"),
        ("batch_size=100000", "batch_size: expected 1 to"),
        ("stores=[/nowhere.zarr]", "/nowhere.zarr"),
        ("checkpoint=null", "expected checkpoint=FOLDER"),
    ],
)
def test_what_cannot_be_probed_is_one_clear_line(checkpoint, tmp_path, capfd, wrong, message):
    assert main(["probe", f"checkpoint={checkpoint}", *PROBE, f"out={tmp_path}", wrong]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_policy_without_tokens_is_named(runs, tmp_path, capfd):
    small = ("policy=gcbc_mlp", "policy.network.width=16", *TRAIN)
    assert main(["train", *small, f"data.stores=[{runs / 'circles.zarr'}]", f"out={tmp_path}"]) == 0
    assert main(["probe", f"checkpoint={tmp_path / 'checkpoints/last'}", *PROBE, f"out={tmp_path}"]) == 2
    assert "expected a policy with represent(), such as ACT or ACTJEPA, got GCBC" in capfd.readouterr().err
