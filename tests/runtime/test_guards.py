import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robot_learning.core.errors import ConfigError, SafetyStop, UnknownName
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.runtime.guards import Finite, Freshness, Guards, Limits, Rate, Workspace, standard_guards
from tests.contracts.guard import GuardContract
from tests.runtime.fake_time import FakeTime

SPEC = RobotSpec(
    observation={"ee_pose": ArraySpec((7,)), "rgb": ArraySpec((4, 4, 3), "uint8"), "depth": ArraySpec((2, 3))},
    action=ArraySpec((4,), names=("dx", "dy", "dz", "gripper"), low=[-0.1, -0.1, -0.1, -1], high=[0.1, 0.1, 0.1, 1]),
    control_hz=20.0,
)
LOW, HIGH = [0.2, -0.4, 0.0], [0.8, 0.4, 0.5]
finite32 = st.floats(-100, 100, width=32)
actions = arrays(np.float32, 4, elements=finite32)
positions = arrays(np.float32, 3, elements=st.floats(-1, 1, width=32))


def act(*values):
    return np.array(values, np.float32)


def see(position=(0.5, 0.0, 0.25), time=0.0, **streams):
    return {
        "ee_pose": np.array([*position, 1, 0, 0, 0], np.float32),
        "rgb": np.zeros((4, 4, 3), np.uint8),
        "depth": np.zeros((2, 3), np.float32),
        "time": np.asarray(time),
        **{f"time/{name}": np.asarray(stamp) for name, stamp in streams.items()},
    }


SMALL = act(0.01, -0.02, 0.03, 1.0)


class _Simple(GuardContract):
    def safe(self):
        return see(), SMALL


class TestFinite(_Simple):
    def make_guard(self):
        return Finite(SPEC)

    def unsafe(self):
        broken = see()
        broken["depth"] = broken["depth"].copy()
        broken["depth"][1, 2] = np.inf
        return [[(see(), act(0, np.nan, 0, 0))], [(see(), act(0, 0, 0, -np.inf))], [(broken, SMALL)]]

    def test_names_the_element(self, guard):
        with pytest.raises(SafetyStop, match=r"action \[1\] \(dy\): expected a finite value, got nan"):
            guard.check(see(), act(0, np.nan, 0, 0))
        with pytest.raises(SafetyStop, match=r"observation 'depth' \[1, 2\]: expected a finite value, got inf"):
            guard.check(self.unsafe()[2][0][0], SMALL)
        with pytest.raises(SafetyStop, match=r"observation 'time'"):
            guard.check(see(time=np.nan), SMALL)


class TestLimits(_Simple):
    def make_guard(self):
        return Limits(SPEC)

    def unsafe(self):
        return [[(see(), act(0.15, 0, 0, 0))], [(see(), act(0, 0, -9, 0))], [(see(), act(np.nan, 0, 0, 0))]]

    def test_clips_a_little_outside(self, guard):
        checked = guard.check(see(), act(0.15, -0.2, 0.05, 2.0))
        np.testing.assert_array_equal(checked, act(0.1, -0.1, 0.05, 1.0))

    def test_stops_far_outside(self, guard):
        guard.check(see(), act(0.29, 0, 0, 0))  # range 0.2, margin 1: up to 0.3
        with pytest.raises(SafetyStop, match=r"action \[0\] \(dx\): expected -0.1 to 0.1, got 0.31"):
            guard.check(see(), act(0.31, 0, 0, 0))

    def test_stops_at_once_when_told_to(self):
        guard = Limits(SPEC, out_of_range="stop")
        guard.check(see(), act(0.1, -0.1, 0, 1))
        with pytest.raises(SafetyStop, match="dx"):
            guard.check(see(), act(0.101, 0, 0, 0))

    @pytest.mark.parametrize("margin", [0.0, 1.0])
    def test_unbounded_sides_pass(self, margin):
        spec = RobotSpec({}, ArraySpec((2,), low=[-np.inf, 0.0], high=[np.inf, np.inf]), 10.0)
        guard = Limits(spec, margin=margin)
        np.testing.assert_array_equal(guard.check({}, act(1e6, 1e6)), act(1e6, 1e6))
        np.testing.assert_array_equal(Limits(RobotSpec({}, ArraySpec((2,)), 10.0)).check({}, act(9, -9)), act(9, -9))

    def test_unknown_mode(self):
        with pytest.raises(ConfigError, match="out_of_range: expected 'clip' or 'stop', got 'clamp'"):
            Limits(SPEC, out_of_range="clamp")

    @given(actions)
    def test_what_passes_is_within_bounds(self, action):
        guard = Limits(SPEC, margin=np.inf)
        checked = guard.check({}, action)
        assert np.all(checked >= SPEC.action.low)
        assert np.all(checked <= SPEC.action.high)
        inside = (action >= SPEC.action.low) & (action <= SPEC.action.high)
        np.testing.assert_array_equal(checked[inside], action[inside])


