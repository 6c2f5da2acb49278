"""Reading a scene from an observation, and what its words mean."""

import numpy as np
import pytest

from robot_learning.sim import playroom
from robot_learning.sim.robot import PlayTableRobot
from robot_learning.sim.scene import Scene, half_turn
from tests.sim.scenes import IN_DRAWER, ON_SHELF, UPRIGHT, scene, turned


def test_a_block_at_rest_on_the_desk():
    now = scene()
    assert now.on_desk(0)
    assert now.flat(0)
    assert not now.upright(0)
    assert not now.lifted(0)
    assert now.bottoms == pytest.approx([0, 0, 0], abs=1e-9)


def test_upright_and_lifted():
    now = scene(axis1=UPRIGHT, block1=(0.52, 0.0, 0.05), block2=(0.52, 0.18, 0.08))
    assert now.upright(1)
    assert now.on_desk(1)
    assert not now.flat(1)
    assert now.lifted(2)
    assert not now.on_desk(2)


def test_leaning_is_neither_flat_nor_upright():
    now = scene(axis0=(np.sqrt(0.5), 0.0, np.sqrt(0.5)))
    assert not now.flat(0)
    assert not now.upright(0)


def test_in_the_drawer_only_where_the_drawer_is():
    assert scene(drawer=1.0, block0=IN_DRAWER).in_drawer(0)
    assert not scene(drawer=1.0).in_drawer(0)
    assert not scene(drawer=1.0, block0=(IN_DRAWER[0], 0.3, IN_DRAWER[2])).in_drawer(0)
    closed = (IN_DRAWER[0] + playroom.DRAWER_TRAVEL, *IN_DRAWER[1:])
    assert scene(drawer=0.0, block0=closed).in_drawer(0)


def test_on_the_shelf():
    assert scene(block0=ON_SHELF).on_shelf(0)
    assert not scene(block0=(*ON_SHELF[:2], 0.12)).on_shelf(0)
    assert not scene().on_shelf(0)


def test_held_needs_closed_fingers_near_a_block():
    tool = np.array([0.52, 0.0, 0.02])
    assert scene(tool=tool, width=0.04).held() == 1
    assert scene(tool=tool, width=0.08).held() is None
    assert scene(tool=tool, width=0.0).held() is None
    assert scene(width=0.04).held() is None


@pytest.mark.parametrize(("degrees", "same_as"), [(0, 0), (80, 80), (100, -80), (190, 10), (-100, 80)])
def test_an_axis_has_no_direction(degrees, same_as):
    assert scene(axis0=turned(degrees)).angle(0) == pytest.approx(np.radians(same_as))
    assert half_turn(np.radians(degrees)) == pytest.approx(np.radians(same_as))


def test_gap_is_the_distance_to_the_nearest_block():
    assert scene().gap(0) == pytest.approx(0.20)
    assert scene().gap(2) == pytest.approx(0.18)


def test_a_scene_reads_back_what_the_robot_shows():
    robot = PlayTableRobot()
    robot.connect()
    observation = robot.reset(seed=4)
    now = Scene.of(observation)
    np.testing.assert_allclose(now.tool, robot.world.data.site("tool").xpos, atol=2e-3)
    assert now.width == pytest.approx(0.08, abs=1e-3)
    assert 0 <= now.drawer <= 1.01
    for block, name in enumerate(playroom.BLOCK_NAMES):
        body = robot.world.data.body(f"block_{name}")
        np.testing.assert_allclose(now.positions[block], body.xpos, atol=1e-3)
        np.testing.assert_allclose(np.abs(now.axes[block] @ body.xmat.reshape(3, 3)[:, 0]), 1.0, atol=1e-3)
    robot.close()
