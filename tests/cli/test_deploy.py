import json

import numpy as np
import pytest

from robot_learning.cli import deploy
from robot_learning.core.errors import ConfigError, SpecMismatch, UnknownName
from robot_learning.core.spec import RobotSpec
from robot_learning.datasets.store import DemoStore
from robot_learning.sim.suites.play_table import PlayTableSuite

KEYS = ("ee_pose", "furniture")


class Nudge:
    """Moves the tool a little towards the goal's drawer state, on the play table."""

    def __init__(self, action=0.01, mode="ee_delta"):
        spec = PlayTableSuite(action_mode=mode).make_robot().spec
        self.spec = RobotSpec({key: spec.observation[key] for key in KEYS}, spec.action, spec.control_hz)
        self.n_obs, self.horizon, self.goal_keys, self.goal_choices = 2, 4, ("furniture",), (("furniture",),)
        self.action = action

    def reset(self, *, seed=None):
        pass

    def act(self, window, goal):
        assert goal["furniture"].shape == (1, *self.spec.observation["furniture"].shape)
        return np.full((1, 4, 7), self.action, np.float32)


@pytest.fixture
def goal(tmp_path):
    robot = PlayTableSuite().make_robot()
    robot.connect()
    observation = robot.reset(seed=5)
    robot.close()
    np.savez(tmp_path / "goal.npz", **{key: observation[key] for key in robot.spec.observation})
    return tmp_path / "goal.npz"


@pytest.fixture
def checkpoint(monkeypatch):
    """Have the command load a policy of the test."""
    loaded = {}

    def use(policy):
        def load(folder, device="cpu", **overrides):
            loaded.update(folder=str(folder), device=device, overrides=overrides)
            return policy

        monkeypatch.setattr("robot_learning.policies.policy.load_policy", load)
        return loaded

    return use


def run(goal, *overrides):
    out = goal.parent / "out"
    common = [f"goal={goal}", f"start={goal}", f"out={out}", "checkpoint=runs/x", "execution.patience=1000"]
    return deploy.main([*common, "seconds=0.3", *overrides]), out


def test_runs_records_and_reports(goal, checkpoint, capsys):
    loaded = checkpoint(Nudge())
    status, out = run(goal, "overrides={sampling_steps: 5}", "execution.execute=2")
    assert status == 0
    assert loaded == {"folder": "runs/x", "device": "cpu", "overrides": {"sampling_steps": 5}}
    printed = capsys.readouterr().out
    assert "play_table: 0.3 s at 20 Hz" in printed
    assert "overruns  " in printed
    report = json.loads((out / "report.json").read_text())
    assert report["outcome"]["steps"] == 6
    assert (report["checkpoint"], report["goal"]) == ("runs/x", str(goal))
    with DemoStore.open(out / "episodes.zarr") as store:
        assert store[0].meta["checkpoint"] == "runs/x"
        np.testing.assert_allclose(store[0].observation["furniture"][0], np.load(goal)["furniture"], atol=1e-3)


def test_a_broken_policy_is_stopped(goal, checkpoint, capsys):
    checkpoint(Nudge(action=np.nan))
    status, _ = run(goal, "record=false")
    assert status == 1
    assert "safety: action [0] (dx [m]): expected a finite value, got nan" in capsys.readouterr().out


def test_guards_and_relative_elements_come_with_the_task(goal, checkpoint):
    checkpoint(Nudge(mode="joint_position"))
    with pytest.raises(UnknownName, match=r"unknown element 'dx \[m\]'"):
        run(goal, "task.action_mode=joint_position", "record=false", "guard=strict")


def test_a_policy_for_another_robot_lists_the_differences(goal, checkpoint):
    policy = Nudge()
    policy.spec = RobotSpec(policy.spec.observation, policy.spec.action, control_hz=10.0)
    checkpoint(policy)
    with pytest.raises(SpecMismatch, match="runs/x does not fit play_table: 1 difference"):
        run(goal)
    assert not (goal.parent / "out").exists()


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["task=play_tabel"], UnknownName, "nearest: play_table"),
        (["guard=strickt"], UnknownName, "nearest: strict"),
        (["secnds=3"], UnknownName, "nearest: seconds"),
        (["execution.exceute=3"], UnknownName, "nearest: .*execute"),
        (["goal=nothing.npz"], ConfigError, "expected a file, got none there"),
    ],
)
def test_mistakes(goal, checkpoint, overrides, error, message):
    checkpoint(Nudge())
    with pytest.raises(error, match=message):
        run(goal, *overrides)


def test_a_checkpoint_must_be_named():
    with pytest.raises(ConfigError, match="checkpoint: expected the folder of a policy"):
        deploy.main([])


def test_help(capsys):
    assert deploy.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "execution.patience" in text
    assert "goal=store:42@end" in text
