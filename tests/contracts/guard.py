"""What every guard promises; inherit :class:`GuardContract` and name safe and unsafe cases."""

import contextlib

import numpy as np
import pytest

from robot_learning.core.errors import SafetyStop
from robot_learning.core.protocols import Guard


class GuardContract:
    """Tests of the Guard protocol.

    A subclass defines ``make_guard(self)``, ``safe(self)`` (observation and action that pass untouched) and
    ``unsafe(self)`` (a list of sequences of observation-action pairs; the last pair of each must not pass).
    """

    def make_guard(self) -> Guard:
        raise NotImplementedError

    def safe(self):
        raise NotImplementedError

    def unsafe(self):
        raise NotImplementedError

    @pytest.fixture
    def guard(self):
        guard = self.make_guard()
        guard.reset()
        return guard

    def test_is_a_guard(self, guard):
        assert isinstance(guard, Guard)

    def test_a_safe_action_passes_untouched(self, guard):
        observation, action = self.safe()
        checked = guard.check(observation, action)
        np.testing.assert_array_equal(checked, action)
        assert checked.dtype == action.dtype
        assert checked.shape == action.shape

    def test_unsafe_actions_are_changed_or_stopped(self):
        for sequence in self.unsafe():
            guard = self.make_guard()
            guard.reset()
            for observation, action in sequence[:-1]:
                guard.check(observation, action)
            observation, action = sequence[-1]
            with contextlib.suppress(SafetyStop):
                checked = guard.check(observation, action)
                assert not np.array_equal(checked, action)
                assert np.all(np.isfinite(checked))
                assert checked.dtype == action.dtype

    def test_arguments_are_left_alone(self):
        for sequence in [[self.safe()], *self.unsafe()]:
            guard = self.make_guard()
            guard.reset()
            for observation, action in sequence:
                copies = {key: np.array(value) for key, value in observation.items()}, action.copy()
                with contextlib.suppress(SafetyStop):
                    guard.check(observation, action)
                np.testing.assert_array_equal(action, copies[1])
                for key, value in copies[0].items():
                    np.testing.assert_array_equal(observation[key], value)

    def test_reset_forgets(self, guard):
        for sequence in self.unsafe():
            for observation, action in sequence:
                try:
                    guard.check(observation, action)
                except SafetyStop:
                    break
            guard.reset()
            self.test_a_safe_action_passes_untouched(guard)
            guard.reset()
