"""Charts show everything that they are given."""

import re

from robot_learning.evaluation.charts import curves


def points_of(svg):
    return [tuple(map(float, pair.split(","))) for pair in re.search(r'<polyline[^>]* points="([^"]*)"', svg)[1].split()]


def test_a_logarithmic_axis_has_equal_steps_for_equal_factors():
    heights = [y for _, y in points_of(curves("loss", {"a": ([0, 1, 2], [100.0, 10.0, 1.0])}, "step", "loss", log_y=True))]
    assert round(heights[1] - heights[0], 1) == round(heights[2] - heights[1], 1) > 0


def test_a_loss_below_zero_stays_in_the_picture():
    placed = points_of(curves("loss", {"a": ([0, 1, 2], [2.0, 1.0, -1.0])}, "step", "loss", log_y=True))
    assert len(placed) == 3
    assert round((placed[2][1] - placed[1][1]) / (placed[1][1] - placed[0][1]), 2) == 2.0, "in the proportions of the values"


def test_a_single_point_is_a_dot():
    svg = curves("loss", {"a": ([0, 1], [2.0, 1.0]), "b": ([1], [1.5])}, "step", "loss")
    assert svg.count("<polyline") == svg.count("<circle") == 1
