"""Made-up statistics for a robot's spec, to build policies without data."""

import numpy as np

from robot_learning.core.types import Stats


def statistics_of(spec):
    """Return statistics of values spread evenly over [-1, 1] (images: 0 to 255 per channel)."""
    sizes = {key: array.shape[-1] if array.is_image else int(np.prod(array.shape)) for key, array in spec.observation.items()}
    sizes["action"] = spec.action.shape[0]
    made = {}
    for key, size in sizes.items():
        one = np.ones(size)
        made[key] = Stats(10, 0 * one, 0.5 * one, -one, one, -one, one)
    return made
