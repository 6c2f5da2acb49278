import threading
import time

import numpy as np
import pytest

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.runtime.actors import ChunkedActor
from robot_learning.runtime.asynchronous import AsyncActor
from robot_learning.runtime.clock import SimClock
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import Guards
from tests.contracts.actor import ActorContract
from tests.runtime.point_mass import SPEC, PointMass
from tests.runtime.policies import GoToGoal, Scripted, observation

PATIENT = 30.0


class TestAsyncActor(ActorContract):
    def make_actor(self):
        return AsyncActor(GoToGoal(), execute=2, patience_s=PATIENT)

    def spec(self):
        return SPEC

    def observations(self):
        return [observation(step, (0.1 * step, 0.0)) for step in range(6)]

    def goal(self):
        return {"position": np.array([1.0, 1.0], np.float32)}


class Gated(Scripted):
    """Answers when the test lets it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.gate = threading.Semaphore(0)
        self.error = None

    def act(self, window, goal):
        if threading.current_thread() is not threading.main_thread():  # the warm-up may pass
            self.gate.acquire()
        if self.error is not None:
            raise self.error
        return super().act(window, goal)


class Driver:
    """Plays control steps one by one and decides when a chunk arrives."""

    def __init__(self, **kwargs):
        self.policy = Gated(horizon=kwargs.pop("horizon", 4), n_obs=kwargs.pop("n_obs", 1))
        self.actor = AsyncActor(self.policy, **kwargs)
        self.start()

    def start(self):
        self.actor.reset(seed=0)
        self.policy.gate.release()  # the first chunk is waited for

    def act(self, step):
        return round(float(self.actor.act(observation(step))[0]), 4)

    def arrive(self):
        """Let the chunk under way arrive."""
        assert self.actor.thinking
        self.policy.gate.release()
        while self.actor.thinking:
            time.sleep(0.001)

    def close(self):
        for _ in range(10):
            self.policy.gate.release()
        self.actor.close()


@pytest.fixture
def drive():
    drivers = []

    def make(**kwargs):
        drivers.append(Driver(**kwargs))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.close()


def test_the_past_part_of_a_chunk_is_discarded(drive):
    driver = drive(execute=1, horizon=6)
    assert [driver.act(0), driver.act(1), driver.act(2)] == [0.0, 0.01, 0.02]  # chunk 1 was asked for at step 1
    driver.arrive()
    assert driver.act(3) == 0.12  # row 2 of chunk 1: rows 0 and 1 were for steps 1 and 2
    assert driver.act(4) == 0.13
    assert driver.actor.held == 0


def test_a_dry_buffer_holds_and_is_counted(drive):
    driver = drive(execute=2, horizon=3, relative=("x",))
    assert [driver.act(step) for step in range(3)] == [0.0, 0.01, 0.02]
    action = driver.actor.act(observation(3))
    assert action.tolist() == pytest.approx([0.0, 0.02]), "x is a motion and stops, y keeps its last value"
    driver.act(4)
    assert driver.actor.held == 2
    driver.arrive()  # asked for at step 1 or 2, horizon 3: over at step 5
    driver.act(5)
    assert driver.actor.held == 3
    driver.arrive()  # asked for at step 5
    assert driver.act(6) == 0.21
    assert driver.actor.held == 3


def test_a_skipped_period_skips_its_row(drive):
    driver = drive(execute=4, horizon=6)
    assert driver.act(0) == 0.0
    assert driver.act(3) == 0.03  # an overrun: steps 1 and 2 never happened


def test_asks_again_after_execute_steps(drive):
    driver = drive(execute=3, horizon=6)
    driver.act(0)
    driver.act(1)
    driver.act(2)
    assert not driver.actor.thinking
    driver.act(3)
    assert driver.actor.thinking


def test_asks_earlier_when_inference_is_slow(drive):
    driver = drive(execute=6, horizon=6)
    driver.act(0)
    driver.actor._seconds.append(0.12)  # 3 periods of 0.05 s
    driver.act(1)
    driver.act(2)
    assert not driver.actor.thinking
    driver.act(3)  # 3 rows left
    assert driver.actor.thinking


def test_errors_of_the_policy_surface_in_the_loop(drive):
    driver = drive(execute=1)
    driver.act(0)
    driver.policy.error = ValueError("network exploded")
    driver.act(1)
    driver.arrive()
    with pytest.raises(ValueError, match="network exploded"):
        driver.act(2)
    driver.policy.error = None
    driver.start()
    assert driver.act(0) == 0.0, "the next episode is a new chance"


def test_an_answer_of_the_last_episode_is_dropped(drive):
    driver = drive(execute=1, horizon=6)
    driver.act(0)
    driver.act(1)
    assert driver.actor.thinking
    driver.policy.gate.release()
    driver.start()
    assert [driver.act(0), driver.act(1)] == [0.0, 0.01]
    assert driver.actor.held == 0


def test_close_ends_the_thread_and_reset_starts_another():
    before = threading.active_count()
    actor = AsyncActor(Scripted())
    actor.close()
    with actor:
        actor.reset()
        actor.act(observation(0))
        assert threading.active_count() == before + 1
        actor.close()
        assert threading.active_count() == before
        actor.reset()
        actor.act(observation(0))
    assert threading.active_count() == before
    with pytest.raises(ConfigError, match=r"expected reset\(\) before act\(\)"):
        actor.act(observation(1))


def drive_point_mass(actor):
    robot = PointMass()
    robot.connect()
    positions = []

    class Watcher:
        def on_reset(self, observation, *, goal, seed):
            positions.append(observation["position"])

        def on_step(self, step):
            positions.append(step.next_observation["position"])

        def on_end(self, outcome):
            pass

    goal = {"position": np.array([0.3, 0.4], np.float32)}
    run_episode(robot, actor, Guards(), SimClock(SPEC.dt), max_steps=40, seed=1, goal=goal, observers=[Watcher()])
    return np.array(positions)


@pytest.mark.parametrize("settings", [{"execute": 1}, {"execute": 4}, {"execute": 3}, {"execute": 1, "ensemble": 0.1}])
def test_with_patience_it_equals_the_waiting_actor(settings):
    with AsyncActor(GoToGoal(), patience_s=PATIENT, **settings) as actor:
        beside = drive_point_mass(actor)
        assert actor.held == 0
        assert len(actor.inference_s) == -(-40 // settings["execute"])
    np.testing.assert_array_equal(beside, drive_point_mass(ChunkedActor(GoToGoal(), **settings)))
    np.testing.assert_allclose(beside[-1], [0.3, 0.4], atol=0.01)


def test_the_first_chunk_is_ready_before_the_clock_starts():
    policy = Scripted()
    with AsyncActor(policy) as actor:
        actor.reset()
        actor.on_reset(observation(0), goal=None, seed=None)
        assert policy.calls == 1
        assert actor.act(observation(0)).tolist() == [0.0, 0.0]
        assert actor.held == 0


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="execute"):
        AsyncActor(Scripted(horizon=4), execute=5)
    with pytest.raises(ConfigError, match="a chunk of one action is in the past when it arrives"):
        AsyncActor(Scripted(horizon=1))
    with pytest.raises(UnknownName, match="unknown element"):
        AsyncActor(Scripted(), relative=("z",))
    with pytest.raises(ConfigError, match="element: expected 0 to 1, got 5"):
        AsyncActor(Scripted(), relative=(5,))


def test_a_chunk_of_one_action_works_with_patience():
    with AsyncActor(GoToGoal(horizon=1), patience_s=PATIENT) as actor:
        beside = drive_point_mass(actor)
    np.testing.assert_array_equal(beside, drive_point_mass(ChunkedActor(GoToGoal(horizon=1))))
