"""Evaluations are paired, do not depend on the workers, refuse misfits early, and make a page that needs no network."""

import json
import re
from functools import partial

import pytest
import torch

from robot_learning.core.errors import ConfigError, SpecMismatch, UnknownName
from robot_learning.evaluation.evaluate import evaluate
from robot_learning.evaluation.pages import evaluation_report
from robot_learning.evaluation.rollout import Contender
from robot_learning.policies.policy import build_policy, save_policy
from robot_learning.sim.robot import PlayTableRobot
from robot_learning.sim.suites.play_table import PlayTableSuite
from tests.contracts.policy import SPEC, STATISTICS
from tests.policies import test_policies
from tests.sim.statistics_of import statistics_of

SUITE = partial(PlayTableSuite, tasks=["push_red_button", "open_drawer"], patience=0.5)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained policy for the play table."""
    spec = PlayTableRobot().spec
    config = {
        **test_policies.TestBESOPerceptron.config,
        "observation_keys": ["ee_pose", "block_position"],
        "goal_keys": ["block_position"],
        "horizon": 4,
    }
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("policy")
    save_policy(folder, build_policy(config, spec, statistics_of(spec)), config, {"step": 0})
    return str(folder)


@pytest.fixture(scope="module")
def result(checkpoint):
    contenders = {"untrained": Contender(checkpoint, execute=2), "random": Contender(None)}
    return evaluate(SUITE, contenders, per_task=2, seed=1, workers=0, progress=False)


def test_everybody_attempts_the_same_trials(result):
    attempted = {name: [(r.number, r.task, r.seed) for r in result.rollouts if r.policy == name] for name in result.contenders}
    assert attempted["untrained"] == attempted["random"]
    assert len(attempted["random"]) == 4


def test_figures_do_not_depend_on_the_workers(result, checkpoint):
    contenders = {"untrained": Contender(checkpoint, execute=2), "random": Contender(None)}
    again = evaluate(SUITE, contenders, per_task=2, seed=1, workers=2, progress=False)
    assert again.rollouts == result.rollouts


def test_results_are_json_with_their_origin(result, tmp_path):
    result.write(tmp_path / "results.json", "robot-learning evaluate ...")
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["policies"]["random"]["rollouts"] == 4
    assert content["provenance"]["command"] == "robot-learning evaluate ..."
    assert content["provenance"]["training"]["untrained"] == {"step": 0}
    assert set(content["policies"]["random"]["tasks"]) == {"push_red_button", "open_drawer"}


def test_a_policy_for_another_robot_is_refused_with_every_difference(tmp_path):
    case = test_policies.TestGCBCPerceptron()
    save_policy(tmp_path, build_policy(case.full_config(), SPEC, STATISTICS), case.full_config(), {})
    with pytest.raises(SpecMismatch, match=r"(?s)'position': missing.*'velocity': missing.*action.*control_hz"):
        evaluate(SUITE, {"foreign": Contender(str(tmp_path))}, per_task=1, workers=0, progress=False)


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        (("instruction",), SpecMismatch, r"goal: expected \['block_position'\], which the policy reads, got \['instruction'\]"),
        (("instrction",), UnknownName, "nearest: instruction"),
    ],
)
def test_a_goal_that_the_policy_does_not_read_is_refused_first(checkpoint, keys, error, message):
    with pytest.raises(error, match=message):
        evaluate(SUITE, {"untrained": Contender(checkpoint, goal=keys)}, per_task=1, workers=0, progress=False)


def test_a_policy_is_told_in_words(tmp_path):
    """It acts on the instruction of each trial: goals of the scene are kept from it."""
    spec = PlayTableRobot().spec
    keys = {"observation_keys": ["ee_pose", "block_position"], "goal_keys": ["instruction"]}
    config = {**test_policies.TestGCBCPerceptron.config, **keys, "n_obs": 1, "horizon": 4}
    save_policy(tmp_path, build_policy(config, spec, statistics_of(spec)), config, {})
    contenders = {"told": Contender(str(tmp_path), goal=("instruction",))}
    result = evaluate(SUITE, contenders, per_task=1, workers=0, progress=False)
    assert [rollout.steps > 0 for rollout in result.rollouts] == [True, True]
    assert contenders["told"].told(result.trials[1]) == {"instruction": result.trials[1].instruction}


def test_nobody_to_evaluate():
    with pytest.raises(ConfigError, match="checkpoint"):
        evaluate(SUITE, {}, per_task=1, progress=False)


def test_the_page_needs_no_network_and_shows_films(result, tmp_path):
    page = evaluation_report(result, tmp_path, SUITE, videos=1, command="robot-learning evaluate ...").read_text()
    assert "untrained" in page
    assert "push_red_button" in page
    assert "robot-learning evaluate ..." in page
    addresses = set(re.findall(r"https?://[^\"'<> )]+", page)) - {"http://www.w3.org/2000/svg"}
    assert not addresses
    assert "data:video/mp4" in page or list(tmp_path.rglob("*.mp4")) or "could be made" in page or "Videos" in page
