"""A small store to train on."""

import numpy as np
import pytest

from robot_learning.core.types import Episode
from robot_learning.datasets.store import DemoStore
from tests.contracts.policy import SPEC


def episode(rng, steps=20):
    rows = steps + 1
    return Episode(
        observation={
            "position": rng.normal(size=(rows, 3)).astype(np.float32),
            "velocity": rng.normal(size=(rows, 2)).astype(np.float32),
            "camera": rng.integers(0, 255, (rows, 24, 24, 3), np.uint8),
        },
        action=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        applied=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        time=np.arange(rows) / 10.0,
        source=("test",) * steps,
        reward=np.full(steps, np.nan, np.float32),
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "demos.zarr"
    rng = np.random.default_rng(0)
    with DemoStore.create(path, SPEC) as made:
        for _ in range(4):
            made.append(episode(rng))
    return str(path)
