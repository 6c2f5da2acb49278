import numpy as np
import pytest

from robot_learning.core.errors import ConfigError, NotConnected, SafetyStop, SpecMismatch, Stale
from robot_learning.core.types import End
from robot_learning.runtime.actors import ChunkedActor, HoldActor, RandomActor
from robot_learning.runtime.clock import SimClock, WallClock
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import Guards, Limits, standard_guards
from tests.runtime.fake_time import FakeTime
from tests.runtime.point_mass import SPEC, PointMass
from tests.runtime.policies import GoToGoal


class Watcher:
    def __init__(self):
        self.starts, self.steps, self.outcomes = [], [], []
        self.stops_at_end = None
        self.robot = None

    def on_reset(self, observation, *, goal, seed):
        self.starts.append((observation, goal, seed))

    def on_step(self, step):
        self.steps.append(step)

    def on_end(self, outcome):
        self.outcomes.append(outcome)
        self.stops_at_end = self.robot.stops if self.robot else None


class Constant:
    """Asks for one action, or whatever a function of the step says."""

    def __init__(self, choose):
        self.choose = choose
        self.source = "none"
        self.step = 0

    def reset(self, *, seed=None, goal=None):
        self.step = 0

    def act(self, observation):
        action = self.choose(self.step)
        self.step += 1
        self.source = f"source {self.step}"
        return action


@pytest.fixture
def robot():
    robot = PointMass()
    robot.connect()
    return robot


def play(robot, choose, **kwargs):
    watcher = Watcher()
    watcher.robot = robot
    settings = {"guard": standard_guards(SPEC), "clock": SimClock(SPEC.dt), "max_steps": 5, **kwargs}
    try:
        outcome = run_episode(robot, Constant(choose), observers=[watcher], **settings)
    except BaseException as error:
        outcome = error
    return outcome, watcher


def half(step):
    return np.full(2, 0.5, np.float32)


def test_runs_until_max_steps_and_stops_the_robot(robot):
    outcome, watcher = play(robot, half, seed=3, goal={"position": np.ones(2)})
    assert (outcome.success, outcome.reason, outcome.steps) == (None, "max_steps", 5)
    assert outcome.duration_s == pytest.approx(5 * SPEC.dt)
    assert robot.stops == 1
    assert watcher.outcomes == [outcome]
    assert watcher.stops_at_end == 1, "the robot stands before anybody writes files"
    (start, goal, seed), *more = watcher.starts
    assert not more
    assert seed == 3
    assert list(goal) == ["position"]
    assert [step.index for step in watcher.steps] == [0, 1, 2, 3, 4]
    assert watcher.steps[0].observation is start
    for step, after in zip(watcher.steps[:-1], watcher.steps[1:], strict=True):
        assert step.next_observation is after.observation


def test_sources_are_taken_after_acting(robot):
    _, watcher = play(robot, half)
    assert [step.source for step in watcher.steps] == [f"source {n}" for n in range(1, 6)]


def test_interventions_are_counted_and_both_actions_kept(robot):
    outcome, watcher = play(robot, lambda step: np.array([1.5 if step < 2 else 0.5, 0.0], np.float32))
    assert outcome.interventions == 2
    assert watcher.steps[0].requested[0] == 1.5
    assert watcher.steps[0].applied[0] == 1.0


def test_a_guard_cannot_change_what_was_requested(robot):
    class InPlace:
        def reset(self):
            pass

        def check(self, observation, action):
            action[:] = 0.0
            return action

    outcome, watcher = play(robot, half, guard=InPlace())
    assert outcome.interventions == 5
    np.testing.assert_array_equal(watcher.steps[0].requested, [0.5, 0.5])


def test_an_actors_buffer_may_be_reused(robot):
    buffer = np.zeros(2, np.float32)

    def choose(step):
        buffer[:] = step / 10
        return buffer

    _, watcher = play(robot, choose)
    assert [float(step.requested[0]) for step in watcher.steps] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_the_actor_may_end_it(robot):
    outcome, _ = play(robot, lambda step: half(step) if step < 2 else End("enough", success=True))
    assert (outcome.success, outcome.reason, outcome.steps) == (True, "enough", 2)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (lambda _: True, (True, "done", 1)),
        (lambda _: np.bool_(True), (True, "done", 1)),
        (lambda _: False, (False, "max_steps", 5)),
        (lambda _: np.bool_(False), (False, "max_steps", 5)),
        (lambda _: None, (None, "max_steps", 5)),
        (lambda _: End("dropped", success=False), (False, "dropped", 1)),
        (lambda _: End("stopped by hand"), (None, "stopped by hand", 1)),
    ],
)
def test_the_judge_decides(robot, verdict, expected):
    outcome, _ = play(robot, half, done=verdict)
    assert (outcome.success, outcome.reason, outcome.steps) == expected


def test_a_safety_stop_is_an_outcome(robot):
    outcome, watcher = play(robot, lambda step: half(step) if step < 3 else np.full(2, np.nan, np.float32))
    assert outcome.success is False
    assert outcome.reason.startswith("safety: action [0] (x): expected a finite value, got nan")
    assert outcome.steps == 3
    assert watcher.outcomes == [outcome]
    assert robot.stops == 1


def test_the_robots_own_refusal_is_a_safety_stop(robot):
    outcome, _ = play(robot, lambda step: np.full(2, np.inf, np.float32), guard=Guards())
    assert outcome.reason.startswith("safety: point mass action")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("broken"), Stale("camera"), SystemExit(3)])
