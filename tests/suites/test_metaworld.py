"""Meta-World: the contracts, agreement with its own readings, repeatability, pictures, experts, commands."""

import hashlib
import inspect
import json
import subprocess
import sys
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest

from robot_learning.cli.main import main
from robot_learning.core.errors import ConfigError, MissingExtra, SafetyStop, SpecMismatch, UnknownName
from robot_learning.core.protocols import ExpertSuite
from robot_learning.datasets.store import DemoStore
from robot_learning.runtime.clock import SimClock
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import Finite
from robot_learning.runtime.judge import Judge
from robot_learning.sim.suites.metaworld import CAMERAS, UPSIDE_DOWN, W_LAST, Expert, MetaWorldRobot, MetaWorldSuite, task_names
from tests.contracts.actor import ActorContract
from tests.contracts.robot import RobotContract

needs_metaworld = pytest.mark.skipif(find_spec("metaworld") is None, reason="the extra metaworld is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
MISSED = 4
"""At most so many of the 50 experts fail at one start each; ``benchmarks/metaworld_experts.py`` says how often each does."""


@cache
def robot_for(task):
    """One connected robot per task; tests reset it."""
    robot = MetaWorldRobot(task)
    robot.connect()
    return robot


@needs_metaworld
class TestDoorOpen(RobotContract):
    restores_start = False

    def make_robot(self):
        return MetaWorldRobot("door-open")


@needs_metaworld
class TestExpert(ActorContract):
    def make_actor(self):
        return Expert("pick-place")

    def spec(self):
        return robot_for("pick-place").spec

    def observations(self):
        robot = robot_for("pick-place")
        seen = [robot.reset(seed=0)]
        for action in self.actions():
            robot.apply(action)
            seen.append(robot.observe())
        return seen

    def actions(self):
        return RobotContract.actions(self.spec(), 3)


@needs_metaworld
def test_what_is_observed_is_what_meta_world_observes():
    robot = robot_for("door-open")
    robot.reset(seed=3)
    for action in RobotContract.actions(robot.spec, 5):
        robot.apply(action)
    observation = robot.observe()
    robot._env._partially_observable = False
    theirs = robot._env._get_obs()
    np.testing.assert_allclose(observation["hand_position"], theirs[:3], atol=1e-6)
    np.testing.assert_allclose(observation["gripper_opening"], theirs[3:4], atol=1e-6)
    np.testing.assert_allclose(observation["goal_position"], theirs[36:], atol=1e-6)
    ours = observation["object_state"]
    np.testing.assert_allclose(ours[:3], theirs[4:7], atol=1e-6)
    np.testing.assert_allclose(ours[3:7], theirs[[10, 7, 8, 9]], atol=1e-6)


@needs_metaworld
def test_quaternions_are_turned_where_scipy_made_them():
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    made = {name for name, kind in ALL_V3_ENVIRONMENTS.items() if "as_quat" in inspect.getsource(kind._get_quat_objects)}
    assert {f"{task}-v3" for task in W_LAST} == made


@needs_metaworld
def test_depth_is_how_far_the_middle_ray_goes():
    import mujoco

    robot = MetaWorldRobot("door-open", [{"name": "corner2", "width": 33, "height": 33, "depth": True}])
    robot.connect()
    observation = robot.reset(seed=0)
    RobotContract().check_observation(robot.spec, observation)
    model, data = robot._env.model, robot._env.data
    camera, shown = data.camera("corner2"), np.array([1, 1, 1, 0, 0, 0], np.uint8)
    forward = -camera.xmat.reshape(3, 3)[:, 2]
    far = mujoco.mj_ray(model, data, camera.xpos, forward, shown, 1, -1, np.zeros(1, np.int32))
    assert observation["corner2_depth"][16, 16, 0] == pytest.approx(1000 * far, abs=5)
    robot.close()


@needs_metaworld
def test_pictures_are_the_right_way_up():
    """A camera whose own upward axis points down in the world shows everything upside down."""
    robot = MetaWorldRobot("door-open")
    robot.connect()
    robot.reset(seed=0)
    data = robot._env.data
    for name in set(CAMERAS) - {"topview", "gripperPOV"}:  # which look straight down
        assert (data.camera(name).xmat.reshape(3, 3)[2, 1] < 0) == (name in UPSIDE_DOWN), name
    import mujoco

    renderer = mujoco.Renderer(robot._env.model, 32, 48)
    renderer.update_scene(data, "corner2")
    np.testing.assert_array_equal(robot.render("corner2", 48, 32)[::-1, ::-1], renderer.render())
    renderer.close()
    robot.close()


@needs_metaworld
def test_the_same_seed_gives_the_same_episode_in_another_process():
    code = (
        "import hashlib, warnings; warnings.simplefilter('ignore'); from tests.suites.test_metaworld import episode; "
        "print(hashlib.sha256(episode('coffee-pull', 11)).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()[-1]
    assert hashlib.sha256(episode("coffee-pull", 11)).hexdigest() == other
    assert episode("coffee-pull", 11) == episode("coffee-pull", 11) != episode("coffee-pull", 12)


def episode(task, seed):
    """What an expert's first 40 steps look like, as bytes."""
    robot, expert = robot_for(task), Expert(task)
    observation, seen = robot.reset(seed=seed), b""
    for _ in range(40):
        seen += b"".join(observation[key].tobytes() for key in robot.spec.observation)
        robot.apply(expert.act(observation))
        observation = robot.observe()
    return seen


@needs_metaworld
@pytest.mark.parametrize("seed", range(2))
def test_experts_do_all_tasks(seed):
    failed = []
    for task in task_names():
        suite, robot = MetaWorldSuite([task]), robot_for(task)
        trial = suite.trials(seed + 1, seed=1)[seed]
        judge = Judge(suite, trial)
        guard, clock = Finite(robot.spec), SimClock(robot.spec.dt)
        run_episode(robot, suite.expert(task), guard, clock, max_steps=500, seed=trial.seed, done=judge, observers=[judge])
        if judge.best < 1:
            failed.append(task)
    assert len(failed) <= MISSED, failed


@needs_metaworld
def test_an_episode_has_five_hundred_steps():
    robot = robot_for("reach")
    robot.reset(seed=0)
    for _ in range(500):
        robot.apply(np.zeros(4, np.float32))
    with pytest.raises(SafetyStop, match="at most 500 steps"):
        robot.apply(np.zeros(4, np.float32))


@needs_metaworld
def test_wrong_settings_are_named():
    with pytest.raises(UnknownName, match="nearest: door-open"):
        MetaWorldRobot("door-opne").connect()
    with pytest.raises(SpecMismatch, match="give a seed"):
        robot_for("reach").reset(start={"hand_position": np.zeros(3)})
    with pytest.raises(UnknownName, match="unknown task 'reach'"):
        MetaWorldSuite().expert("reach")


def test_settings_are_checked_before_anything_is_imported():
    with pytest.raises(UnknownName, match="nearest: corner"):
        MetaWorldRobot(cameras=[{"name": "corne"}])
    with pytest.raises(ConfigError, match="one task at a time"):
        MetaWorldSuite(["reach", "push"])
    with pytest.raises(ConfigError, match="1 to 500"):
        MetaWorldSuite(max_steps=501)
    suite = MetaWorldSuite(["drawer-open"])
    assert isinstance(suite, ExpertSuite)
    few, many = suite.trials(3, seed=0), suite.trials(5, seed=0)
    assert [trial.seed for trial in few] == [trial.seed for trial in many[:3]]
    assert not {trial.seed for trial in many} & {trial.seed for trial in suite.trials(5, seed=1)}
    assert {(trial.task, trial.instruction) for trial in many} == {("drawer-open", "drawer open")}


def test_without_metaworld_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "metaworld", None)
    monkeypatch.setitem(sys.modules, "metaworld.env_dict", None)
    with pytest.raises(MissingExtra, match=r"robot-learning\[metaworld\]"):
        MetaWorldSuite().make_robot().connect()


@needs_metaworld
@pytest.mark.filterwarnings("ignore::tqdm.TqdmWarning")
def test_the_commands_collect_train_and_evaluate(tmp_path):
    store, run, report = tmp_path / "door.zarr", tmp_path / "door", tmp_path / "report"
    collect = ["collect", "task=metaworld/door-open", "operator=expert", "episodes=2", "workers=0", f"out={store}"]
    train = ["train", "policy=act_jepa_small", "data=metaworld", f"data.stores=[{store}]", "data.batch_size=8", "steps=2"]
    evaluate = ["evaluate", "task=metaworld/door-open", "task.max_steps=5", f"checkpoint={run}/checkpoints/last"]
    assert main(collect) == main([*train, f"out={run}"]) == 0
    assert main([*evaluate, "per_task=1", "videos=1", "workers=0", f"out={report}"]) == 0
    assert DemoStore.open(store).table["success"] == [True, True]
    assert [rollout["steps"] for rollout in json.loads((report / "results.json").read_text())["rollouts"]] == [5]
    assert "data:video/mp4" in (report / "index.html").read_text()
