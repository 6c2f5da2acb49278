"""Prompts from stored episodes: what is labelled happened, and policies that cannot be prompted so are named."""

from functools import partial

import numpy as np
import pytest
import torch

from robot_learning.cli.compose import compose
from robot_learning.cli.evaluate import contenders
from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.datasets.stores import new_store
from robot_learning.evaluation.evaluate import evaluate
from robot_learning.evaluation.prompts import Prompt, prompt_policy, rewards, stored_transitions
from robot_learning.evaluation.rollout import Actors, Contender
from robot_learning.policies.policy import build_policy, load_policy, save_policy
from robot_learning.sim import playroom
from robot_learning.sim.demonstrations import scripted_episode
from robot_learning.sim.robot import PlayTableRobot
from robot_learning.sim.suites.play_table import PlayTableSuite
from tests.policies import test_hilp, test_policies
from tests.sim.statistics_of import statistics_of

SUITE = partial(PlayTableSuite, tasks=["open_drawer", "close_drawer"], patience=0.1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two episodes in which the drawer is opened and one in which it is closed."""
    path = tmp_path_factory.mktemp("prompts") / "few.zarr"
    episodes = [scripted_episode(name, seed) for name, seed in (("open_drawer", 0), ("open_drawer", 1), ("close_drawer", 0))]
    with new_store(path, PlayTableRobot().spec) as made:
        for episode in episodes:
            made.append(episode)
    made.close()
    return str(path)


def save(folder, case, **changes):
    """Save an untrained policy that sees furniture and tool."""
    keys = {"observation_keys": ["ee_pose", "furniture"], "goal_keys": ["furniture"]}
    config = {**case.config, **keys, **changes}
    spec = PlayTableRobot().spec
    torch.manual_seed(0)
    save_policy(folder, build_policy(config, spec, statistics_of(spec)), config, {})
    return str(folder)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save(tmp_path_factory.mktemp("hilp"), test_hilp.TestHILP())


@pytest.fixture(scope="module")
def unprompted(tmp_path_factory):
    return save(tmp_path_factory.mktemp("gcbc"), test_policies.TestGCBCPerceptron(), horizon=4)


def test_rewards_are_for_what_happened_in_between(store):
    """Compared with the drawer's own travel: nearly shut before and nearly open afterwards, or the other way round."""
    samples = stored_transitions(Prompt("reward", [store], samples=10**6, steps=15))
    travel = [side["furniture"][:, 0] / playroom.DRAWER_TRAVEL for side in (samples.before, samples.after)]
    opened = rewards(samples, SUITE(), "open_drawer")
    assert 5 < opened.sum() < len(opened) / 2
    assert (travel[0] < 0.5)[opened == 1].all()
    assert (travel[1] > 0.5)[opened == 1].all()
    closed = rewards(samples, SUITE(), "close_drawer")
    assert closed.sum() > 0
    assert (travel[0] > 0.5)[closed == 1].all()
    assert not (opened * closed).any()


def test_samples_lie_as_far_apart_as_asked(store):
    samples = stored_transitions(Prompt("plan", [store], samples=50, steps=3))
    assert len(samples.before["furniture"]) == 50
    near = np.linalg.norm(samples.after["ee_pose"][:, :3] - samples.before["ee_pose"][:, :3], axis=1)
    far = stored_transitions(Prompt("plan", [store], samples=50, steps=30))
    assert near.max() < np.linalg.norm(far.after["ee_pose"][:, :3] - far.before["ee_pose"][:, :3], axis=1).max()
    assert near.max() > 0


def test_a_reward_prompt_follows_what_the_task_changes(store, checkpoint):
    """Prompted to open the drawer the latent points along phi(open) - phi(shut), prompted to close it against it."""
    suite, robot = SUITE(), PlayTableRobot()
    prompt = Prompt("reward", [store], samples=10**6, steps=15)
    actors = Actors({"hilp": Contender(checkpoint, prompt=prompt)}, suite, robot)
    samples = stored_transitions(prompt)
    opened = torch.as_tensor(rewards(samples, suite, "open_drawer") == 1)
    along = {}
    for name in suite.tasks:
        policy = actors.find("hilp", name).policy
        with torch.inference_mode():
            change = policy._embed(samples.after) - policy._embed(samples.before)
        along[name] = float((change[opened] @ policy._known[0]).mean())
    assert along["open_drawer"] > 0 > along["close_drawer"]
    assert actors.find("hilp", "open_drawer") is actors.find("hilp", "open_drawer")


@pytest.mark.parametrize("kind", ["goal", "plan", "reward"])
def test_prompted_policies_attempt_every_task(store, checkpoint, kind):
    contender = Contender(checkpoint, prompt=Prompt(kind, [store], samples=300))
    result = evaluate(SUITE, {"hilp": contender}, per_task=1, workers=0, progress=False)
    assert {rollout.task for rollout in result.rollouts} == {"open_drawer", "close_drawer"}
    assert result.to_json()["provenance"]["contenders"]["hilp"]["prompt"]["kind"] == kind


def test_a_policy_without_prompts_is_refused_before_the_first_step(unprompted):
    with pytest.raises(ConfigError, match="expected a policy that takes prompts, got GCBC"):
        evaluate(SUITE, {"gcbc": Contender(unprompted, prompt=Prompt("plan"))}, per_task=1, workers=0, progress=False)


def test_what_is_missing_is_named(checkpoint, store):
    with pytest.raises(UnknownName, match="nearest: reward"):
        evaluate(SUITE, {"hilp": Contender(checkpoint, prompt=Prompt("rewrd"))}, per_task=1, workers=0, progress=False)
    with pytest.raises(ConfigError, match="prompt_stores"):
        evaluate(SUITE, {"hilp": Contender(checkpoint, prompt=Prompt("plan"))}, per_task=1, workers=0, progress=False)
    with pytest.raises(ConfigError, match="at least 1"):
        Prompt("plan", samples=0)


def test_rewards_that_never_come_are_named(checkpoint, store):
    with pytest.raises(ConfigError, match=r"got 0 of \d+ with a reward"):
        prompt_policy(load_policy(checkpoint), Prompt("reward", [store]), PlayTableSuite(), "put_into_shelf")


def test_the_command_line_says_it():
    options = ["checkpoint=a/b", "prompt=reward", "prompt_stores=[x.zarr]", "prompt_samples=7", "prompt_steps=9"]
    (contender,) = contenders(compose("evaluate", options)).values()
    assert contender.prompt == Prompt("reward", ("x.zarr",), samples=7, steps=9)
    (plain,) = contenders(compose("evaluate", ["checkpoint=a/b"])).values()
    assert plain.prompt is None
