"""Push-T: the robot contract, agreement with the human data, and the evaluation protocol."""

import numpy as np
import pytest

from robot_learning.core.spec import check_compatible
from robot_learning.sim.suites.pusht import GOAL_POSE, PushTRobot, PushTSuite, keypoints
from tests.contracts.robot import RobotContract

pytest.importorskip("pymunk", reason="the extra pusht is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


class TestPushT(RobotContract):
    def make_robot(self):
        return PushTRobot()


def test_the_goal_pose_solves_it():
    suite = PushTSuite()
    robot = suite.make_robot()
    robot.connect()
    trial = suite.trials(1, seed=0)[0]
    start = {"agent_pos": np.array([50.0, 50.0]), "block_pose": GOAL_POSE}
    observation = robot.reset(seed=0, start=start)
    assert suite.score(trial, observation, observation) == pytest.approx(1.0)
    elsewhere = robot.reset(seed=0, start=start | {"block_pose": np.array([120.0, 380.0, 2.0])})
    assert suite.score(trial, elsewhere, elsewhere) < 0.2


def test_keypoints_turn_with_the_block():
    quarter = keypoints(np.array([100.0, 200.0, np.pi / 2])).reshape(9, 2)
    flat = keypoints(np.array([0.0, 0.0, 0.0])).reshape(9, 2)
    np.testing.assert_allclose(quarter, np.stack([100.0 - flat[:, 1], 200.0 + flat[:, 0]], axis=1))


def test_keypoints_and_physics_agree_with_the_human_data(human_pusht):
    episode = human_pusht[3]
    pose, shown = episode.observation["block_pose"].astype(float), episode.observation["keypoint"]
    assert np.abs(np.stack([keypoints(one) for one in pose]) - shown).max() < 0.5
    robot = PushTRobot()
    robot.connect()
    start = {key: episode.observation[key][0] for key in ("agent_pos", "block_pose")}
    observation = robot.reset(seed=0, start=start)
    for action in episode.action[:10]:
        robot.apply(action)
    observation = robot.observe()
    moved = np.linalg.norm(observation["agent_pos"] - episode.observation["agent_pos"][10])
    assert moved < 5.0, "the same actions take the pusher to the same place"


def test_the_imported_data_fit_the_robot(human_pusht):
    check_compatible(PushTRobot().spec, human_pusht.spec, keys=("agent_pos", "block_pose", "keypoint"))
