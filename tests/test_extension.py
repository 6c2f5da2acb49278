"""The example policy in a package of its own, installed beside ours: it trains, is evaluated, and nothing of ours changes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_learning.core.errors import ConfigError
from robot_learning.core.extensions import extensions
from robot_learning.policies.policy import build_policy
from tests.contracts.policy import SPEC, STATISTICS, PolicyContract

EXAMPLE = Path(__file__).parent.parent / "examples" / "flow_matching"


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory):
    """Install the example for this module's tests and take it away again."""
    place = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(place)]
    copy = tmp_path_factory.mktemp("source") / "flow_matching"  # building writes beside the sources
    shutil.copytree(EXAMPLE, copy)
    subprocess.run([*pip, str(copy)], check=True)
    sys.path.insert(0, str(place))
    yield place
    sys.path.remove(str(place))
    for name in [name for name in sys.modules if name.partition(".")[0] == "flow_matching"]:
        del sys.modules[name]


class TestFlowMatching(PolicyContract):
    config = {  # noqa: RUF012 - read only
        "_target_": "flow_matching.policy.FlowMatching",
        "width": 64,
        "blocks": 2,
    }
    sees_padding = True
    overfit_steps = 500
    overfit_to = 0.5  # at t = 0 nothing shows which of the eight actions will come

    def test_it_sees(self):
        case = type(self)()
        case.observation_keys, case.goal_keys = ("camera", "velocity"), ("camera",)
        encoder = {"_target_": "robot_learning.nn.resnet.ResNetEncoder", "channels": 16, "stages": 2}
        policy = case.make(vision={"encoder": encoder})
        policy.loss(case.batch(4), torch.Generator().manual_seed(0))[0].backward()
        eyes = policy.encoder.images.encoders["camera"]
        assert type(eyes).__name__ == "ResNetEncoder"
        assert all(weight.grad.abs().sum() > 0 for weight in eyes.parameters())

    def test_with_the_true_velocity_one_step_is_enough(self):
        """Towards a single action a, v = (a - x) / (1 - t): at t = 0 one Euler step of length 1 arrives."""
        policy = self.make(steps=1)
        policy.velocity.forward = lambda inputs: 0.5 - inputs[:, -policy.horizon * 2 - 1 : -1]
        chunk = policy.act(self.window(3), self.goal(3))
        np.testing.assert_allclose(policy.actions(torch.as_tensor(chunk)).numpy(), 0.5, atol=1e-6)


def test_it_is_found_while_it_is_installed_and_not_after(installed, monkeypatch):
    assert "flow_matching" in extensions()
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(installed)])
    assert "flow_matching" not in extensions()
    with pytest.raises(ConfigError, match="an installed extension, got 'flow_matching"):
        build_policy({"_target_": "flow_matching.policy.FlowMatching"}, SPEC, STATISTICS)


def test_it_is_at_most_a_hundred_lines():
    assert len((EXAMPLE / "flow_matching" / "policy.py").read_text().splitlines()) <= 100


def test_it_trains_and_is_evaluated_by_command(tmp_path, installed):
    """The commands of docs/adding-a-policy.md, in short."""

    def run(*arguments):
        command = [sys.executable, "-m", "robot_learning.cli.main", *arguments]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])}
        done = subprocess.run(command, check=False, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("collect", "out=play.zarr", "minutes=0.5", "episode_seconds=10", "workers=0")
    run("train", "policy=flow_matching", "data.stores=[play.zarr]", "out=run", "steps=20", "policy.width=32", "threads=1")
    shown = run("evaluate", "checkpoint=run/checkpoints/last", "per_task=1", "task.tasks=[open_drawer]", "videos=0")
    assert "mean success" in shown
