"""robosuite: the contracts, agreement with robosuite's own readings, its verdicts, repeatability, pictures, experts."""

import hashlib
import json
import subprocess
import sys
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest

from robot_learning.cli.main import main
from robot_learning.core.errors import ConfigError, MissingExtra, SpecMismatch, UnknownName
from robot_learning.core.protocols import ExpertSuite
from robot_learning.datasets.store import DemoStore
from robot_learning.runtime.clock import SimClock
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import Finite
from robot_learning.runtime.judge import Judge
from robot_learning.sim.suites.robosuite.experts import ROUTINES, Expert
from robot_learning.sim.suites.robosuite.robot import RobosuiteRobot
from robot_learning.sim.suites.robosuite.suite import RobosuiteSuite
from robot_learning.sim.suites.robosuite.tasks import TASKS
from tests.contracts.actor import ActorContract
from tests.contracts.robot import RobotContract

needs_robosuite = pytest.mark.skipif(find_spec("robosuite") is None, reason="the extra robosuite is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@cache
def robot_for(task, **settings):
    """One connected robot per task; tests reset it."""
    robot = RobosuiteRobot(task, **settings)
    robot.connect()
    return robot


def named(robot, observation):
    """The object state by name."""
    return dict(zip(robot.spec.observation["object_state"].names, map(float, observation["object_state"]), strict=True))


@needs_robosuite
class TestLift(RobotContract):
    def make_robot(self):
        return RobosuiteRobot("Lift")


@needs_robosuite
class TestDoor(RobotContract):
    def make_robot(self):
        return RobosuiteRobot("Door")


@needs_robosuite
@pytest.mark.parametrize(
    ("task", "readings"),
    [
        ("Lift", {"cube_pos": "cube {} [m]", "cube_quat": "cube q{}"}),
        ("Stack", {"cubeA_pos": "red cube {} [m]", "cubeA_quat": "red cube q{}", "cubeB_pos": "green cube {} [m]"}),
        ("Door", {"handle_pos": "handle {} [m]"}),
        ("PickPlaceCan", {"Can_pos": "can {} [m]", "Can_quat": "can q{}"}),
        ("NutAssemblySquare", {"SquareNut_pos": "nut {} [m]", "SquareNut_quat": "nut q{}"}),
    ],
)
def test_objects_are_where_robosuite_sees_them(task, readings):
    robot = RobosuiteRobot(task)
    robot.connect()
    robot.reset(seed=5)
    for action in RobotContract.actions(robot.spec, 6, seed=2):
        robot.apply(action)
    observation = robot.observe()
    state = named(robot, observation)
    robot._env.use_object_obs = True
    sensors = robot._env._setup_observables()
    for sensor, name in readings.items():
        letters = "xyzw" if sensor.endswith("quat") else "xyz"
        np.testing.assert_allclose([state[name.format(one)] for one in letters], sensors[sensor]._sensor({}), atol=1e-6)
    tool = sensors["robot0_eef_pos"]._sensor({})
    np.testing.assert_allclose(observation["ee_pose"][:3], tool, atol=1e-6)
    np.testing.assert_allclose(observation["joint_position"], sensors["robot0_joint_pos"]._sensor({}), atol=1e-6)
    np.testing.assert_allclose(observation["gripper_position"], sensors["robot0_gripper_qpos"]._sensor({}), atol=1e-6)
    x, y, z, w = sensors["robot0_eef_quat_site"]._sensor({})
    assert abs(observation["ee_pose"][3:] @ [w, x, y, z]) == pytest.approx(1.0, abs=1e-5)
    for thing in (*TASKS[task].bodies, *TASKS[task].sites):
        seen = [state[f"{thing} from tool {axis} [m]"] for axis in "xyz"]
        np.testing.assert_allclose(seen, [state[f"{thing} {axis} [m]"] for axis in "xyz"] - tool, atol=1e-6)
    robot.close()


@needs_robosuite
def test_door_angles_are_those_of_its_joints():
    robot = robot_for("Door")
    observation = robot.reset(seed=0)
    robot._env.sim.data.set_joint_qpos("Door_hinge", 0.11)
    robot._env.sim.data.set_joint_qpos("Door_latch_joint", 0.7)
    state = named(robot, robot.observe())
    assert (state["hinge [rad]"], state["latch [rad]"]) == pytest.approx((0.11, 0.7))
    assert observation["success"] == 0.0


@needs_robosuite
def test_the_physics_is_robosuites_own():
    """Steps through the robot leave bit for bit what the same actions leave in a bare environment."""
    robot = robot_for("Lift")
    robot.reset(seed=9)
    bare = RobosuiteRobot("Lift")._environment()
    bare.rng.bit_generator.state = np.random.default_rng(9).bit_generator.state
    bare.reset()
    for action in RobotContract.actions(robot.spec, 8, seed=3):
        bare.step(robot.apply(action).astype(np.float64))
        robot.observe()
    np.testing.assert_array_equal(robot._env.sim.data.qpos, bare.sim.data.qpos)
    np.testing.assert_array_equal(robot._env.sim.data.qvel, bare.sim.data.qvel)
    bare.close()


def digest():
    """Everything observed in a short episode of each task, as a hash."""
    content = hashlib.sha256()
    for task in TASKS:
        robot = robot_for(task)
        observations = [robot.reset(seed=3)]
        for action in RobotContract.actions(robot.spec, 3):
            robot.apply(action)
            observations.append(robot.observe())
        for observation in observations:
            content.update(b"".join(observation[key].tobytes() for key in robot.spec.observation))
    return content.hexdigest()


@needs_robosuite
def test_the_same_seed_is_the_same_episode_in_another_process():
    code = "from tests.suites.test_robosuite import digest; print(digest())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()[-1]
    assert digest() == other


def solved(task, robot, observation):
    """The object state with the task done, from the environment's own geometry."""
    names = list(robot.spec.observation["object_state"].names)
    state, env = observation["object_state"].copy(), robot._env

    def put(thing, position):
        state[names.index(f"{thing} x [m]") :][:3] = position

    if task == "Lift":
        put("cube", [0.1, 0.1, 0.88])
    elif task == "Stack":
        put("red cube", np.add(state[names.index("green cube x [m]") :][:3], [0.0, 0.0, 0.0449]))
    elif task == "Door":
        state[names.index("hinge [rad]")] = 0.35
    elif task == "PickPlaceCan":
        put("can", env.target_bin_placements[env.object_id] + [0.0, 0.0, 0.05])
    else:
        put("nut", env.sim.data.body_xpos[env.peg1_body_id])
    return {**observation, "object_state": state}


@needs_robosuite
@pytest.mark.parametrize("task", TASKS)
def test_the_environment_says_when_a_task_is_done(task):
    suite, robot = RobosuiteSuite([task]), robot_for(task)
    trial = suite.trials(1, seed=0)[0]
    first = robot.reset(seed=trial.seed)
    assert suite.score(trial, first, first) == 0.0
    done = robot.reset(seed=trial.seed, start=solved(task, robot, first))
    assert suite.score(trial, first, done) == 1.0


@needs_robosuite
def test_images_are_the_right_way_up_and_rgb():
    size = 128
    robot = RobosuiteRobot("Lift", cameras=[{"name": "agentview", "width": size, "height": size, "depth": True}])
    robot.connect()
    observation = robot.reset(seed=1)
    RobotContract().check_observation(robot.spec, observation)
    image = observation["agentview_rgb"].astype(int)
    model, data = robot._env.sim.model._model, robot._env.sim.data._data
    camera = data.camera("agentview")
    x, y, z = camera.xmat.reshape(3, 3).T @ (observation["object_state"][:3] - camera.xpos)  # right, up, backward
    focal = 0.5 * size / np.tan(0.5 * np.deg2rad(model.camera("agentview").fovy[0]))
    column, row = round(0.5 * size + focal * x / -z), round(0.5 * size - focal * y / -z)
    red, green, blue = image[row, column]
    assert red > 2 * green
    assert red > 2 * blue
    assert image[size - 1 - row, column].min() > 150, "upside down, the white table is there"
    assert 0 < -1000 * z - float(observation["agentview_depth"][row, column, 0]) < 40, "the cube's middle lies behind its face"
    robot.close()


@needs_robosuite
@pytest.mark.parametrize(
    ("arm", "controller", "first", "size"),
    [
        ("Panda", "OSC_POSE", "dx [0.05 m]", 7),
        ("Sawyer", "OSC_POSITION", "dx [0.05 m]", 4),
        ("UR5e", "JOINT_POSITION", "shoulder_pan_joint [0.05 rad]", 7),
    ],
)
def test_actions_are_named_after_what_they_move(arm, controller, first, size):
    spec = RobosuiteRobot("Lift", arm, controller).spec
    assert spec.action.shape == (size,)
    assert (spec.action.names[0], spec.action.names[-1]) == (first, "gripper [-1 open, 1 closed]")
    np.testing.assert_array_equal(spec.action.high, np.ones(size))


@needs_robosuite
def test_an_action_moves_the_tool_along_its_name():
    robot = robot_for("Lift")
    for axis in range(3):
        before = robot.reset(seed=0)["ee_pose"]
        action = np.zeros(7, np.float32)
        action[axis] = 1.0
        for _ in range(4):
            robot.apply(action)
        moved = robot.observe()["ee_pose"][:3] - before[:3]
        assert moved[axis] > 0.02
        assert np.abs(np.delete(moved, axis)).max() < 0.3 * moved[axis]


@needs_robosuite
def test_what_robosuite_does_not_ship_is_refused():
    for wrong, match in (
        ({"robot": "Pandas"}, "nearest: Panda"),
        ({"robot": "Baxter"}, "unknown robosuite arm"),
        ({"controller": "OSC"}, "nearest: OSC_POSE"),
        ({"cameras": [{"name": "agent"}]}, "unknown robosuite camera 'agent'"),
    ):
        with pytest.raises(UnknownName, match=match):
            RobosuiteRobot("Lift", **wrong).connect()
    with pytest.raises(ConfigError, match="go together, got UR5e with IK_POSE"):
        RobosuiteRobot("Lift", "UR5e", "IK_POSE").connect()
    with pytest.raises(SpecMismatch, match=r"missing.*object_state"):
        robot_for("Lift").reset(seed=0, start={"joint_position": np.zeros(7)})


def test_without_robosuite_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "robosuite", None)
    with pytest.raises(MissingExtra, match=r"robot-learning\[robosuite\]"):
        RobosuiteSuite().make_robot().connect()


