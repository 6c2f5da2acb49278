"""The scripted operator: every task, the same way twice for the same seed, and play that needs no reset."""

import dataclasses

import numpy as np
import pytest

from robot_learning.core.errors import UnknownName
from robot_learning.core.types import End
from robot_learning.sim.demonstrations import feasible_start, scripted_attempt, scripted_episode
from robot_learning.sim.operator.blocks import YAW_RANGE
from robot_learning.sim.operator.motion import Style
from robot_learning.sim.operator.operators import PlayOperator, TaskOperator
from robot_learning.sim.operator.skills import WAYS
from robot_learning.sim.robot import PlayTableRobot
from robot_learning.sim.scene import Scene
from robot_learning.sim.tasks.table import TASKS
from tests.contracts.actor import ActorContract
from tests.sim.scenes import scene, turned


@pytest.fixture(scope="module")
def robot():
    robot = PlayTableRobot()
    robot.connect()
    yield robot
    robot.close()


class _OperatorContract(ActorContract):
    """Observations of a hand that moves over the desk, the same for every actor."""

    def spec(self):
        return PlayTableRobot().spec

    def observations(self):
        robot = PlayTableRobot()
        robot.connect()
        seen = [robot.reset(seed=0)]
        for _ in range(5):
            robot.apply(np.array([0.01, 0, 0, 0, 0, 0, 1], dtype=np.float32))
            seen.append(robot.observe())
        robot.close()
        return seen


class TestTaskOperator(_OperatorContract):
    def make_actor(self):
        return TaskOperator("push_green_button")


class TestPlayOperator(_OperatorContract):
    def make_actor(self):
        return PlayOperator()


def play(robot, seed, steps):
    """Return the operator, its actions and the observations of a stretch of play."""
    operator, observation = PlayOperator(), robot.reset(seed=seed)
    operator.reset(seed=seed)
    actions, seen = [], [observation]
    for _ in range(steps):
        action = operator.act(observation)
        assert not isinstance(action, End)
        robot.apply(action)
        observation = robot.observe()
        actions.append(action)
        seen.append(observation)
    return operator, np.stack(actions), seen


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_done_once(robot, name):
    episode = scripted_episode(name, 1, robot)
    episode.validate(robot.spec)
    assert episode.outcome.success is True
    assert episode.meta["task"] == name
    assert 15 < episode.steps < 200
    first, last = ({key: value[row] for key, value in episode.observation.items()} for row in (0, -1))
    assert TASKS[name].success(Scene.of(first), Scene.of(last))


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_95_of_100_attempts_succeed(robot, name):
    done = [scripted_attempt(robot, name, 10_000 + seed).outcome.success for seed in range(100)]
    assert sum(done) >= 95


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name in WAYS for way in range(len(WAYS[name])) if len(WAYS[name]) > 1]
)
def test_each_way_of_doing_a_task_works(robot, monkeypatch, name, way):
    monkeypatch.setitem(WAYS, name, (WAYS[name][way],))
    monkeypatch.setattr("robot_learning.sim.operator.operators.MAX_TRIES", 1)
    done = [scripted_attempt(robot, name, 20_000 + seed).outcome.success for seed in range(4)]
    assert sum(done) >= 3


def test_the_ways_are_drawn_at_random_and_not_by_the_scene(robot):
    observation, hands = robot.reset(seed=0), set()
    for seed in range(30):
        operator = TaskOperator("push_blue_button")
        operator.reset(seed=seed)
        robot.reset(start=observation)
        for _ in range(12):
            robot.apply(operator.act(robot.observe()))
        scene = Scene.of(robot.observe())
        hands.add((scene.width > 0.05, scene.yaw > 1.0))
    assert hands == {(False, False), (False, True), (True, False)}


def test_an_episode_depends_on_its_seed_alone(robot):
    one, other = scripted_episode("grasp_flat", 5, robot), scripted_episode("grasp_flat", 5)
    np.testing.assert_array_equal(one.action, other.action)
    for key, value in one.observation.items():
        np.testing.assert_array_equal(value, other.observation[key], err_msg=key)
    assert one.instruction == other.instruction
    assert scripted_episode("grasp_flat", 6, robot).steps != one.steps


def test_play_does_many_different_tasks(robot):
    operator, actions, seen = play(robot, 0, 900)
    assert operator.counts.total() >= 10
    assert len(operator.counts) >= 7
    assert operator.current_task in TASKS
    assert np.all(np.abs(actions) <= robot.spec.action.high + 1e-6)
    positions = np.stack([observation["block_position"] for observation in seen]).reshape(-1, 3, 3)
    assert positions[..., 2].min() > -0.07, "a block fell off the table"


def test_play_repeats_for_the_same_seed_only(robot):
    _, one, _ = play(robot, 3, 60)
    _, again, _ = play(robot, 3, 60)
    _, other, _ = play(robot, 4, 60)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_play_ends_after_a_chain_of_tasks(robot):
    operator, observation = PlayOperator(tasks=["push_red_button"], chain=2), robot.reset(seed=0)
    operator.reset(seed=0)
    lights = [observation["furniture"][5]]
    for _ in range(400):
        action = operator.act(observation)
        if isinstance(action, End):
            break
        robot.apply(action)
        observation = robot.observe()
        lights.append(observation["furniture"][5])
    assert isinstance(action, End)
    assert np.abs(np.diff(lights)).sum() == 2


def test_the_operator_gives_up_where_a_task_cannot_be_done(robot):
    robot.reset(seed=0)
    observation = robot.reset(seed=next(s for s in range(50) if Scene.of(robot.reset(seed=s)).drawer > 0.9))
    operator = TaskOperator("open_drawer")
    operator.reset(seed=0)
    end = operator.act(observation)
    assert isinstance(end, End)
    assert end.success is False


@pytest.mark.parametrize("name", ["rotate_left", "rotate_right"])
def test_a_turn_can_be_gripped_whatever_the_direction_of_the_block(name):
    style = dataclasses.replace(Style.draw(np.random.default_rng(0)), pause=0.0)
    for offset in (-1.0, 0.0, 1.0):
        for degrees in range(-90, 91, 2):
            first = scene(axis1=turned(degrees))
            skill = WAYS[name][0](first, np.random.default_rng(0), dataclasses.replace(style, offset=offset), 1)
            assert YAW_RANGE[0] <= next(skill).yaw <= YAW_RANGE[1]


def test_manners_differ_between_attempts(robot):
    first, _ = feasible_start(robot, "push_blue_button", np.random.default_rng(0))
    paths = []
    for seed in (0, 1):
        observation, operator = robot.reset(start=first), TaskOperator("push_blue_button")
        operator.reset(seed=seed)
        path = []
        for _ in range(15):
            robot.apply(operator.act(observation))
            observation = robot.observe()
            path.append(observation["ee_pose"][:3])
        paths.append(np.stack(path))
    assert np.abs(paths[0] - paths[1]).max() > 0.01


def test_unknown_tasks_name_the_nearest():
    for make in (TaskOperator, lambda name: PlayOperator(tasks=[name])):
        with pytest.raises(UnknownName, match="knock_object"):
            make("knock_objct")
