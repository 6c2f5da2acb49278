"""Every YAML composes, names things that exist, stays small, and holds no shapes."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from robot_learning.cli.compose import compose, groups, instantiate
from robot_learning.core.arguments import check_arguments
from robot_learning.nn.parts import resolve
from robot_learning.policies.policy import build_policy
from robot_learning.sim.robot import Camera, PlayTableRobot
from robot_learning.sim.suites.metaworld import MetaWorldRobot
from robot_learning.sim.suites.pusht import PushTRobot
from robot_learning.sim.suites.robosuite.robot import RobosuiteRobot
from tests.sim.statistics_of import statistics_of

CONFIGS = Path(__file__).parent.parent / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
ROOTS = [path.stem for path in FILES if path.parent == CONFIGS]
OPTIONS = [path for path in FILES if path.parent != CONFIGS]


def test_they_were_found():
    assert {"collect", "train", "evaluate", "deploy"} <= set(ROOTS)
    assert len(FILES) == len(ROOTS) + len(OPTIONS) <= 60
    assert {path.parent.name for path in OPTIONS} >= {"policy", "data", "learner", "trainer", "task", "operator", "guard"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_they_are_short(path):
    assert len(path.read_text().splitlines()) <= 40


@pytest.mark.parametrize("root", ROOTS)
def test_roots_compose(root):
    assert len(compose(root)) > 0


@pytest.mark.parametrize("root", ROOTS)
def test_every_option_of_every_group_composes(root):
    for group in groups(root):
        for option in group.options:
            assert compose(root, [f"{group.name}={option}"])


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_targets_exist_and_take_the_keys(path):
    content = yaml.safe_load(path.read_text())
    for node in _nodes(content):
        keys = [key for key in node if key != "_target_"]
        check_arguments(resolve(node["_target_"]), keys, what=node["_target_"], complete=False)


@pytest.mark.parametrize("policy", [path.stem for path in (CONFIGS / "policy").glob("*.yaml")])
@pytest.mark.parametrize("data", [path.stem for path in (CONFIGS / "data").glob("*.yaml")])
def test_every_policy_builds_on_every_data(policy, data):
    spec = _spec_of(data)
    from omegaconf import OmegaConf

    config = OmegaConf.to_container(compose("train", [f"policy={policy}", f"data={data}"]).policy, resolve=True)
    assert build_policy(config, spec, statistics_of(spec)).horizon >= 1


def test_suites_are_made_from_their_configs():
    for task in ("play_table", "pusht", "robosuite", "metaworld"):
        suite = instantiate(compose("evaluate", [f"task={task}"]).task)
        assert suite.name == task
        assert suite.tasks


@cache
def _spec_of(data):
    if data == "robosuite":
        if find_spec("robosuite") is None:
            pytest.skip("the extra robosuite is not installed")
        return RobosuiteRobot().spec
    if data == "metaworld":
        return MetaWorldRobot().spec
    cameras = [Camera("static", 48, 48), Camera("wrist", 48, 48)]
    return PushTRobot().spec if data == "pusht" else PlayTableRobot(cameras=cameras).spec


def _nodes(tree):
    if isinstance(tree, dict):
        if "_target_" in tree:
            yield tree
        for value in tree.values():
            yield from _nodes(value)
