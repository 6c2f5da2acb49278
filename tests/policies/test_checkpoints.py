"""Saved policies that cannot be trusted give one clear error, and nothing in them runs."""

import json
import os

import pytest

from robot_learning.core.errors import CheckpointError, UnknownName
from robot_learning.policies.policy import load_policy, save_policy
from tests.policies import test_policies


@pytest.fixture
def folder(tmp_path):
    case = test_policies.TestGCBCPerceptron()
    save_policy(tmp_path, case.make(), case.full_config(), {"step": 1})
    return tmp_path


def edit(folder, **changes):
    path = folder / "policy.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_it_loads(folder):
    assert load_policy(folder).horizon == 3


def test_a_folder_without_a_policy(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        load_policy(tmp_path)


@pytest.mark.parametrize("name", ["policy.json", "weights.safetensors"])
def test_truncated(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=name):
        load_policy(folder)


def test_from_a_newer_version(folder):
    edit(folder, format=99)
    with pytest.raises(CheckpointError, match="newer"):
        load_policy(folder)


def test_weights_of_another_policy(folder):
    config = {**json.loads((folder / "policy.json").read_text())["policy"], "horizon": 5}
    edit(folder, policy=config)
    with pytest.raises(CheckpointError, match="not the weights of this policy"):
        load_policy(folder)


@pytest.mark.parametrize("target", ["os.system", "subprocess.run", "robot_learning.policies.nothing.Here", 3])
def test_nothing_but_our_policies_is_built(folder, target, monkeypatch):
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("the checkpoint ran code"))
    edit(folder, policy={"_target_": target, "command": "echo"})
    with pytest.raises((CheckpointError, UnknownName, ValueError)):
        load_policy(folder)


def test_an_override_with_a_wrong_name(folder):
    with pytest.raises(UnknownName, match="n_obs"):
        load_policy(folder, n_ob=3)
