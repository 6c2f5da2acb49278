import os
from functools import partial

import numpy as np
import pytest

from robot_learning.core.errors import PolicyFailed
from robot_learning.core.protocols import Policy
from robot_learning.runtime.actors import ChunkedActor
from robot_learning.runtime.asynchronous import AsyncActor
from robot_learning.runtime.process import ProcessPolicy
from tests.runtime.policies import GoToGoal, observation

GOAL = {"position": np.array([0.5, 0.5], np.float32)}


class Fragile(GoToGoal):
    """Fails or dies when the goal says so."""

    def act(self, window, goal):
        if goal is not None and goal["position"][0, 0] == 13:
            raise ValueError("unlucky goal")
        if goal is not None and goal["position"][0, 0] == 14:
            os._exit(3)
        return super().act(window, goal)


@pytest.fixture(scope="module")
def policy():
    with ProcessPolicy(partial(Fragile, n_obs=3, horizon=5)) as policy:
        yield policy


def test_is_a_policy_that_describes_itself(policy):
    assert isinstance(policy, Policy)
    here = Fragile(n_obs=3, horizon=5)
    assert (policy.n_obs, policy.horizon, policy.goal_keys) == (3, 5, here.goal_keys)
    assert policy.spec == here.spec


def test_acts_as_it_would_here(policy):
    def play(actor):
        actor.reset(seed=1, goal=GOAL)
        return [actor.act(observation(step, (0.1 * step, 0.0))) for step in range(4)]

    here = play(ChunkedActor(Fragile(n_obs=3, horizon=5), execute=2))
    np.testing.assert_array_equal(play(ChunkedActor(policy, execute=2)), here)
    with AsyncActor(policy, execute=2, patience_s=30.0) as actor:
        np.testing.assert_array_equal(play(actor), here)


def test_errors_are_told_and_it_goes_on(policy):
    actor = ChunkedActor(policy)
    actor.reset(goal={"position": np.array([13.0, 0.0])})
    with pytest.raises(PolicyFailed, match=r"(?s)policy process: .*ValueError: unlucky goal"):
        actor.act(observation(0))
    actor.reset(goal=GOAL)
    actor.act(observation(0))


def test_a_process_that_dies_and_one_that_cannot_start():
    with ProcessPolicy(Fragile) as policy:
        with pytest.raises(PolicyFailed, match=r"it ended \(exit code 3\)"):
            policy.act({"position": np.zeros((1, 2, 2))}, {"position": np.array([[14.0, 0.0]])})
        with pytest.raises(PolicyFailed, match="it ended"):
            policy.reset(seed=0)
    policy.close()
    with pytest.raises(PolicyFailed, match=r"(?s)TypeError.*no_such_setting"):
        ProcessPolicy(partial(Fragile, no_such_setting=1))
