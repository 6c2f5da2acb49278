"""Furniture and physics: buttons toggle once per press, things end where they should, orientations do not jump."""

import numpy as np
import pytest

from robot_learning.core.errors import UnknownName
from robot_learning.sim import panda, playroom
from robot_learning.sim.robot import PlayTableRobot
from robot_learning.sim.world import World, block_axis_products

FLAT = np.array([[0.52, y, 0.021, 1.0, 0.0, 0.0, 0.0] for y in (-0.25, 0.0, 0.2)])


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


@pytest.fixture
def calm(world):
    world.clear(np.zeros(3))
    world.place(joints=panda.HOME, width=0.08, slides=np.zeros(2), blocks=FLAT)
    return world


def push(world, index, depression):
    """Hold one button down by a distance and run a control step."""
    address = world.model.joint(f"button_{playroom.BUTTON_NAMES[index]}").qposadr[0]
    velocity = world.model.joint(f"button_{playroom.BUTTON_NAMES[index]}").dofadr[0]
    world.data.qpos[address], world.data.qvel[velocity] = depression, 0.0
    world.press()


def test_one_press_is_one_toggle_however_long_it_lasts(calm):
    for depression in (0.002, 0.006, 0.012, 0.013, 0.007, 0.012):
        push(calm, 1, depression)
    assert calm.lights.tolist() == [0, 1, 0]


def test_the_next_press_counts_after_a_release(calm):
    for depression in (0.012, 0.0, 0.012):
        push(calm, 0, depression)
    assert calm.lights.tolist() == [0, 0, 0]
    push(calm, 0, 0.0)
    push(calm, 0, 0.012)
    assert calm.lights.tolist() == [1, 0, 0]


def test_one_button_held_does_not_stop_another_from_counting(calm):
    push(calm, 0, 0.012)
    push(calm, 2, 0.012)
    push(calm, 2, 0.0)
    push(calm, 2, 0.012)
    assert calm.lights.tolist() == [1, 0, 0]


def test_a_button_springs_back(calm):
    push(calm, 0, 0.012)
    for _ in range(10):
        calm.step(panda.HOME, 0.08)
    assert calm.buttons.max() < playroom.BUTTON_OFF


def test_a_block_pushed_off_the_desk_stays_on_the_floor(calm):
    poses = calm.blocks.copy()
    poses[0, :3] = (0.6, 0.7, 0.1)
    calm.place(joints=panda.HOME, width=0.08, slides=np.zeros(2), blocks=poses)
    calm.settle(3.0)
    assert -0.65 < calm.blocks[0, 2] < -0.5


def test_a_block_dropped_over_the_open_drawer_lands_in_it(calm):
    poses = calm.blocks.copy()
    poses[0] = (0.36, playroom.DRAWER_Y, 0.05, np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5))
    calm.place(joints=panda.HOME, width=0.08, slides=np.array([playroom.DRAWER_TRAVEL, 0.0]), blocks=poses)
    calm.settle(1.0)
    assert calm.blocks[0, 2] == pytest.approx(playroom.DRAWER_FLOOR + 0.02, abs=0.004)


def test_an_unknown_camera_names_the_nearest(calm):
    with pytest.raises(UnknownName, match="wrist"):
        calm.render("wist", 32, 32)


def test_nothing_is_rendered_until_asked_for():
    robot = PlayTableRobot()
    robot.connect()
    robot.reset(seed=0)
    robot.observe()
    assert not robot.world.has_rendered
    image = robot.render("static", 64, 48)
    assert image.shape == (48, 64, 3)
    assert image.dtype == np.uint8
    assert image.std() > 10
    robot.close()


def test_a_light_is_seen_to_shine(calm):
    dark = calm.render("static", 320, 240).astype(int)
    calm.lights[:] = 1.0
    lit = calm.render("static", 320, 240).astype(int)
    calm.lights[:] = 0.0
    assert np.abs(lit - dark).max() > 60


def test_axis_products_are_the_same_for_a_block_turned_by_half_a_turn():
    rng = np.random.default_rng(0)
    for _ in range(20):
        w, x, y, z = quaternion = rng.normal(size=4)
        quaternion /= np.linalg.norm(quaternion)
        w, x, y, z = quaternion
        turned = np.array([-z, y, -x, w])  # times a half turn about the block's own z axis
        np.testing.assert_allclose(block_axis_products(quaternion[None]), block_axis_products(turned[None]), atol=1e-12)
        np.testing.assert_allclose(block_axis_products(quaternion[None]), block_axis_products(-quaternion[None]))


def test_axis_products_by_hand():
    upright = np.array([[np.sqrt(0.5), 0.0, -np.sqrt(0.5), 0.0]])
    flat = np.array([[np.cos(np.pi / 8), 0.0, 0.0, np.sin(np.pi / 8)]])
    np.testing.assert_allclose(block_axis_products(upright), [0, 0, 1, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(block_axis_products(flat), [0.5, 0.5, 0, 0.5, 0, 0], atol=1e-12)
