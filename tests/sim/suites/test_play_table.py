"""The play table's suite: trials that can be done, judged on the block that the goal shows."""

import dataclasses

import numpy as np
import pytest

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.core.protocols import TaskSuite
from robot_learning.core.types import End
from robot_learning.sim.demonstrations import scripted_episode
from robot_learning.sim.operator.operators import TaskOperator
from robot_learning.sim.robot import PlayTableRobot
from robot_learning.sim.suites.play_table import PlayTableSuite
from robot_learning.sim.tasks.table import TASKS

FEW = ("push_red_button", "grasp_flat", "close_drawer")


@pytest.fixture(scope="module")
def episodes():
    return [scripted_episode(name, seed) for name in FEW for seed in range(3)]


@pytest.fixture(scope="module")
def suite(episodes):
    return PlayTableSuite(episodes, tasks=FEW)


def test_it_is_a_task_suite_of_all_18():
    suite = PlayTableSuite()
    assert isinstance(suite, TaskSuite)
    assert suite.name == "play_table"
    assert suite.tasks == tuple(TASKS)


def test_goals_are_the_last_moments_of_the_episodes(suite, episodes):
    trials = suite.trials(2, seed=0)
    assert [trial.task for trial in trials] == [name for name in FEW for _ in range(2)]
    for trial in trials:
        matching = [e for e in episodes if np.array_equal(e.observation["ee_pose"][-1], trial.goal["ee_pose"])]
        assert len(matching) == 1
        assert matching[0].meta["task"] == trial.task
        np.testing.assert_array_equal(trial.start["block_position"], matching[0].observation["block_position"][0])
        assert trial.instruction == matching[0].instruction
        assert trial.max_steps >= 2 * matching[0].steps


def test_same_seed_same_trials(suite):
    def fingerprint(seed):
        return [(trial.task, trial.seed, trial.goal["ee_pose"].tolist()) for trial in suite.trials(2, seed=seed)]

    assert fingerprint(0) == fingerprint(0)
    assert fingerprint(0) != fingerprint(1)


def test_more_trials_keep_the_first_ones(suite):
    few = [trial.seed for trial in suite.trials(1, seed=3)]
    assert [trial.seed for trial in suite.trials(3, seed=3)][::3] == few


def test_the_goal_scores_one_and_the_start_zero(suite):
    for trial in suite.trials(3, seed=0):
        assert suite.score(trial, trial.start, trial.start) == 0.0
        assert suite.score(trial, trial.start, trial.goal) == 1.0


def test_doing_it_to_another_block_does_not_count(suite):
    trial = next(trial for trial in suite.trials(1, seed=0) if trial.task == "grasp_flat")
    heights = trial.goal["block_position"].reshape(3, 3)[:, 2]
    lifted = int(np.argmax(heights))
    wrong = {key: np.array(value) for key, value in trial.start.items()}
    for block in range(3):
        if block != lifted:
            wrong["block_position"][3 * block + 2] += 0.1
    assert suite.score(trial, trial.start, wrong) == 0.0


def test_without_goals_the_operator_makes_them_and_can_repeat_them():
    suite = PlayTableSuite(tasks=["push_blue_button"], cameras=[{"name": "static", "width": 32, "height": 24}])
    (trial,) = suite.trials(1, seed=1)
    assert trial.goal["static_rgb"].shape == (24, 32, 3)
    robot, operator = suite.make_robot(), TaskOperator(trial.task)
    robot.connect()
    first = observation = robot.reset(seed=trial.seed, start=trial.start)
    operator.reset(seed=trial.seed)
    best = 0.0
    for _ in range(trial.max_steps):
        action = operator.act(observation)
        if isinstance(action, End):
            break
        robot.apply(action)
        observation = robot.observe()
        best = max(best, suite.score(trial, first, observation))
    robot.close()
    assert best == 1.0


def test_too_few_goals_are_named(suite):
    with pytest.raises(ConfigError, match="grasp_flat"):
        suite.trials(4, seed=0)


def test_goals_must_be_single_task_episodes(episodes):
    with pytest.raises(ConfigError, match="episode 0"):
        PlayTableSuite([dataclasses.replace(episodes[0], meta={})])
    with pytest.raises(UnknownName, match="push_red_button"):
        PlayTableSuite([dataclasses.replace(episodes[0], meta={"task": "push_red_buton"})])


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(UnknownName, match="sweep_left"):
        PlayTableSuite(tasks=["sweep_lef"])


def test_perturbed_starts_are_up_to_so_far_away_and_touch_nothing(episodes):
    robot = PlayTableRobot()
    robot.connect()
    suite = PlayTableSuite(episodes, tasks=FEW, perturb=0.4)
    plain = PlayTableSuite(episodes, tasks=FEW).trials(3, seed=0)
    distances = []
    for trial, near in zip(suite.trials(3, seed=0), plain, strict=True):
        np.testing.assert_array_equal(trial.goal["ee_pose"], near.goal["ee_pose"])
        first = robot.reset(start=trial.start)
        distances.append(np.linalg.norm(first["ee_pose"][:3] - near.start["ee_pose"][:3]))
        np.testing.assert_array_equal(first["block_position"], near.start["block_position"])
        for _ in range(10):
            robot.apply(np.array([0, 0, 0, 0, 0, 0, 1], np.float32))
        now = robot.observe()
        np.testing.assert_allclose(now["ee_pose"][:3], first["ee_pose"][:3], atol=5e-3)
        np.testing.assert_allclose(now["furniture"], first["furniture"], atol=1e-3)
        np.testing.assert_allclose(now["block_position"], first["block_position"], atol=2e-3)
    robot.close()
    assert max(distances) <= 0.405
    assert max(distances) > 0.2
    assert len({round(float(distance), 6) for distance in distances}) == len(distances)


def test_a_negative_perturbation_is_refused():
    with pytest.raises(ConfigError, match="0 or more metres"):
        PlayTableSuite(perturb=-0.1)


def test_some_wordings_can_be_held_out():
    """The trials stay the same; only what is said about them differs."""
    task = TASKS["open_drawer"]
    seen, unseen = (PlayTableSuite(tasks=["open_drawer"], wordings=chosen).trials(3, seed=0) for chosen in ([0, 1, 2, 3], [4]))
    assert {trial.instruction for trial in seen} <= set(task.instructions[:4])
    assert [trial.instruction for trial in unseen] == [task.instructions[4]] * 3
    for one, other in zip(seen, unseen, strict=True):
        np.testing.assert_array_equal(one.goal["furniture"], other.goal["furniture"])
        assert other.told["instruction"] == task.instructions[4]
    for wrong in ([], [5], [-1]):
        with pytest.raises(ConfigError, match="wordings: expected some of 0 to 4"):
            PlayTableSuite(wordings=wrong)
