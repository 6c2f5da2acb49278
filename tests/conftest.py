"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks wait for each other's threads otherwise


@pytest.fixture(scope="session")
def human_pusht(tmp_path_factory):
    """The first human Push-T demonstrations, imported once per test session."""
    from robot_learning.datasets.convert.diffusion_policy import convert_diffusion_policy
    from robot_learning.datasets.store import DemoStore
    from tests.datasets.real_data import real_data

    source = real_data("pusht_human.zarr")
    out = Path(tmp_path_factory.mktemp("pusht")) / "pusht.zarr"
    convert_diffusion_policy(source, out, limit=5).close()
    with DemoStore.open(out) as store:
        yield store
