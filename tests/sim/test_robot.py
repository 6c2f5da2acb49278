"""The play table's robot keeps the Robot contract, its own limits, and restores what it observed."""

import itertools

import mujoco
import numpy as np
import pytest

from robot_learning.core.errors import ConfigError, SpecMismatch, UnknownName
from robot_learning.sim import panda
from robot_learning.sim.kinematics import ArmKinematics
from robot_learning.sim.robot import CAMERAS, LEASH, MAX_TRANSLATION, WORKSPACE_LOW, Camera, PlayTableRobot
from tests.contracts.robot import RobotContract

STAY_OPEN = np.array([0, 0, 0, 0, 0, 0, 1], dtype=np.float32)


class TestToolMotions(RobotContract):
    def make_robot(self):
        return PlayTableRobot()


class TestJointPositions(RobotContract):
    def make_robot(self):
        return PlayTableRobot(action_mode="joint_position")


class TestWithCameras(RobotContract):
    def make_robot(self):
        return PlayTableRobot(cameras=[Camera("static", 48, 32), {"name": "wrist", "width": 32, "height": 32}])


@pytest.fixture
def robot():
    robot = PlayTableRobot()
    robot.connect()
    robot.reset(seed=0)
    yield robot
    robot.close()


def motion(**parts):
    """Return an action from parts: x, y, z [m], yaw [rad], grip."""
    action = STAY_OPEN.copy()
    for name, index in (("x", 0), ("y", 1), ("z", 2), ("yaw", 5), ("grip", 6)):
        action[index] = parts.get(name, action[index])
    return action


def test_the_tool_goes_where_it_is_sent(robot):
    before = robot.observe()["ee_pose"]
    for _ in range(10):
        robot.apply(motion(x=0.004, y=-0.006, z=0.002))
    for _ in range(10):
        robot.apply(motion())
    moved = robot.observe()["ee_pose"] - before
    np.testing.assert_allclose(moved[:3], (0.04, -0.06, 0.02), atol=0.003)
    np.testing.assert_allclose(moved[3:], 0, atol=0.02)


def test_a_turn_about_the_vertical_keeps_the_tool_in_place(robot):
    before = robot.observe()
    for _ in range(10):
        robot.apply(motion(yaw=0.05))
    for _ in range(10):
        robot.apply(motion())
    after = robot.observe()
    np.testing.assert_allclose(after["ee_pose"][:3], before["ee_pose"][:3], atol=0.004)
    first, last = (observation["ee_rotation6d"][:3] for observation in (before, after))
    assert np.arccos(np.clip(first @ last, -1, 1)) == pytest.approx(0.5, abs=0.04)


def test_the_gripper_closes_and_opens(robot):
    for _ in range(12):
        robot.apply(motion(grip=-1))
    assert robot.observe()["gripper_width"][0] < 0.003
    for _ in range(12):
        robot.apply(motion(grip=1))
    assert robot.observe()["gripper_width"][0] == pytest.approx(0.08, abs=0.003)


def test_pushing_against_the_desk_does_not_wind_the_target_up(robot):
    for _ in range(60):
        robot.apply(motion(z=-MAX_TRANSLATION))
    lowest = robot.observe()["ee_pose"][2]
    assert lowest > WORKSPACE_LOW[2] - 0.005
    for action in [motion(z=MAX_TRANSLATION)] * 3 + [motion()] * 5:
        robot.apply(action)
    assert robot.observe()["ee_pose"][2] > lowest + 3 * MAX_TRANSLATION - LEASH - 0.01


def test_joint_velocities_and_limits_are_kept_under_wild_actions(robot):
    rng = np.random.default_rng(0)
    low, high = robot.spec.action.low, robot.spec.action.high
    previous = robot.world.data.ctrl[:7].copy()
    for _ in range(60):
        robot.apply(rng.choice([low, high], axis=0).astype(np.float32) if rng.random() < 0.5 else high)
        command = robot.world.data.ctrl[:7].copy()
        assert np.all(np.abs(command - previous) <= panda.JOINT_VELOCITY / 20 + 1e-9)
        assert np.all((command >= panda.JOINT_LOW - 1e-9) & (command <= panda.JOINT_HIGH + 1e-9))
        previous = command


def test_joint_positions_are_reached():
    robot = PlayTableRobot(action_mode="joint_position")
    robot.connect()
    start = robot.reset(seed=0)["joint_position"]
    target = start + np.array([0.1, -0.05, 0.05, 0.05, 0.0, 0.1, -0.2])
    for _ in range(20):
        robot.apply(np.append(target, 1.0).astype(np.float32))
    np.testing.assert_allclose(robot.observe()["joint_position"], target, atol=0.01)
    robot.close()


def test_poses_agree_with_the_joints(robot):
    observation = robot.observe()
    position, rotation = ArmKinematics().forward(observation["joint_position"].astype(float))
    np.testing.assert_allclose(observation["ee_pose"][:3], position, atol=1e-5)
    np.testing.assert_allclose(observation["ee_rotation6d"], rotation[:, :2].T.ravel(), atol=1e-5)
    blocks = observation["block_position"].reshape(3, 3)
    np.testing.assert_allclose(observation["block_in_tool"].reshape(3, 3), blocks - position, atol=1e-5)