class TestRate(_Simple):
    def make_guard(self):
        return Rate(SPEC, max_change=0.5)

    def unsafe(self):
        return [[(see(), act(0, 0, 0, 0)), (see(), act(0, 0, 0, 0.8))]]

    def test_approaches_by_the_allowed_change(self, guard):
        guard.check(see(), act(0, 0, 0, -1))
        reached = [float(guard.check(see(), act(0, 0, 0, 1))[3]) for _ in range(5)]
        assert reached == pytest.approx([-0.5, 0.0, 0.5, 1.0, 1.0])

    def test_stops_when_told_to(self):
        guard = Rate(SPEC, max_change={"gripper": 0.5}, out_of_range="stop")
        guard.check(see(), act(0, 0, 0, 0))
        guard.check(see(), act(9, 9, 9, 0.5))
        with pytest.raises(SafetyStop, match=r"\(gripper\): expected a change of at most 0.5 per step, got -0.9"):
            guard.check(see(), act(0, 0, 0, -0.4))

    def test_settings_are_checked(self):
        with pytest.raises(UnknownName, match="nearest: gripper"):
            Rate(SPEC, max_change={"griper": 1.0})
        with pytest.raises(ConfigError, match="one number or 4, got 2"):
            Rate(SPEC, max_change=[1.0, 2.0])
        with pytest.raises(ConfigError, match="above 0"):
            Rate(SPEC, max_change=0.0)

    @given(st.lists(actions, min_size=2, max_size=8), st.floats(0.01, 5))
    def test_never_faster(self, sequence, limit):
        guard = Rate(SPEC, max_change=limit)
        sent = np.array([guard.check({}, action) for action in sequence], np.float64)
        assert np.all(np.abs(np.diff(sent, axis=0)) <= limit * (1 + 1e-5) + 1e-5)

    @given(st.lists(actions, min_size=1, max_size=5))
    def test_slow_enough_passes_untouched(self, sequence):
        guard = Rate(SPEC, max_change=1000.0)
        for action in sequence:
            np.testing.assert_array_equal(guard.check({}, action), action)


class TestWorkspace(_Simple):
    def make_guard(self):
        return Workspace(SPEC, low=LOW, high=HIGH, position_key="ee_pose", relative_xyz=("dx", "dy", "dz"))

    def unsafe(self):
        return [
            [(see((0.79, 0, 0.2)), act(0.05, 0, 0, 0))],
            [(see((0.5, 0, 0.01)), act(0, 0, -0.05, 0))],
            [(see((0.5, 0.9, 0.2)), SMALL)],
            [(see((np.nan, 0, 0.2)), SMALL)],
        ]

    def test_shortens_a_step_out_of_the_box(self, guard):
        checked = guard.check(see((0.79, 0, 0.01)), act(0.05, 0.05, -0.05, 1))
        np.testing.assert_allclose(checked, [0.01, 0.05, -0.01, 1], atol=1e-6)

    def test_outside_only_the_way_back_is_free(self, guard):
        outside = see((0.83, 0, 0.2))
        np.testing.assert_array_equal(guard.check(outside, act(0.05, 0.02, 0, 0)), act(0, 0.02, 0, 0))
        np.testing.assert_array_equal(guard.check(outside, act(-0.01, 0, 0, 0)), act(-0.01, 0, 0, 0))

    def test_stops_beyond_the_margin(self, guard):
        with pytest.raises(SafetyStop, match=r"ee_pose y: expected -0.4 to 0.4 m, got 0.9 m"):
            guard.check(see((0.5, 0.9, 0.2)), SMALL)

    def test_stops_when_told_to(self):
        guard = Workspace(SPEC, low=LOW, high=HIGH, position_key="ee_pose", out_of_range="stop")
        with pytest.raises(SafetyStop, match=r"ee_pose z: a step of -0.05 m would leave the workspace"):
            guard.check(see((0.5, 0, 0.01)), act(0, 0, -0.05, 0))

    def test_scaled_actions(self):
        guard = Workspace(SPEC, low=LOW, high=HIGH, position_key="ee_pose", scale_m=0.5)
        np.testing.assert_allclose(guard.check(see((0.79, 0, 0.2)), act(0.1, 0, 0, 0)), [0.02, 0, 0, 0], atol=1e-6)

    def test_absolute_actions_leave_the_check_of_the_position(self):
        guard = Workspace(SPEC, low=LOW, high=HIGH, position_key="ee_pose", relative_xyz=None)
        guard.check(see((0.79, 0, 0.2)), act(1, 1, 1, 1))
        with pytest.raises(SafetyStop):
            guard.check(see((0.9, 0, 0.2)), act(0, 0, 0, 0))

    def test_settings_are_checked(self):
        with pytest.raises(UnknownName, match="nearest: ee_pose"):
            Workspace(SPEC, low=LOW, high=HIGH, position_key="ee_pos")
        with pytest.raises(ConfigError, match="three low values below three high ones"):
            Workspace(SPEC, low=HIGH, high=LOW, position_key="ee_pose")
        with pytest.raises(ConfigError, match="element: expected 0 to 3, got 7"):
            Workspace(SPEC, low=LOW, high=HIGH, position_key="ee_pose", relative_xyz=(0, 1, 7))

    @given(positions, actions)
    def test_never_leaves_the_box_nor_moves_further_out(self, position, action):
        guard = Workspace(SPEC, low=LOW, high=HIGH, position_key="ee_pose", margin_m=10)
        reached = position + guard.check(see(position), action)[:3]
        outside = np.maximum(np.maximum(LOW - position, position - HIGH), 0)
        after = np.maximum(np.maximum(LOW - reached, reached - HIGH), 0)
        # a tool outside on one side may ask to jump through the box: then it ends at the far wall
        assert np.all(after <= outside + 1e-6)


