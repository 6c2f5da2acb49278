"""The Gymnasium environment passes Gymnasium's own checks."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robot_learning.core.errors import UnknownName
from robot_learning.core.types import End
from robot_learning.sim.gym import ENV_ID
from robot_learning.sim.operator.operators import TaskOperator
from robot_learning.sim.robot import Camera


@pytest.mark.parametrize(
    "settings",
    [{}, {"action_mode": "joint_position"}, {"task": "open_drawer", "cameras": (Camera("static", 32, 24),)}],
)
def test_gymnasiums_checker_is_content(settings):
    environment = gymnasium.make(ENV_ID, render_mode="rgb_array", render_size=(64, 48), **settings)
    check_env(environment.unwrapped)
    environment.close()


def test_the_spelling_with_a_module_imports_it():
    environment = gymnasium.make(f"robot_learning.sim.gym:{ENV_ID}")
    assert environment.unwrapped.render() is None
    environment.close()


def test_doing_the_task_is_rewarded_and_ends_the_episode():
    environment = gymnasium.make(ENV_ID, task="push_green_button")
    observation, info = environment.reset(seed=2)
    assert info == {"success": False}
    operator = TaskOperator("push_green_button")
    operator.reset(seed=0)
    high = environment.unwrapped.robot.spec.action.high
    rewards, terminated = [], False
    while not terminated:
        action = operator.act(observation)
        assert not isinstance(action, End)
        observation, reward, terminated, truncated, info = environment.step((action / high).astype(np.float32))
        np.testing.assert_allclose(info["applied"], np.clip(action, -high, high), atol=1e-6)
        rewards.append(reward)
        assert not truncated
    assert sum(rewards) == 1.0
    assert info["success"]
    environment.close()


def test_a_start_can_be_restored():
    environment = gymnasium.make(ENV_ID)
    first, _ = environment.reset(seed=0)
    environment.reset(seed=1)
    again, _ = environment.reset(options={"start": first})
    np.testing.assert_allclose(again["block_position"], first["block_position"], atol=1e-3)
    environment.close()


def test_vectorised():
    environments = gymnasium.make_vec(ENV_ID, num_envs=2, vectorization_mode="sync")
    observations, _ = environments.reset(seed=0)
    assert observations["ee_pose"].shape == (2, 7)
    assert not np.array_equal(observations["ee_pose"][0], observations["ee_pose"][1])
    environments.close()


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(UnknownName, match="open_drawer"):
        gymnasium.make(ENV_ID, task="open_draw")
