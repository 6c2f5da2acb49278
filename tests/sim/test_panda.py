"""The compiled arm has the published limits, torques and masses."""

import mujoco
import numpy as np
import pytest

from robot_learning.sim import panda
from robot_learning.sim.world import World

MASSES = (4.970684, 0.646926, 3.228604, 3.587895, 1.225946, 1.666555, 0.735522)


@pytest.fixture(scope="module")
def model():
    return World().model


def test_joint_and_torque_limits(model):
    for index, name in enumerate(panda.JOINT_NAMES):
        assert model.joint(name).range == pytest.approx([panda.JOINT_LOW[index], panda.JOINT_HIGH[index]])
        torque = panda.JOINT_TORQUE[index]
        assert model.actuator(name).forcerange == pytest.approx([-torque, torque])


def test_link_masses_and_gripper_opening(model):
    for index, mass in enumerate(MASSES):
        assert model.body(f"link{index + 1}").mass[0] == pytest.approx(mass)
    assert sum(model.joint(name).range[1] for name in panda.FINGER_NAMES) == pytest.approx(panda.GRIPPER_MAX_WIDTH)


def test_home_is_within_limits_and_points_down():
    assert np.all((panda.JOINT_LOW < panda.HOME) & (panda.HOME < panda.JOINT_HIGH))


def test_gravity_is_compensated_so_that_the_arm_holds_still(model):
    world = World()
    blocks = world.blocks.copy()
    world.place(joints=panda.HOME, width=0.04, slides=np.zeros(2), blocks=blocks)
    world.settle(0.5)
    np.testing.assert_allclose(world.data.qpos[world.arm], panda.HOME, atol=2e-3)


def test_fingers_do_not_meet_each_other_but_do_meet_blocks_and_furniture(model):
    def collide(first, second):
        one, two = model.geom(first), model.geom(second)
        return bool(one.contype[0] & two.conaffinity[0] or two.contype[0] & one.conaffinity[0])

    names = {model.geom(index).name: index for index in range(model.ngeom)}
    finger = next(i for i in range(model.ngeom) if model.body(model.geom(i).bodyid[0]).name == "finger_left")
    block = next(i for i in range(model.ngeom) if model.body(model.geom(i).bodyid[0]).name == "block_orange")
    other = next(i for i in range(model.ngeom) if model.body(model.geom(i).bodyid[0]).name == "finger_right")
    assert collide(finger, block)
    assert collide(finger, names["desk"])
    assert collide(block, names["desk"])
    assert not collide(finger, other)


def test_the_arm_alone_compiles_to_seven_joints():
    assert mujoco.MjModel.from_xml_string(panda.arm_only_xml()).nq == 7
