"""Forward and inverse kinematics against the Panda's published Denavit-Hartenberg table, multiplied out here."""

import numpy as np
import pytest

from robot_learning.sim import panda
from robot_learning.sim.kinematics import ArmKinematics, downward, rotation_matrix, rotation_vector
from robot_learning.sim.robot import WORKSPACE_HIGH, WORKSPACE_LOW
from robot_learning.sim.world import World

# a [m], d [m], alpha [rad] per joint, modified (Craig) convention; then the flange.
DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
)
FLANGE = 0.107
HAND_TURN = -np.pi / 4


def craig(a, d, alpha, theta):
    ca, sa, ct, st = np.cos(alpha), np.sin(alpha), np.cos(theta), np.sin(theta)
    return np.array(
        [
            [ct, -st, 0, a],
            [st * ca, ct * ca, -sa, -d * sa],
            [st * sa, ct * sa, ca, d * ca],
            [0, 0, 0, 1],
        ]
    )


def closed_form(joints):
    pose = np.eye(4)
    for (a, d, alpha), theta in zip(DH, joints, strict=True):
        pose = pose @ craig(a, d, alpha, theta)
    return pose @ craig(0, FLANGE + panda.FLANGE_TO_TIP, 0, HAND_TURN)


def random_joints(count, seed=0):
    return np.random.default_rng(seed).uniform(panda.JOINT_LOW, panda.JOINT_HIGH, (count, 7))


def test_forward_kinematics_equals_the_published_table():
    kinematics = ArmKinematics()
    for joints in random_joints(50):
        position, rotation = kinematics.forward(joints)
        expected = closed_form(joints)
        np.testing.assert_allclose(position, expected[:3, 3], atol=1e-9)
        np.testing.assert_allclose(rotation, expected[:3, :3], atol=1e-7)


def test_the_arm_in_the_room_is_the_arm_of_the_kinematics():
    world, kinematics = World(), ArmKinematics()
    blocks = world.blocks.copy()
    for joints in random_joints(5, seed=1):
        world.place(joints=joints, width=0.04, slides=np.zeros(2), blocks=blocks)
        np.testing.assert_allclose(world.data.site("tool").xpos, kinematics.forward(joints)[0], atol=1e-9)


def test_reach_puts_the_tool_anywhere_over_the_desk():
    kinematics = ArmKinematics()
    for x in (0.46, 0.55, 0.66):
        for y in (-0.25, 0.0, 0.3):
            for z in (0.02, 0.2):
                joints = kinematics.reach(np.array([x, y, z]), downward(0.4))
                position, rotation = kinematics.forward(joints)
                np.testing.assert_allclose(position, (x, y, z), atol=5e-4)
                np.testing.assert_allclose(rotation, downward(0.4), atol=3e-3)


def test_solving_keeps_joint_limits_when_the_target_is_out_of_reach():
    kinematics = ArmKinematics()
    joints = kinematics.reach(np.array([3.0, -2.0, 2.0]), np.eye(3))
    assert np.all(joints >= panda.JOINT_LOW)
    assert np.all(joints <= panda.JOINT_HIGH)
    assert np.isfinite(joints).all()


def test_solving_does_not_write_into_its_start():
    kinematics, start = ArmKinematics(), panda.HOME.copy()
    kinematics.solve(start, np.array([0.5, 0.1, 0.1]), downward(0.0))
    np.testing.assert_array_equal(start, panda.HOME)


def test_posture_acts_in_the_null_space_only():
    kinematics = ArmKinematics()
    off = panda.HOME + np.array([0.5, 0.0, -0.5, 0.0, 0.4, 0.0, 0.0])
    position, rotation = kinematics.forward(off)
    joints = kinematics.solve(off, position, rotation, iterations=40)
    assert np.linalg.norm(joints - panda.HOME) < np.linalg.norm(off - panda.HOME)
    np.testing.assert_allclose(kinematics.forward(joints)[0], position, atol=1e-4)


@pytest.mark.parametrize("vector", [(0, 0, 0), (1e-7, 0, 0), (0.3, -0.2, 0.9), (0, 3.1, 0)])
def test_rotation_vectors_survive_the_matrix(vector):
    matrix = rotation_matrix(np.array(vector, dtype=float))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation_vector(matrix), vector, atol=1e-9)


def test_a_quarter_turn_about_the_vertical():
    np.testing.assert_allclose(rotation_matrix(np.array([0, 0, np.pi / 2])) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_the_workspace_lies_within_reach_of_the_stretched_arm():
    farthest = np.hypot(WORKSPACE_HIGH[0], max(-WORKSPACE_LOW[1], WORKSPACE_HIGH[1]))
    assert farthest < 0.316 + 0.384 + 0.088 + FLANGE
