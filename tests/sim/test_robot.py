"""The play table's robot keeps the Robot contract, and its limits."""

import numpy as np
import pytest

from robot_learning.core.errors import UnknownName
from robot_learning.sim.robot import Camera, PlayTableRobot
from tests.contracts.robot import RobotContract


class TestToolMotions(RobotContract):
    def make_robot(self):
        return PlayTableRobot()


class TestJointPositions(RobotContract):
    def make_robot(self):
        return PlayTableRobot(action_mode="joint_position")


class TestWithCameras(RobotContract):
    def make_robot(self):
        return PlayTableRobot(cameras=[Camera("static", 48, 32), Camera("wrist", 32, 32)])


def test_an_unknown_action_mode_names_the_nearest():
    with pytest.raises(UnknownName, match="ee_delta"):
        PlayTableRobot(action_mode="ee_delt")