def test_a_control_period_is_whole_physics_steps():
    for rate in (0.0, 30.0, 501.0):
        with pytest.raises(ConfigError, match="expected a divisor of 500 Hz"):
            RobosuiteSuite(control_hz=rate).make_robot()
    assert RobosuiteSuite(control_hz=25.0).make_robot()


def test_a_suite_is_one_task():
    with pytest.raises(ConfigError, match="one task at a time"):
        RobosuiteSuite(["Lift", "Stack"])
    with pytest.raises(UnknownName, match="nearest: Lift"):
        RobosuiteSuite(["Lif"])
    suite = RobosuiteSuite(["Stack"])
    few, many = suite.trials(3, seed=0), suite.trials(5, seed=0)
    assert [trial.seed for trial in few] == [trial.seed for trial in many[:3]]
    assert not {trial.seed for trial in many} & {trial.seed for trial in suite.trials(5, seed=1)}
    assert {(trial.task, trial.instruction) for trial in many} == {("Stack", "put the red cube onto the green cube")}


def test_experts_are_for_three_tasks_and_one_arm():
    assert isinstance(RobosuiteSuite(), ExpertSuite)
    with pytest.raises(UnknownName, match="expert of robosuite 'PickPlaceCan'"):
        RobosuiteSuite(["PickPlaceCan"]).expert("PickPlaceCan")
    with pytest.raises(UnknownName, match="unknown task 'Stack'"):
        RobosuiteSuite().expert("Stack")
    for other in ({"controller": "JOINT_POSITION"}, {"robot": "Sawyer"}):
        with pytest.raises(ConfigError, match=r"expected Panda with OSC_POSE, got .*(Sawyer|JOINT_POSITION)"):
            RobosuiteSuite(**other).expert("Lift")