class TestFreshness(_Simple):
    def make_guard(self):
        self.source = FakeTime(start=10.0)
        return Freshness(0.2, same_clock=True, now=self.source.now)

    def safe(self):
        return see(time=9.9, camera=9.85), SMALL

    def unsafe(self):
        return [[(see(time=9.7), SMALL)], [(see(time=9.95, camera=9.0), SMALL)]]

    def test_names_the_stream_and_its_age(self, guard):
        with pytest.raises(SafetyStop, match=r"'time/camera': expected an age of at most 0.2 s, got 1.000 s"):
            guard.check(see(time=9.95, camera=9.0), SMALL)

    def test_streams_may_be_left_out(self):
        source = FakeTime(start=10.0)
        guard = Freshness(0.2, same_clock=True, streams=False, now=source.now)
        guard.check(see(time=9.95, camera=0.0), SMALL)

    def test_thinking_too_long_makes_an_observation_old(self, guard):
        guard.check(see(time=10.0), SMALL)
        self.source.work(0.3)
        with pytest.raises(SafetyStop):
            guard.check(see(time=10.0), SMALL)


class TestFreshnessOfAnotherClock(_Simple):
    def make_guard(self):
        self.source = FakeTime(start=1e6)
        return Freshness(0.2, now=self.source.now)

    def unsafe(self):
        return []

    def test_time_that_moves_on_is_fresh(self, guard):
        for step in range(100):
            guard.check(see(time=0.01 * step, camera=0.0 if step < 4 else 0.01 * step), SMALL)
            self.source.work(0.05)

    def test_a_frozen_stream_is_stale(self, guard):
        for step in range(4):
            guard.check(see(time=0.05 * step, camera=3.0), SMALL)
            self.source.work(0.0625)
        with pytest.raises(SafetyStop, match=r"'time/camera'.*got 0.250 s"):
            guard.check(see(time=0.25, camera=3.0), SMALL)

    def test_reset_starts_anew(self, guard):
        guard.check(see(time=0.0), SMALL)
        self.source.work(100.0)
        guard.reset()
        guard.check(see(time=0.0), SMALL)


def test_freshness_needs_a_limit():
    with pytest.raises(ConfigError, match="max_age_s above 0"):
        Freshness(0.0)


class TestGuards(_Simple):
    def make_guard(self):
        workspace = {"low": LOW, "high": HIGH, "position_key": "ee_pose"}
        return standard_guards(SPEC, max_change=2.0, workspace=workspace, max_age_s=0.5, now=FakeTime().now)

    def unsafe(self):
        return [*TestLimits().unsafe(), *TestWorkspace().unsafe(), *TestFinite().unsafe()]

    def test_each_guard_sees_what_the_one_before_made_safe(self):
        guard = Guards([Limits(SPEC), Rate(SPEC, max_change=0.05)])
        guard.check(see(), act(0, 0, 0, 0))
        np.testing.assert_allclose(guard.check(see(), act(0.2, 0, 0, 0)), [0.05, 0, 0, 0])

    def test_the_standard_chain(self):
        names = [type(guard).__name__ for guard in self.make_guard().guards]
        assert names == ["Finite", "Freshness", "Limits", "Rate", "Workspace"]
        assert [type(guard).__name__ for guard in standard_guards(SPEC).guards] == ["Finite", "Limits"]

    def test_the_mode_reaches_every_guard(self):
        guard = standard_guards(SPEC, out_of_range="stop", workspace={"low": LOW, "high": HIGH, "position_key": "ee_pose"})
        with pytest.raises(SafetyStop, match="would leave the workspace"):
            guard.check(see((0.79, 0, 0.2)), act(0.05, 0, 0, 0))

    def test_a_misspelt_workspace_setting(self):
        with pytest.raises(UnknownName, match="unknown argument of guard workspace 'hi'"):
            standard_guards(SPEC, workspace={"low": LOW, "hi": HIGH})


class TestNoGuard(_Simple):
    def make_guard(self):
        return Guards()

    def unsafe(self):
        return []
