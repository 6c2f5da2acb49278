"""Intervals and comparisons against numbers worked out by hand."""

import numpy as np
import pytest

from robot_learning.evaluation.intervals import mcnemar, mean_over_tasks, paired_difference, wilson


def test_wilson_by_hand():
    low, high = wilson(8, 10)
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(0, 10)[1] == pytest.approx(0.2775, abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_mcnemar_by_hand():
    a = [True] * 7 + [False] * 1 + [True, False]
    b = [False] * 7 + [True] * 1 + [True, False]
    assert mcnemar(a, b) == pytest.approx(2 * (1 + 8) / 2**8)
    assert mcnemar([True, False], [True, False]) == 1.0


def test_the_mean_over_tasks_weighs_tasks_alike():
    mean, low, high = mean_over_tasks({"easy": [1.0] * 10, "hard": [0.0] * 30 + [1.0] * 10})
    assert mean == pytest.approx(0.625)
    spread = 1.96 * 0.5 * np.sqrt(0.25 * 0.75 / 40)  # only the hard task varies
    assert high - low == pytest.approx(2 * spread, rel=0.1)


def test_paired_differences():
    mean, low, high = paired_difference([1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0])
    assert mean == 0.5
    assert 0.0 <= low < 0.5 < high <= 1.0
    assert paired_difference([0.3] * 5, [0.3] * 5) == (0.0, 0.0, 0.0)
