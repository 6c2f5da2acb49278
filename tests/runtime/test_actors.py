import numpy as np
import pytest

from robot_learning.core.errors import ConfigError, SpecMismatch
from robot_learning.core.protocols import Policy, StepObserver
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import End, Episode, Outcome, Step
from robot_learning.runtime.actors import ChunkedActor, HoldActor, RandomActor, ReplayActor
from robot_learning.runtime.clock import SimClock
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import Limits
from robot_learning.runtime.history import History, goal_batch
from tests.contracts.actor import ActorContract
from tests.runtime.point_mass import SPEC, PointMass
from tests.runtime.policies import GoToGoal, Scripted, observation

OBSERVATIONS = [observation(step, (0.1 * step, -0.1)) for step in range(6)]


class _OnThePointMass(ActorContract):
    def spec(self):
        return SPEC

    def observations(self):
        return OBSERVATIONS


class TestChunkedActor(_OnThePointMass):
    def make_actor(self):
        return ChunkedActor(GoToGoal(), execute=2)

    def goal(self):
        return {"position": np.array([1.0, 1.0], np.float32), "instruction": "go there"}


class TestEnsembledActor(TestChunkedActor):
    def make_actor(self):
        return ChunkedActor(GoToGoal(), ensemble=0.01)


class TestRandomActor(_OnThePointMass):
    def make_actor(self):
        return RandomActor(SPEC)


class TestSmoothRandomActor(_OnThePointMass):
    def make_actor(self):
        return RandomActor(SPEC, smoothness=0.9)


class TestHoldActor(_OnThePointMass):
    def make_actor(self):
        return HoldActor(SPEC)


class TestReplayActor(_OnThePointMass):
    def make_actor(self):
        return ReplayActor(episode(steps=4))


def episode(steps):
    actions = np.arange(2 * steps, dtype=np.float32).reshape(steps, 2) / 10
    return Episode(
        observation={"position": np.zeros((steps + 1, 2), np.float32)},
        action=actions,
        applied=actions / 2,
        time=np.arange(steps + 1) * SPEC.dt,
        source=("human",) * steps,
        reward=np.full(steps, np.nan, np.float32),
        outcome=Outcome(success=True),
    )


def test_the_test_policies_are_policies():
    assert isinstance(GoToGoal(), Policy)
    assert isinstance(Scripted(), Policy)
    assert isinstance(ChunkedActor(Scripted()), StepObserver)


def values(actor, steps, **reset):
    actor.reset(**reset)
    return [round(float(actor.act(observation(step))[0]), 4) for step in range(steps)]


def test_receding_horizon():
    assert values(ChunkedActor(Scripted(horizon=4), execute=1), 4) == [0.0, 0.1, 0.2, 0.3]
    assert values(ChunkedActor(Scripted(horizon=4), execute=3), 7) == [0.0, 0.01, 0.02, 0.1, 0.11, 0.12, 0.2]
    assert values(ChunkedActor(Scripted(horizon=4), execute=4), 5) == [0.0, 0.01, 0.02, 0.03, 0.1]


def test_temporal_ensembling_by_hand():
    # step 1: chunk 0 says 0.01, chunk 1 says 0.10; weights 1 and exp(-0.5)
    # step 2: 0.02, 0.11, 0.20 with weights 1, exp(-0.5), exp(-1)
    got = values(ChunkedActor(Scripted(horizon=3), ensemble=0.5), 3)
    assert got == pytest.approx([0.0, 0.0440, 0.0812], abs=1e-4)


def test_execute_must_fit_the_horizon():
    for execute in (0, 5):
        with pytest.raises(ConfigError, match=f"execute: expected 1 to the policy's horizon 4, got {execute}"):
            ChunkedActor(Scripted(horizon=4), execute=execute)


