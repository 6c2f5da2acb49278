"""Every policy sees with every family of encoders, learns through it as far as it may, and is loaded without its source."""

import json
import shutil
import socket

import numpy as np
import pytest
import torch

from robot_learning.core.errors import CheckpointError, SpecMismatch
from robot_learning.policies.policy import load_policy, save_policy
from tests.nn.tiny_models import ENCODER, save_tiny
from tests.policies import (
    test_act,
    test_act_jepa,
    test_diffusion_policy,
    test_hilp,
    test_play_lmp,
    test_policies,
)

CASES = {
    "beso": test_policies.TestBESOPerceptron,
    "gcbc": test_policies.TestGCBCPerceptron,
    "play_lmp": test_play_lmp.TestPlayLMP,
    "diffusion_policy": test_diffusion_policy.TestDiffusionPolicy,
    "act": test_act.TestACT,
    "act_jepa": test_act_jepa.TestACTJEPA,
    "hilp": test_hilp.TestHILP,
}
FAMILIES = {
    "conv": {"_target_": "robot_learning.nn.vision.ConvEncoder"},
    "resnet": {"_target_": "robot_learning.nn.resnet.ResNetEncoder", "channels": 16, "stages": 2},
    "dinov2": {"_target_": ENCODER, "mode": "frozen"},
    "siglip": {"_target_": ENCODER, "mode": "finetuned"},
    "clip": {"_target_": ENCODER, "mode": "lora", "rank": 2},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for kind in ("dinov2", "siglip", "clip"):
        save_tiny(kind, root / kind)
    return root


def seeing(case):
    """Return the contract of a policy that sees a camera and a goal image."""
    made = CASES[case]()
    made.observation_keys, made.goal_keys = ("camera", "velocity"), ("camera",)
    return made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES)
def test_every_policy_sees_with_every_encoder(case, family, models, tmp_path, monkeypatch):
    made, encoder = seeing(case), dict(FAMILIES[family])
    if encoder["_target_"] == ENCODER:
        shutil.copytree(models / family, tmp_path / "source")
        encoder["source"] = str(tmp_path / "source")
    vision = {"encoder": encoder}
    policy = made.make(vision=vision)
    window, goal, noise = made.window(3), made.goal(3), made.noise(policy, 3)
    before = policy.act(window, goal, **noise)
    assert before.shape == (3, policy.horizon, 2)
    policy.reset(seed=0)
    turned = ({key: value[[2, 0, 1]] for key, value in part.items()} for part in (window, goal, noise))
    seen, aimed, drawn = turned
    np.testing.assert_allclose(policy.act(seen, aimed, **drawn), before[[2, 0, 1]], atol=1e-5)

    policy.train().loss(made.batch(4), torch.Generator().manual_seed(0))[0].backward()
    eyes = [module for module in policy.modules() if type(module).__name__ == encoder["_target_"].rpartition(".")[2]]
    assert len(eyes) == 1, "the goal image goes through the camera's own encoder"
    reached = {name for name, weight in eyes[0].named_parameters() if weight.grad is not None and weight.grad.abs().sum() > 0}
    inner = {name.startswith("model.") and "lora" not in name for name in reached}
    adapted = any("lora" in name for name in reached)
    assert (True in inner, adapted) == {"dinov2": (False, False), "siglip": (True, False), "clip": (False, True)}.get(
        family, (False, False)
    )
    assert reached or case.startswith("act"), "cells of a frozen model are projected outside of it"

    save_policy(tmp_path / "saved", policy, made.full_config(vision=vision), {})
    shutil.rmtree(tmp_path / "source", ignore_errors=True)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("loading asked the network"))
    loaded = load_policy(tmp_path / "saved")
    policy.eval().reset(seed=0)
    np.testing.assert_allclose(loaded.act(window, goal, **noise), policy.act(window, goal, **noise), rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_another_size_and_a_missing_camera_are_refused(case):
    made = seeing(case)
    policy, window = made.make(), made.window(2)
    grown = {**window, "camera": np.repeat(window["camera"], 2, axis=2)}
    with pytest.raises(SpecMismatch, match=r"'camera': expected shape \(b, \d, 24, 24, 3\), got \(2, \d, 48, 24, 3\)"):
        policy.act(grown, made.goal(2))
    with pytest.raises(SpecMismatch, match=r"'camera': missing; available: velocity"):
        policy.act({key: value for key, value in window.items() if key != "camera"}, made.goal(2))
    with pytest.raises(SpecMismatch, match=r"goal: 'camera': expected shape \(2, 24, 24, 3\)"):
        policy.act(window, {"camera": made.goal(2)["camera"][:, :12]})


def test_a_checkpoint_whose_model_cannot_be_built_here_is_refused(models, tmp_path):
    """DiNAT needs natten, which no extra of ours brings; DETR has a backbone of timm."""
    made, vision = seeing("gcbc"), {"encoder": {"_target_": ENCODER, "source": str(models / "siglip")}}
    save_policy(tmp_path, made.make(vision=vision), made.full_config(vision=vision), {})
    header = json.loads((tmp_path / "policy.json").read_text())
    for kind, says in (("dinat", "natten"), ("detr", "of transformers as a whole")):
        header["policy"]["vision"]["encoder"]["architecture"] = {"model_type": kind}
        (tmp_path / "policy.json").write_text(json.dumps(header))
        with pytest.raises(CheckpointError, match=f"(?s)cannot be built.*{says}"):
            load_policy(tmp_path)
