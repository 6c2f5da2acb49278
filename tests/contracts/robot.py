"""What every robot promises; inherit :class:`RobotContract` and say how to make one."""

import numpy as np
import pytest

from robot_learning.core.errors import NotConnected, SafetyStop, SpecMismatch
from robot_learning.core.protocols import Robot
from robot_learning.core.spec import TIME_KEY, RobotSpec
from robot_learning.core.types import STREAM_TIME_PREFIX


class RobotContract:
    """Tests of the Robot protocol.

    A subclass defines ``make_robot(self)`` (a new robot, not connected) and, where its robot promises less,
    sets the class attributes.
    """

    simulated = True
    """Time moves only in ``apply``, by exactly one control period, and runs repeat bit by bit."""

    random_start = True
    """Different seeds give different first observations."""

    restores_start = True
    """``reset(start=observation)`` reproduces the low-dimensional part of that observation."""

    start_atol = 1e-3
    """How closely ``start`` is reproduced, in each key's own unit."""

    def make_robot(self) -> Robot:
        raise NotImplementedError

    @pytest.fixture
    def fresh(self):
        """A robot that is not connected."""
        robot = self.make_robot()
        yield robot
        robot.close()

    @pytest.fixture
    def robot(self, fresh):
        """A connected robot."""
        fresh.connect()
        return fresh

    # before connect

    def test_is_a_robot(self, fresh):
        assert isinstance(fresh, Robot)

    def test_spec_is_readable_before_connect(self, fresh):
        spec = fresh.spec
        assert isinstance(spec, RobotSpec)
        assert spec.control_hz > 0
        assert len(spec.action.shape) == 1
        assert spec.observation
        assert TIME_KEY not in spec.observation, "the row clock is implied, not part of the spec"

    def test_spec_survives_json_and_connect(self, fresh):
        before = fresh.spec
        assert RobotSpec.from_json(before.to_json()) == before
        fresh.connect()
        assert fresh.spec == before

    def test_use_before_connect_is_refused(self, fresh):
        for use in (fresh.reset, fresh.observe, lambda: fresh.apply(fresh.spec.action.generate_value())):
            with pytest.raises(NotConnected):
                use()

    # lifetime

    def test_connect_and_close_are_idempotent(self, fresh):
        fresh.close()
        fresh.connect()
        fresh.connect()
        fresh.reset(seed=0)
        fresh.close()
        fresh.close()

    def test_use_after_close_is_refused(self, robot):
        robot.reset(seed=0)
        robot.close()
        with pytest.raises(NotConnected):
            robot.observe()

    def test_stop_never_raises(self, fresh):
        fresh.stop()
        fresh.connect()
        fresh.stop()
        fresh.reset(seed=0)
        fresh.apply(fresh.spec.action.generate_value())
        fresh.stop()
        fresh.stop()
        fresh.close()
        fresh.stop()

    def test_goes_on_after_a_stop(self, robot):
        robot.reset(seed=0)
        robot.stop()
        self.check_observation(robot.spec, robot.reset(seed=0))
        robot.apply(robot.spec.action.generate_value())

    # observations

    def check_observation(self, spec, observation):
        keys = {key for key in observation if key != TIME_KEY and not key.startswith(STREAM_TIME_PREFIX)}
        assert keys == set(spec.observation)
        for key, array_spec in spec.observation.items():
            value = observation[key]
            assert isinstance(value, np.ndarray), key
            assert value.shape == array_spec.shape, key
            assert value.dtype == np.dtype(array_spec.dtype), key
            assert np.all(np.isfinite(value)), key
        times = [value for key, value in observation.items() if key not in spec.observation]
        for value in times:
            assert np.shape(value) == ()
            assert np.asarray(value).dtype == np.float64
            assert np.isfinite(value)
        for key in observation:
            if key.startswith(STREAM_TIME_PREFIX):
                assert observation[key] <= observation[TIME_KEY] + 1e-9, f"{key} lies in the future"
        assert TIME_KEY in observation

    def test_reset_and_observe_keep_the_spec(self, robot):
        self.check_observation(robot.spec, robot.reset(seed=3))
        self.check_observation(robot.spec, robot.observe())
        robot.apply(robot.spec.action.generate_value())
        self.check_observation(robot.spec, robot.observe())

    def test_first_observation_lies_within_its_bounds(self, robot):
        observation = robot.reset(seed=5)
        for key, array_spec in robot.spec.observation.items():
            if array_spec.low is not None:
                assert np.all(observation[key] >= array_spec.low - 1e-5), key
            if array_spec.high is not None:
                assert np.all(observation[key] <= array_spec.high + 1e-5), key

    def test_time_is_monotonic(self, robot):
        times = [float(robot.reset(seed=0)[TIME_KEY])]
        for _ in range(3):
            robot.apply(robot.spec.action.generate_value())
            times.append(float(robot.observe()[TIME_KEY]))
        assert np.all(np.diff(times) >= 0)
        if self.simulated:
            np.testing.assert_allclose(np.diff(times), robot.spec.dt, rtol=1e-6)

    def test_observations_are_snapshots(self, robot):
        kept = robot.reset(seed=0)
        copies = {key: np.array(value) for key, value in kept.items()}
        for action in self.actions(robot.spec, 3):
            robot.apply(action)
            robot.observe()
        for key, value in copies.items():
            np.testing.assert_array_equal(kept[key], value, err_msg=f"{key} was overwritten by a later step")

    def test_observing_changes_nothing(self, robot):
        if not self.simulated:
            pytest.skip("a real robot moves on between two observations")
        robot.reset(seed=0)
        self.assert_equal(robot.observe(), robot.observe())

    # seeds and starts

    def test_same_seed_same_first_observation(self, robot):
        if not self.simulated:
            pytest.skip("a real robot never starts twice at the same numbers")
        first = robot.reset(seed=7)
        robot.apply(robot.spec.action.generate_value())
        self.assert_equal(robot.reset(seed=7), first, but=(TIME_KEY,))

    def test_other_seed_other_first_observation(self, robot):
        if not (self.simulated and self.random_start):
            pytest.skip("this robot has one start")
        first, second = robot.reset(seed=1), robot.reset(seed=2)
        assert any(not np.array_equal(first[key], second[key]) for key in robot.spec.observation)

    def test_same_seed_and_actions_same_episode(self, robot):
        if not self.simulated:
            pytest.skip("a real robot never repeats itself")
        actions = self.actions(robot.spec, 4)
        runs = []
        for _ in range(2):
            robot.reset(seed=11)
            applied = [robot.apply(action) for action in actions]
            runs.append((applied, robot.observe()))
        np.testing.assert_array_equal(runs[0][0], runs[1][0])
        self.assert_equal(runs[0][1], runs[1][1], but=(TIME_KEY,))

    def test_start_is_reproduced(self, robot):
        if not self.restores_start:
            pytest.skip("this robot cannot be put into a given state")
        wanted = robot.reset(seed=1)
        reached = robot.reset(seed=2, start=wanted)
        for key, array_spec in robot.spec.observation.items():
            if not array_spec.is_image:
                np.testing.assert_allclose(reached[key], wanted[key], atol=self.start_atol, err_msg=key)

    # actions

    def test_apply_returns_what_was_sent(self, robot):
        robot.reset(seed=0)
        for action in self.actions(robot.spec, 3):
            before = action.copy()
            applied = robot.apply(action)
            np.testing.assert_array_equal(action, before, err_msg="apply wrote into its argument")
            self.check_sent(robot.spec, applied)
            assert not np.shares_memory(applied, action)

    def test_apply_keeps_its_limits(self, robot):
        spec = robot.spec.action
        robot.reset(seed=0)
        for bound, side in ((spec.high, 1), (spec.low, -1)):
            if bound is not None:
                try:
                    applied = robot.apply(bound + np.asarray(side * 0.5, spec.dtype))
                except SafetyStop:
                    continue
                self.check_sent(robot.spec, applied)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_an_action_that_is_not_finite_is_refused(self, robot, bad):
        before = robot.reset(seed=0)
        action = robot.spec.action.generate_value().copy()
        action[-1] = bad
        with pytest.raises(SafetyStop):
            robot.apply(action)
        if self.simulated:
            self.assert_equal(robot.observe(), before)

    def test_an_action_of_another_shape_is_refused(self, robot):
        robot.reset(seed=0)
        with pytest.raises(SpecMismatch):
            robot.apply(np.zeros(robot.spec.action.shape[0] + 1, robot.spec.action.dtype))

    # how

    @staticmethod
    def actions(spec, count, seed=0):
        """Return ``count`` random actions near a neutral one, within the limits."""
        rng = np.random.default_rng(seed)
        neutral = spec.action.generate_value()
        low = neutral - 0.1 if spec.action.low is None else spec.action.low
        high = neutral + 0.1 if spec.action.high is None else spec.action.high
        targets = rng.uniform(low, high, (count, *spec.action.shape))
        return [(neutral + 0.2 * (target - neutral)).astype(spec.action.dtype) for target in targets]

    @staticmethod
    def check_sent(spec, applied):
        assert applied.shape == spec.action.shape
        assert applied.dtype == np.dtype(spec.action.dtype)
        assert np.all(np.isfinite(applied))
        if spec.action.low is not None:
            assert np.all(applied >= spec.action.low)
        if spec.action.high is not None:
            assert np.all(applied <= spec.action.high)

    @staticmethod
    def assert_equal(left, right, but=()):
        assert set(left) == set(right)
        for key in left:
            if key not in but and not key.startswith(STREAM_TIME_PREFIX):
                np.testing.assert_array_equal(left[key], right[key], err_msg=key)