def test_the_window_holds_observations_and_actions_between_them():
    policy = GoToGoal(n_obs=3)
    actor = ChunkedActor(policy)
    actor.reset(seed=1)
    actions = [actor.act(seen) for seen in OBSERVATIONS[:4]]
    first, second, _, fourth = policy.windows[2:]  # after the two warm-up calls
    for key in ("position", "velocity"):
        assert fourth[key].shape == (1, 3, 2)
        np.testing.assert_array_equal(first[key][0], np.stack([OBSERVATIONS[0][key]] * 3))
        np.testing.assert_array_equal(second[key][0], np.stack([OBSERVATIONS[i][key] for i in (0, 0, 1)]))
        np.testing.assert_array_equal(fourth[key][0], np.stack([OBSERVATIONS[i][key] for i in (1, 2, 3)]))
    np.testing.assert_array_equal(first["action"], np.zeros((1, 2, 2)))
    np.testing.assert_array_equal(second["action"][0], [np.zeros(2), actions[0]])
    np.testing.assert_array_equal(fourth["action"][0], actions[1:3])
    assert fourth["action"].dtype == np.float32


def test_one_observation_has_no_past_action():
    policy = GoToGoal(n_obs=1)
    actor = ChunkedActor(policy)
    actor.reset()
    actor.act(OBSERVATIONS[0])
    actor.act(OBSERVATIONS[1])
    assert policy.windows[-1]["action"].shape == (1, 0, 2)


def test_applied_actions_replace_requested_ones():
    policy = GoToGoal(n_obs=2)
    actor = ChunkedActor(policy)
    actor.reset()
    action = actor.act(OBSERVATIONS[0])
    step = Step(0, OBSERVATIONS[0], action, np.array([0.25, 0.5], np.float32), "policy", OBSERVATIONS[1])
    actor.on_step(step)
    actor.act(OBSERVATIONS[1])
    np.testing.assert_array_equal(policy.windows[-1]["action"], [[[0.25, 0.5]]])


def test_the_loop_tells_what_was_applied():
    robot = PointMass()
    robot.connect()
    policy = Scripted(horizon=2, n_obs=2)
    seen = []
    answer = policy.act
    policy.act = lambda window, goal: seen.append(window["action"][0, 0].copy()) or answer(window, goal) * 100
    run_episode(robot, ChunkedActor(policy), Limits(SPEC, margin=100), SimClock(SPEC.dt), max_steps=3)
    np.testing.assert_array_equal(seen[2:], [[0, 0], [0, 0], [1, 1]])  # asked for 0, 10, ...; at most 1 is applied


def test_goals_are_narrowed_to_the_policys_keys():
    policy = GoToGoal()
    actor = ChunkedActor(policy)
    actor.reset(goal={"position": np.array([0.5, 0.25]), "other": np.zeros(3), "instruction": "go"})
    actor.act(OBSERVATIONS[0])
    assert list(policy.goals[-1]) == ["position"]
    np.testing.assert_array_equal(policy.goals[-1]["position"], [[0.5, 0.25]])


@pytest.mark.parametrize("goal", [None, {}])
def test_no_goal_is_no_goal(goal):
    policy = GoToGoal()
    actor = ChunkedActor(policy)
    actor.reset(goal=goal)
    actor.act(OBSERVATIONS[0])
    assert policy.goals[-1] is None


def test_a_goal_without_the_policys_keys():
    with pytest.raises(SpecMismatch, match=r"goal: expected \['position'\].*got \['velocity'\]"):
        ChunkedActor(GoToGoal()).reset(goal={"velocity": np.zeros(2)})


def test_an_instruction_is_told_as_bytes_and_the_first_way_that_the_goal_allows_is_taken():
    policy = GoToGoal()
    policy.goal_choices = (("instruction", "velocity"), ("instruction",), ("position",))
    for goal, keys in (({"instruction": "go"}, ["instruction"]), ({"position": np.ones(2)}, ["position"])):
        told = goal_batch(policy, goal)
        assert list(told) == keys
    np.testing.assert_array_equal(goal_batch(policy, {"instruction": "go"})["instruction"][0, :3], [ord("g"), ord("o"), 0])
    with pytest.raises(SpecMismatch, match=r"expected \['instruction', 'velocity'\] or \['instruction'\] or \['position'\]"):
        goal_batch(policy, {"velocity": np.zeros(2)})


