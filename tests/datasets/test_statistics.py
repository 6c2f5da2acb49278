import numpy as np
import pytest

from robot_learning.core.errors import StoreCorrupt
from robot_learning.datasets.statistics import array_statistics, histogram_statistics
from robot_learning.datasets.writer import count_pixels


def test_rows_that_are_not_finite_are_left_out():
    stats = array_statistics(np.array([[1.0, 10.0], [np.nan, 20.0], [3.0, 30.0], [5.0, np.inf]]))
    assert stats.count == 2
    assert stats.mean.tolist() == [2.0, 20.0]
    assert stats.std.tolist() == [1.0, 10.0]
    assert stats.low.tolist() == [1.0, 10.0]
    assert stats.high.tolist() == [3.0, 30.0]
    assert stats.q99.tolist() == [2.98, 29.8]
    with pytest.raises(StoreCorrupt, match="finite"):
        array_statistics(np.full((2, 1), np.nan))


def test_pixel_counts_give_the_statistics_of_the_pixels():
    images = np.random.default_rng(0).normal([100, 20, 200], 15, (9, 16, 16, 3)).clip(0, 255).astype(np.uint8)
    stats = histogram_statistics(count_pixels(images), rows=9)
    pixels = images.reshape(-1, 3).astype(float)
    assert stats.count == 9
    np.testing.assert_allclose(stats.mean, pixels.mean(axis=0))
    np.testing.assert_allclose(stats.std, pixels.std(axis=0))
    for name, share in (("q01", 0.01), ("q99", 0.99)):
        expected = np.quantile(pixels, share, axis=0, method="inverted_cdf")
        np.testing.assert_array_equal(getattr(stats, name), expected)
