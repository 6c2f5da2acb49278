"""Exported policies answer as PyTorch does, remember and refuse as they should, and need no torch."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from robot_learning.cli.compose import compose
from robot_learning.cli.main import main
from robot_learning.core.errors import CheckpointError, ConfigError, SpecMismatch
from robot_learning.core.protocols import Policy
from robot_learning.core.types import Stats
from robot_learning.policies.policy import build_policy, save_policy
from robot_learning.serving.onnx_export import export_onnx, random_input
from robot_learning.serving.onnx_policy import OnnxPolicy
from robot_learning.sim.robot import PlayTableRobot
from tests.nn.tiny_models import ENCODER, save_tiny
from tests.policies.test_act import TestACTFromImages as ACTFromImages
from tests.policies.test_act_jepa import TestACTJEPA as JointACT
from tests.policies.test_diffusion_policy import TestDiffusionPolicy as DiffusionPolicy
from tests.policies.test_language import TestContexts as Contexts
from tests.policies.test_language import TestGCBCReads as GCBCReads
from tests.policies.test_play_lmp import TestPlayLMP as PlayLMP
from tests.policies.test_play_lmp import TestPlayLMPFromImages as PlayLMPFromImages
from tests.policies.test_policies import TestBESOPerceptron as BESOPerceptron
from tests.policies.test_policies import TestBESOTransformer as BESOTransformer
from tests.policies.test_policies import TestGCBCPerceptron as GCBCPerceptron


class GCBCFromImages(GCBCPerceptron):
    observation_keys = ("camera", "velocity")
    goal_keys = ("camera",)


CASES = {
    "beso": (BESOTransformer(), {"goal_dropout": 0.1, "guidance": 1.5, "sampler": "dpmpp_2m"}),
    "gcbc": (GCBCPerceptron(), {}),
    "diffusion": (DiffusionPolicy(), {"steps": 3}),
    "play_lmp": (PlayLMP(), {"replan": 2}),
    "images": (PlayLMPFromImages(), {}),
    "act": (ACTFromImages(), {}),
    "act_jepa": (JointACT(), {}),
    "dinov2": (GCBCFromImages(), {}),
    "words": (GCBCReads(), {}),
    "contexts": (Contexts(), {"prefer": "language"}),
}


@pytest.fixture(scope="module", params=CASES)
def pair(request, tmp_path_factory):
    """A policy, and the file it was exported to."""
    case, changes = CASES[request.param]
    if request.param == "dinov2":
        source = tmp_path_factory.mktemp("source")
        save_tiny("dinov2", source)
        changes = {"vision": {"encoder": {"_target_": ENCODER, "source": str(source), "mode": "lora"}}}
    policy = case.make(**changes)
    path = tmp_path_factory.mktemp("onnx") / "policy.onnx"
    return policy, path, export_onnx(policy, path, {"step": 3})


def test_it_answers_as_pytorch_does_for_a_whole_episode(pair):
    policy, path, difference = pair
    exported = OnnxPolicy(path)
    assert isinstance(exported, Policy)
    assert difference < 1e-4
    rng, generator = np.random.default_rng(5), torch.Generator().manual_seed(5)
    for episode in range(2):
        policy.reset(seed=episode)
        exported.reset(seed=episode)
        for _ in range(5):
            (window, goal), noise = random_input(policy, rng), policy.draw_noise(1, generator)
            wanted = policy.act(window, goal, noise=noise)
            np.testing.assert_allclose(exported.act(window, goal, noise=noise.numpy()), wanted, atol=1e-4)


def test_it_says_what_it_is(pair):
    policy, path, _ = pair
    exported = OnnxPolicy(path.parent)
    assert exported.spec.to_json() == policy.spec.to_json()
    assert (exported.n_obs, exported.horizon, exported.goal_choices) == (policy.n_obs, policy.horizon, policy.goal_choices[:1])
    assert exported.provenance == {"step": 3}


def test_the_same_seed_gives_the_same_answers(pair):
    policy, path, _ = pair
    exported, (window, goal) = OnnxPolicy(path), random_input(policy, np.random.default_rng(0))
    answers = []
    for seed in (1, 1):
        exported.reset(seed=seed)
        answers.append([exported.act(window, goal) for _ in range(3)])
    np.testing.assert_array_equal(*answers)


def test_what_does_not_fit_is_named(pair):
    policy, path, _ = pair
    exported, (window, goal) = OnnxPolicy(path), random_input(policy, np.random.default_rng(0))
    key = policy.observation_keys[0]
    with pytest.raises(SpecMismatch, match=f"seen/{key}: missing"):
        exported.act({name: value for name, value in window.items() if name != key}, goal)
    with pytest.raises(SpecMismatch, match=f"seen/{key}: expected"):
        exported.act({**window, key: window[key][:, :0]}, goal)
    with pytest.raises(SpecMismatch, match="goal/"):
        exported.act(window, None)


def test_noise_on_the_way_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="such as ddim"):
        export_onnx(BESOPerceptron().make(sampler="euler_ancestral"), tmp_path / "policy.onnx", {})


def test_files_that_are_none_of_ours_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="robot-learning export"):
        OnnxPolicy(tmp_path)
    (tmp_path / "policy.onnx").write_bytes(b"not a graph")
    with pytest.raises(CheckpointError, match="not a readable ONNX file"):
        OnnxPolicy(tmp_path)


def test_answers_that_differ_are_not_written(tmp_path, monkeypatch):
    policy = GCBCPerceptron().make()
    monkeypatch.setattr(
        "robot_learning.serving.onnx_export.OnnxPolicy",
        lambda path: SimpleNamespace(reset=lambda seed: None, act=lambda window, goal, noise: np.full((1, 3, 2), 9.0)),
    )
    with pytest.raises(ConfigError, match="answers of PyTorch"):
        export_onnx(policy, tmp_path / "policy.onnx", {})
    assert not list(tmp_path.iterdir())


def test_exported_by_command_and_deployed_without_torch(tmp_path, play_policy, capsys):
    """Torch cannot even be imported where the file runs."""
    folder, goal = play_policy
    out = tmp_path / "policy.onnx"
    assert main(["export", f"checkpoint={folder}", f"out={out}"]) == 0
    assert "differ from PyTorch's" in capsys.readouterr().out
    code = "import sys; sys.modules['torch'] = None; from robot_learning.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = ["deploy", f"checkpoint={out}", "backend=onnx", f"goal={goal}", "seconds=1", f"out={tmp_path / 'deploy'}"]
    done = subprocess.run([sys.executable, "-c", code, *command], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "deploy" / "report.json").exists()
    assert main(["deploy", *command[1:3], "overrides={steps: 2}"]) == 2
    assert "export with the overrides" in capsys.readouterr().err


@pytest.fixture(scope="module")
def play_policy(tmp_path_factory):
    """An untrained policy of the play table, and a goal for it."""
    folder = tmp_path_factory.mktemp("play")
    robot = PlayTableRobot()
    robot.connect()
    first = robot.reset(seed=0)
    robot.close()
    np.savez(folder / "goal.npz", **{key: first[key] for key in robot.spec.observation})
    shapes = {**{key: array.shape for key, array in robot.spec.observation.items()}, "action": robot.spec.action.shape}
    ones = {key: np.ones(shape) for key, shape in shapes.items()}
    statistics = {key: Stats(100, 0 * one, one, -one, one, -one, one) for key, one in ones.items()}
    low, high = robot.spec.action.low, robot.spec.action.high
    statistics["action"] = Stats(100, 0 * low, high, low, high, low, high)
    config = OmegaConf.to_container(compose("train", ["policy=gcbc_mlp", "policy.network.width=32"]).policy, resolve=True)
    save_policy(folder, build_policy(config, robot.spec, statistics), config, {})
    return folder, folder / "goal.npz"
