"""Many robots at once: the same numbers however they are spread, and errors that say where they come from."""

import os
import signal
from functools import partial

import numpy as np
import pytest

from robot_learning.core.errors import SpecMismatch
from robot_learning.sim.batch import RobotBatch, WorkerError
from robot_learning.sim.robot import PlayTableRobot

COUNT = 3


@pytest.fixture(scope="module")
def batch():
    with RobotBatch(PlayTableRobot, COUNT, workers=2) as batch:
        yield batch


def run(batch, steps=4):
    rng = np.random.default_rng(0)
    first = batch.reset(5)
    for _ in range(steps):
        last, applied = batch.apply(rng.uniform(-0.02, 0.02, (COUNT, 7)).astype(np.float32))
    return first, last, applied


def test_workers_change_nothing(batch):
    with RobotBatch(PlayTableRobot, COUNT, workers=0) as here:
        for one, other in zip(run(batch), run(here), strict=True):
            if isinstance(one, dict):
                assert one.keys() == other.keys()
                for key in one.keys() - {"time"}:
                    np.testing.assert_array_equal(one[key], other[key], err_msg=key)
            else:
                np.testing.assert_array_equal(one, other)


def test_rows_are_the_robots_one_by_one(batch):
    rows = batch.reset([4, 8, 4])
    robot = PlayTableRobot()
    robot.connect()
    for row, seed in enumerate((4, 8, 4)):
        for key, value in robot.reset(seed=seed).items():
            if key != "time":
                np.testing.assert_array_equal(rows[key][row], value, err_msg=key)
    robot.close()


def test_starts_are_restored_per_row(batch):
    rows = batch.reset([1, 2, 3])
    wanted = {key: value[1] for key, value in rows.items()}
    again = batch.reset([7, 7, 7], starts=[None, wanted, None])
    np.testing.assert_allclose(again["block_position"][1], wanted["block_position"], atol=1e-3)
    np.testing.assert_array_equal(again["block_position"][0], again["block_position"][2])


def test_wrong_numbers_of_rows_are_refused(batch):
    with pytest.raises(SpecMismatch, match="expected 3 rows"):
        batch.reset([1, 2])
    with pytest.raises(SpecMismatch, match="expected 3 rows"):
        batch.apply(np.zeros((2, 7), dtype=np.float32))
    with pytest.raises(SpecMismatch, match="at least 1"):
        RobotBatch(PlayTableRobot, 0)


def test_an_error_in_a_worker_carries_its_traceback():
    with RobotBatch(PlayTableRobot, 2, workers=1) as batch:
        batch.reset(0)
        with pytest.raises(WorkerError, match=r"(?s)robot\.py.*SafetyStop.*finite"):
            batch.apply(np.full((2, 7), np.nan, dtype=np.float32))
        with pytest.raises(WorkerError, match="closed"):
            batch.reset(0)


def test_an_error_while_starting_is_told():
    make = partial(_FailsToConnect)
    with pytest.raises(WorkerError, match="no such device"):
        RobotBatch(make, 1, workers=1)


def test_a_killed_worker_is_told():
    with RobotBatch(PlayTableRobot, 1, workers=1) as batch:
        (process,) = batch.processes
        os.kill(process, signal.SIGKILL)
        with pytest.raises(WorkerError, match="-9"):
            batch.reset(0)
    batch.close()


class _FailsToConnect(PlayTableRobot):
    def connect(self):
        raise OSError("no such device")