@needs_robosuite
class TestExpert(ActorContract):
    def make_actor(self):
        return Expert("Stack")

    def spec(self):
        return robot_for("Stack").spec

    def observations(self):
        robot = robot_for("Stack")
        seen = [robot.reset(seed=0)]
        for action in self.actions():
            robot.apply(action)
            seen.append(robot.observe())
        return seen

    def actions(self):
        return RobotContract.actions(self.spec(), 3)


@needs_robosuite
@pytest.mark.parametrize("task", ROUTINES)
def test_experts_do_their_task(task):
    suite, robot = RobosuiteSuite([task]), robot_for(task)
    for trial in suite.trials(3, seed=1):
        judge = Judge(suite, trial)
        guard, clock = Finite(robot.spec), SimClock(robot.spec.dt)
        outcome = run_episode(
            robot, suite.expert(task), guard, clock, max_steps=150, seed=trial.seed, done=judge, observers=[judge]
        )
        assert outcome.success, (task, trial.seed, outcome)


@needs_robosuite
def test_an_expert_that_loses_the_cube_takes_it_again():
    robot, expert = robot_for("Lift"), Expert("Lift")
    observation, heights = robot.reset(seed=2), []
    expert.reset(seed=2)
    for step in range(120):
        action = expert.act(observation)
        if 24 <= step < 34:
            action[-1] = -1.0  # a hand that opens by itself
        robot.apply(action)
        observation = robot.observe()
        heights.append(named(robot, observation)["cube z [m]"])
    assert max(heights[:34]) < 0.84, "it was lost before it was lifted"
    assert max(heights) > 0.84


@needs_robosuite
@pytest.mark.filterwarnings("ignore::tqdm.TqdmWarning")
def test_the_commands_collect_train_and_evaluate(tmp_path):
    store, run, report = tmp_path / "lift.zarr", tmp_path / "lift", tmp_path / "report"
    collect = ["collect", "task=robosuite/Lift", "operator=expert", "episodes=2", "workers=0", f"out={store}"]
    train = [
        "train",
        "policy=gcbc_mlp",
        "data=robosuite",
        f"data.stores=[{store}]",
        "data.batch_size=8",
        "steps=2",
        f"out={run}",
    ]
    evaluate = ["evaluate", "task=robosuite/Lift", "task.max_steps=5", f"checkpoint={run}/checkpoints/last"]
    assert main(collect) == main(train) == 0
    assert main([*evaluate, "per_task=1", "videos=1", "workers=0", f"out={report}"]) == 0
    assert DemoStore.open(store).table["success"] == [True, True]
    assert [rollout["steps"] for rollout in json.loads((report / "results.json").read_text())["rollouts"]] == [5]
    assert "data:video/mp4" in (report / "index.html").read_text()