def test_other_exceptions_are_told_and_raised_again(robot, error):
    def choose(step):
        if step == 2:
            raise error
        return half(step)

    raised, watcher = play(robot, choose)
    assert raised is error
    assert robot.stops == 1
    (outcome,) = watcher.outcomes
    assert (outcome.success, outcome.steps) == (None, 2)
    expected = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
    assert outcome.reason == expected


def test_a_robot_that_fails_to_start_is_stopped_too():
    robot = PointMass()
    error, watcher = play(robot, half)
    assert isinstance(error, NotConnected)
    assert robot.stops == 1
    assert watcher.outcomes == [], "who never saw a start hears no end"


def test_a_robot_that_goes_away_is_stopped_too(robot):
    def choose(step):
        if step == 2:
            robot.close()
        return half(step)

    error, watcher = play(robot, choose)
    assert isinstance(error, NotConnected)
    assert robot.stops == 1
    assert watcher.outcomes[0].reason.startswith("NotConnected: ")


def test_every_observer_hears_the_end_even_when_one_fails(robot):
    class Failing(Watcher):
        def on_end(self, outcome):
            super().on_end(outcome)
            raise OSError("disk full")

    watchers = [Watcher(), Failing(), Watcher()]
    actor = Constant(half)
    with pytest.raises(OSError, match="disk full"):
        run_episode(robot, actor, Guards(), SimClock(SPEC.dt), max_steps=3, observers=watchers)
    assert [len(watcher.outcomes) for watcher in watchers] == [1, 1, 1]
    assert robot.stops == 1


def test_an_observer_that_fails_in_a_step_stops_the_robot(robot):
    class Failing(Watcher):
        def on_step(self, step):
            raise OSError("disk full")

    watchers = [Watcher(), Failing()]
    with pytest.raises(OSError, match="disk full"):
        run_episode(robot, Constant(half), Guards(), SimClock(SPEC.dt), max_steps=3, observers=watchers)
    assert [watcher.outcomes[0].reason for watcher in watchers] == ["OSError: disk full"] * 2
    assert robot.stops == 1


def test_an_action_of_another_shape_is_refused(robot):
    error, watcher = play(robot, lambda step: np.zeros(3, np.float32))
    assert isinstance(error, SpecMismatch)
    assert watcher.outcomes[0].reason.startswith("SpecMismatch: point mass action: expected shape (2,), got (3,)")


def test_max_steps_must_be_positive(robot):
    with pytest.raises(ConfigError, match="max_steps"):
        run_episode(robot, HoldActor(SPEC), Guards(), SimClock(SPEC.dt), max_steps=0)


def test_same_seed_same_episode(robot):
    runs = []
    for _ in range(2):
        watcher = Watcher()
        actor = RandomActor(SPEC, smoothness=0.5)
        run_episode(robot, actor, Limits(SPEC), SimClock(SPEC.dt), max_steps=20, seed=5, observers=[watcher])
        runs.append([step.next_observation["position"] for step in watcher.steps])
    np.testing.assert_array_equal(runs[0], runs[1])


def test_start_and_goal_reach_robot_and_actor(robot):
    policy = GoToGoal()
    outcome = run_episode(
        robot,
        ChunkedActor(policy, execute=2),
        standard_guards(SPEC),
        SimClock(SPEC.dt),
        max_steps=100,
        seed=9,
        goal={"position": np.array([0.5, -0.5], np.float32)},
        start={"position": np.array([2.0, 2.0], np.float32)},
        done=lambda observation: bool(np.all(np.abs(observation["position"] - [0.5, -0.5]) < 0.01)),
    )
    assert outcome.success is True
    np.testing.assert_array_equal(policy.windows[2]["position"][0, 0], [2.0, 2.0])  # 0 and 1 are the warm-up
    assert policy.seeds == [9]


def test_latency_and_overruns_on_the_wall_clock(robot):
    source = FakeTime()
    clock = WallClock(SPEC.dt, now=source.now, sleep=source.sleep)

    def choose(step):
        source.work(0.12 if step == 1 else 0.004)
        return half(step)

    outcome, watcher = play(robot, choose, clock=clock)
    assert outcome.overruns == 1
    assert [step.latency_s for step in watcher.steps] == pytest.approx([0.004, 0.12, 0.004, 0.004, 0.004], abs=1e-4)
    assert outcome.duration_s == pytest.approx(7 * SPEC.dt, abs=1e-3)


def test_an_actor_that_observes_is_told_first(robot):
    order = []

    class Both(Constant, Watcher):
        def __init__(self, choose):
            Watcher.__init__(self)
            Constant.__init__(self, choose)

        def act(self, observation):
            self.step += 1
            return self.choose(self.step)

        def on_reset(self, observation, *, goal, seed):
            self.step = 0

        def on_step(self, step):
            order.append(("actor", float(step.applied[0])))

    class Other(Watcher):
        def on_step(self, step):
            order.append(("other", float(step.applied[0])))

    actor = Both(lambda step: np.full(2, 1.5, np.float32))
    run_episode(robot, actor, Limits(SPEC), SimClock(SPEC.dt), max_steps=1, observers=[Other()])
    assert order == [("actor", 1.0), ("other", 1.0)]
    assert len(actor.outcomes) == 1
    run_episode(robot, actor, Limits(SPEC), SimClock(SPEC.dt), max_steps=1, observers=[actor])
    assert len(actor.outcomes) == 2, "told once, also when listed"


def test_safety_stop_from_an_observer_counts_as_one(robot):
    class Watchdog(Watcher):
        def on_step(self, step):
            raise SafetyStop("operator pressed the button")

    outcome = run_episode(robot, Constant(half), Guards(), SimClock(SPEC.dt), max_steps=3, observers=[Watchdog()])
    assert outcome.reason == "safety: operator pressed the button"
