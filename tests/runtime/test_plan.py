import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_learning.core.errors import ConfigError
from robot_learning.runtime.plan import Plan, ensemble_weights


def chunk(*values):
    return np.array(values, np.float32)[:, None]


def test_weights_by_hand():
    # exp(-0.5 j), j = 0, 1, 2: 1, 0.606531, 0.367879; sum 1.974410
    np.testing.assert_allclose(ensemble_weights(3, 0.5), [0.506480, 0.307196, 0.186324], atol=1e-6)
    np.testing.assert_allclose(ensemble_weights(4, 0.0), 0.25)


def test_the_newest_chunk_is_followed():
    plan = Plan()
    plan.add(0, chunk(0, 1, 2, 3))
    assert plan.at(0) == [0]
    plan.add(1, chunk(11, 12, 13, 14))
    assert [plan.at(step).item() for step in (1, 2, 3, 4)] == [11, 12, 13, 14]
    assert plan.at(5) is None


def test_the_past_part_of_a_late_chunk_is_never_used():
    plan = Plan()
    plan.add(2, chunk(2, 3, 4, 5))
    assert plan.at(4) == [4]
    assert plan.left(4) == 2
    assert plan.at(6) is None
    assert plan.left(6) == 0


def test_a_chunk_for_the_future_waits():
    plan = Plan()
    plan.add(3, chunk(3, 4))
    assert plan.at(2) is None
    assert plan.at(3) == [3]


def test_an_ensemble_by_hand():
    plan = Plan(ensemble=0.5)
    plan.add(0, chunk(0.0, 1.0, 2.0))
    assert plan.at(0) == [0.0]
    plan.add(1, chunk(4.0, 5.0, 6.0))
    # step 1: oldest says 1, newest says 4; weights 1 and 0.606531: (1 + 4 * 0.606531) / 1.606531
    assert plan.at(1).item() == pytest.approx(2.132622, abs=1e-5)
    plan.add(2, chunk(7.0, 8.0, 9.0))
    # step 2: 2, 5, 7 with the weights of test_weights_by_hand
    assert plan.at(2).item() == pytest.approx(2 * 0.506480 + 5 * 0.307196 + 7 * 0.186324, abs=1e-5)
    # step 3: the first chunk is over; 6 and 8
    assert plan.at(3).item() == pytest.approx((6 + 8 * 0.606531) / 1.606531, abs=1e-5)


def test_a_second_chunk_for_a_step_replaces_the_first():
    plan = Plan(ensemble=0.0)
    plan.add(0, chunk(0, 1))
    plan.add(0, chunk(10, 11))
    assert plan.at(0) == [10]


def test_clear_forgets():
    plan = Plan()
    plan.add(0, chunk(0, 1))
    plan.clear()
    assert plan.at(0) is None


def test_actions_are_copies():
    plan = Plan()
    rows = chunk(0, 1)
    plan.add(0, rows)
    plan.at(0)[:] = 9
    assert rows[0] == 0


def test_the_ensemble_must_be_finite():
    with pytest.raises(ConfigError, match="ensemble"):
        Plan(ensemble=float("nan"))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.one_of(st.none(), st.floats(0, 2)))
def test_rows_belong_to_their_step(gaps, ensemble):
    """Chunks that say "step s" in row s give back s whatever comes when."""
    plan, step = Plan(ensemble), 0
    for gap in gaps:
        plan.add(step, (np.arange(4) + step)[:, None].astype(np.float64))
        step += gap
        action = plan.at(step)
        assert action == pytest.approx([step])