def test_the_tool_quaternion_never_jumps_while_the_hand_turns(robot):
    previous = robot.observe()["ee_pose"][3:]
    for sign in (1, -1, -1, 1):
        for _ in range(12):
            robot.apply(motion(yaw=0.1 * sign))
            now = robot.observe()["ee_pose"][3:]
            assert np.linalg.norm(now - previous) < 0.2
            previous = now


def test_a_start_goes_on_as_the_episode_did(robot):
    for _ in range(15):
        robot.apply(motion(x=0.005, y=0.005, z=-0.004))
    for _ in range(10):
        robot.apply(motion())
    halfway = robot.observe()
    rest = [motion(x=-0.004, z=0.004, yaw=0.03)] * 15
    for action in rest:
        robot.apply(action)
    expected = robot.observe()
    other = PlayTableRobot()
    other.connect()
    other.reset(seed=9, start=halfway)
    for action in rest:
        other.apply(action)
    reached = other.observe()
    for key in ("joint_position", "ee_pose", "furniture", "block_position", "block_axis"):
        np.testing.assert_allclose(reached[key], expected[key], atol=4e-3, err_msg=key)
    other.close()


def test_a_start_without_the_scene_says_what_is_missing(robot):
    with pytest.raises(SpecMismatch, match="block_position"):
        robot.reset(start={"joint_position": panda.HOME})


def test_starts_vary_and_cover_every_place(robot):
    heights, drawers, doors = [], set(), set()
    for seed in range(40):
        observation = robot.reset(seed=seed)
        heights.append(observation["block_position"].reshape(3, 3)[:, 2])
        drawers.add(bool(observation["furniture"][0] > 0.07))
        doors.add(bool(observation["furniture"][1] > 0.07))
    heights = np.concatenate(heights)
    assert drawers == doors == {True, False}
    for low, high in ((-0.05, -0.02), (0.015, 0.023), (0.024, 0.03), (0.045, 0.055)):  # drawer, desk, shelf, upright
        assert np.any((heights > low) & (heights < high)), (low, high)
    assert heights.min() > -0.06, "a block fell off the table at the start"


def test_images_repeat_bit_by_bit_and_carry_their_own_time():
    robot = PlayTableRobot(cameras=[{"name": name, "width": 40, "height": 30} for name in CAMERAS])
    robot.connect()
    first, again = robot.reset(seed=3), robot.reset(seed=3)
    for name in CAMERAS:
        assert first[f"{name}_rgb"].shape == (30, 40, 3)
        np.testing.assert_array_equal(first[f"{name}_rgb"], again[f"{name}_rgb"])
        assert first[f"time/{name}_rgb"] == first["time"]
        assert first[f"{name}_rgb"].std() > 10
    robot.close()


def test_depth_is_how_far_rays_go():
    """MuJoCo's own ray casts, times the cosine to the camera's axis, through pixels all over the image."""
    size = 32
    robot = PlayTableRobot(cameras=[{"name": "static", "width": size, "height": size, "depth": True}])
    robot.connect()
    depth = robot.reset(seed=3)["static_depth"]
    assert robot.spec.observation["static_depth"].is_depth
    assert (depth.shape, depth.dtype) == ((size, size, 1), np.uint16)
    model, data = robot.world.model, robot.world.data
    camera = data.camera("static")
    focal = size / 2 / np.tan(np.deg2rad(model.camera("static").fovy[0]) / 2)
    shown, errors = np.array([1, 1, 1, 0, 0, 0], np.uint8), []
    for row, column in itertools.product(range(2, size, 6), repeat=2):
        ray = np.array([(column + 0.5 - size / 2) / focal, -(row + 0.5 - size / 2) / focal, -1.0])
        far = mujoco.mj_ray(
            model, data, camera.xpos, camera.xmat.reshape(3, 3) @ ray / np.linalg.norm(ray), shown, 1, -1, np.zeros(1, np.int32)
        )
        errors.append(abs(1000 * far / np.linalg.norm(ray) - float(depth[row, column, 0])))
    robot.close()
    assert np.quantile(errors, 0.8) < 2.0, "millimetres; edges of things fall into one pixel or the next"


def test_an_unknown_action_mode_names_the_nearest():
    with pytest.raises(UnknownName, match="ee_delta"):
        PlayTableRobot(action_mode="ee_delt")


@pytest.mark.parametrize(
    ("camera", "error", "says"),
    [
        ({"name": "statc"}, UnknownName, "static"),
        ({"name": "static", "widht": 3}, UnknownName, "width"),
        ({"name": "static", "width": 100_000}, ConfigError, "100000"),
    ],
)
def test_a_wrong_camera_is_refused_before_connecting(camera, error, says):
    with pytest.raises(error, match=says):
        PlayTableRobot(cameras=[camera])
