"""What every actor promises; inherit :class:`ActorContract` and say how to make one."""

import numpy as np
import pytest

from robot_learning.core.protocols import Actor
from robot_learning.core.types import End


class ActorContract:
    """Tests of the Actor protocol.

    A subclass defines ``make_actor(self)``, ``spec(self)`` (of the robot it acts on), ``observations(self)`` (a few
    in a row, as the robot would give them) and, where it needs one, ``goal(self)``.
    """

    deterministic = True
    """The same seed and observations give the same actions."""

    def make_actor(self) -> Actor:
        raise NotImplementedError

    def spec(self):
        raise NotImplementedError

    def observations(self):
        raise NotImplementedError

    def goal(self):
        return None

    @pytest.fixture
    def actor(self):
        actor = self.make_actor()
        yield actor
        close = getattr(actor, "close", None)
        if close is not None:
            close()

    def play(self, actor, seed=0):
        actor.reset(seed=seed, goal=self.goal())
        return [actor.act(observation) for observation in self.observations()]

    def test_is_an_actor(self, actor):
        assert isinstance(actor, Actor)

    def test_actions_keep_the_spec(self, actor):
        for action in self.play(actor):
            if not isinstance(action, End):
                spec = self.spec().action
                assert action.shape == spec.shape
                assert action.dtype == np.dtype(spec.dtype)
                assert np.all(np.isfinite(action))

    def test_the_source_is_named(self, actor):
        self.play(actor)
        assert isinstance(actor.source, str)
        assert actor.source

    def test_same_seed_same_actions(self, actor):
        if not self.deterministic:
            pytest.skip("this actor never repeats itself")
        first, second = self.play(actor, seed=4), self.play(actor, seed=4)
        assert [isinstance(action, End) for action in first] == [isinstance(action, End) for action in second]
        for one, other in zip(first, second, strict=True):
            if not isinstance(one, End):
                np.testing.assert_array_equal(one, other)

    def test_actions_are_snapshots(self, actor):
        actor.reset(seed=0, goal=self.goal())
        kept = []
        for observation in self.observations():
            action = actor.act(observation)
            if not isinstance(action, End):
                kept.append((action, action.copy()))
                action_again = action
        for action, copy in kept:
            np.testing.assert_array_equal(action, copy)
        if len(kept) > 1:
            action_again[:] = 7.0
            np.testing.assert_array_equal(kept[0][0], kept[0][1])

    def test_observations_are_left_alone(self, actor):
        actor.reset(seed=0, goal=self.goal())
        for observation in self.observations():
            copies = {key: np.array(value) for key, value in observation.items()}
            actor.act(observation)
            assert set(observation) == set(copies)
            for key, value in copies.items():
                np.testing.assert_array_equal(observation[key], value)

    def test_starts_again_after_an_end(self, actor):
        self.play(actor)
        actor.reset(seed=0, goal=self.goal())
        first = actor.act(self.observations()[0])
        assert isinstance(first, End) or first.shape == self.spec().action.shape