def test_an_observation_without_the_policys_keys():
    actor = ChunkedActor(GoToGoal())
    actor.reset()
    with pytest.raises(SpecMismatch, match=r"missing observation keys \['velocity'\]"):
        actor.act({"position": np.zeros(2), "time": np.asarray(0.0)})


def test_a_chunk_of_another_shape():
    policy = Scripted(horizon=4)
    actor = ChunkedActor(policy)
    actor.reset()
    policy.act = lambda window, goal: np.zeros((1, 3, 2))
    with pytest.raises(SpecMismatch, match=r"policy chunk: expected shape \(1, 4, 2\), got \(1, 3, 2\)"):
        actor.act(OBSERVATIONS[0])


def test_warm_up_comes_before_the_first_episode_only():
    policy = GoToGoal()
    actor = ChunkedActor(policy)
    actor.reset(seed=1)
    assert len(policy.windows) == 2
    assert policy.goals[0] is not None
    assert policy.seeds == [1], "seeded after the warm-up"
    actor.reset(seed=2)
    assert len(policy.windows) == 2


def test_random_actions_fill_the_bounds():
    actor = RandomActor(SPEC)
    actor.reset(seed=0)
    actions = np.array([actor.act(OBSERVATIONS[0]) for _ in range(500)])
    assert np.all(np.abs(actions) <= 1)
    assert np.all(actions.max(0) > 0.9)
    assert np.all(actions.min(0) < -0.9)


def test_smooth_random_actions_change_slowly():
    actor = RandomActor(SPEC, smoothness=0.9)
    actor.reset(seed=0)
    actions = np.array([actor.act(OBSERVATIONS[0]) for _ in range(500)])
    assert np.all(np.abs(actions) <= 1)
    assert np.max(np.abs(np.diff(actions, axis=0))) <= 0.2 + 1e-6
    with pytest.raises(ConfigError, match="smoothness"):
        RandomActor(SPEC, smoothness=1.0)


def test_random_elements_without_bounds_stay_zero():
    spec = RobotSpec({}, ArraySpec((2,), low=[-np.inf, -1], high=[np.inf, 1]), 10.0)
    actor = RandomActor(spec)
    actor.reset(seed=0)
    assert actor.act({})[0] == 0
    assert RandomActor(RobotSpec({}, ArraySpec((3,)), 10.0)).act({}).tolist() == [0, 0, 0]


def test_replay_plays_what_was_asked_or_applied():
    recorded = episode(steps=3)
    for applied, expected in ((False, recorded.action), (True, recorded.applied)):
        actor = ReplayActor(recorded, applied=applied)
        actor.reset()
        played = [actor.act(OBSERVATIONS[0]) for _ in range(4)]
        np.testing.assert_array_equal(played[:3], expected)
        assert played[3] == End("replay finished")


def test_hold_takes_its_action_from_the_first_observation():
    actor = HoldActor(SPEC, lambda seen: seen["position"] / 2)
    actor.reset()
    np.testing.assert_allclose(actor.act(OBSERVATIONS[1]), [0.05, -0.05])
    np.testing.assert_allclose(actor.act(OBSERVATIONS[2]), [0.05, -0.05])
    actor.reset()
    np.testing.assert_allclose(actor.act(OBSERVATIONS[2]), [0.1, -0.05])


def test_history_keeps_frames_without_copying():
    history = History(SPEC, 2)
    history.clear()
    history.see(OBSERVATIONS[0])
    assert set(history.window()) == {"position", "velocity", "action"}
