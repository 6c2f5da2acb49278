"""Saved policies that cannot be trusted give one clear error, and nothing in them runs."""

import json
import os

import pytest

from robot_learning.core.errors import CheckpointError, UnknownName
from robot_learning.policies import policy
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


OURS = "robot_learning.policies.policy"


@pytest.mark.parametrize(
    "target",
    ["os.system", "subprocess.run", "robot_learning.policies.nothing.Here", f"{OURS}.shutil", f"{OURS}.save_policy", 3, None],
)
def test_nothing_but_our_policies_is_built(folder, target, monkeypatch):
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("the checkpoint ran code"))
    edit(folder, policy={"_target_": target, "command": "echo"})
    with pytest.raises(CheckpointError, match="_target_"):
        load_policy(folder)


def probe(**_anything):
    pytest.fail("the checkpoint called a function")


def test_our_functions_are_not_called_either(folder, monkeypatch):
    monkeypatch.setattr(policy, "probe", probe, raising=False)
    config = json.loads((folder / "policy.json").read_text())["policy"]
    for tampered in ({"_target_": f"{OURS}.probe"}, {**config, "network": {"_target_": f"{OURS}.probe"}}):
        edit(folder, policy=tampered)
        with pytest.raises(CheckpointError, match="expected a class"):
            load_policy(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": None},
        {"policy": ["a"]},
        {"spec": None},
        {"spec": {"observation": {}}},
        {"statistics": []},
        {"statistics": {}},
        {"statistics": {"position": {"count": 3}}},
        {"format": "1"},
        {"format": True},
        {"format": 0},
    ],
    ids=str,
)
def test_what_does_not_make_sense(folder, changes):
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match=r"policy\.json"):
        load_policy(folder)


@pytest.mark.parametrize("changes", [{"network": None}, {"n_obs": -1}, {"n_obs": "two"}, {"surprise": 1}], ids=str)
def test_settings_that_do_not_make_sense(folder, changes):
    edit(folder, policy={**json.loads((folder / "policy.json").read_text())["policy"], **changes})
    with pytest.raises(CheckpointError, match="cannot be built"):
        load_policy(folder)


@pytest.mark.parametrize("content", ["[]", "3", "null", "{}"])
def test_json_of_something_else(folder, content):
    (folder / "policy.json").write_text(content)
    with pytest.raises(CheckpointError, match="format number"):
        load_policy(folder)


def test_one_flipped_bit(folder):
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="sha256"):
        load_policy(folder)


def test_weights_of_another_training(folder, tmp_path):
    """As when the machine stops between the renames of the two files."""
    case = test_policies.TestGCBCPerceptron()
    other = case.make()
    other.network.mlp.enter.bias.data += 1.0
    save_policy(tmp_path / "other", other, case.full_config(), {"step": 2})
    os.replace(tmp_path / "other/weights.safetensors", folder / "weights.safetensors")
    with pytest.raises(CheckpointError, match="sha256"):
        load_policy(folder)


def test_a_failed_save_leaves_what_was_there(folder):
    case = test_policies.TestGCBCPerceptron()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TypeError, match="JSON"):
        save_policy(folder, case.make(), case.full_config(), {"step": object()})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_override_with_a_wrong_value_says_so(folder):
    with pytest.raises(CheckpointError, match="cannot be built with horizon=0"):
        load_policy(folder, horizon=0)


def test_an_override_with_a_wrong_name(folder):
    with pytest.raises(UnknownName, match="n_obs"):
        load_policy(folder, n_ob=3)
