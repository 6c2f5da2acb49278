"""Collecting: the same store whatever the workers, going on where it ended, nothing lost to kill -9."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from robot_learning.cli.main import main
from robot_learning.collection.workers import WorkerFailed, Workers
from robot_learning.datasets.store import DemoStore
from robot_learning.sim.robot import PlayTableRobot

pytestmark = pytest.mark.filterwarnings("ignore::tqdm.TqdmWarning")


def collect(out, *options):
    assert main(["collect", f"out={out}", "minutes=0.1", "episode_seconds=1.5", *options]) == 0


def test_workers_do_not_change_the_store(tmp_path):
    collect(tmp_path / "here.zarr", "workers=0")
    collect(tmp_path / "there.zarr", "workers=2")
    with DemoStore.open(tmp_path / "here.zarr") as here, DemoStore.open(tmp_path / "there.zarr") as there:
        assert len(here) == len(there) == 4
        assert here.verify() == []
        for one, two in zip(here, there, strict=True):
            np.testing.assert_array_equal(one.action, two.action)
            for key, value in one.observation.items():
                np.testing.assert_array_equal(value, two.observation[key])


def test_it_goes_on_where_the_store_ends(tmp_path):
    collect(tmp_path / "whole.zarr", "workers=0")
    collect(tmp_path / "parts.zarr", "workers=0", "minutes=0.05")
    collect(tmp_path / "parts.zarr", "workers=0", "resume=true")
    with DemoStore.open(tmp_path / "whole.zarr") as whole, DemoStore.open(tmp_path / "parts.zarr") as parts:
        for one, two in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(one.action, two.action)


def _double():
    return lambda job: job * 2


def _fail():
    def job(number):
        raise ValueError(f"no {number}")

    return job


def _die():
    return lambda _job: os._exit(7)


def _die_at_once():
    os._exit(3)


def test_results_come_in_order():
    with Workers(_double, 2) as workers:
        assert list(workers.map(range(20))) == [2 * number for number in range(20)]


def test_a_failing_job_and_a_dead_worker_are_reported():
    with Workers(_fail, 1) as workers, pytest.raises(WorkerFailed, match="no 3"):
        list(workers.map([3]))
    for setup in (_die, _die_at_once):
        with Workers(setup, 1) as workers, pytest.raises(WorkerFailed, match="died"):
            list(workers.map([3]))


def _killed_somewhere(out, rng, number):
    """Kill -9 the command at a random moment, from its first second to well into collecting; return the steps it had shown."""
    command = [sys.executable, "-m", "robot_learning.cli.main", "collect", f"out={out}", "minutes=100", "episode_seconds=1"]
    with subprocess.Popen([*command, f"workers={2 * (number % 2)}"], stderr=subprocess.PIPE) as process:
        shown = b""
        if number % 4 > 1:
            while b"%|" not in shown or b" 0/" in shown:  # until the first episode is there
                shown = process.stderr.read1()
        time.sleep(rng.uniform(0.0, 2.0))
        process.send_signal(signal.SIGKILL)
        shown += process.stderr.read()
    return max((int(steps) for steps in re.findall(rb"(\d+)/120000", shown)), default=0)


def _survives(folder, kills):
    rng = np.random.default_rng(0)
    for number in range(kills):
        out = folder / f"{number}.zarr"
        shown = _killed_somewhere(out, rng, number)
        if not out.exists():
            assert shown == 0
            DemoStore.create(out, PlayTableRobot().spec).close()  # what was half made is not in the way
        with DemoStore.open(out) as store:
            assert store.n_steps >= shown, f"kill {number}: {shown} steps were reported, {store.n_steps} are there"
            assert store.verify() == []


def test_kill_9_loses_no_finished_episode(tmp_path):
    _survives(tmp_path, 20)


@pytest.mark.slow
def test_a_hundred_kills_lose_no_finished_episode(tmp_path):
    _survives(tmp_path, 100)
