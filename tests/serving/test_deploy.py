import gc
import json
import os
import signal
import sys
import threading

import numpy as np
import pytest
import torch

from robot_learning.core.errors import ConfigError, SpecMismatch
from robot_learning.core.spec import RobotSpec
from robot_learning.datasets.store import DemoStore
from robot_learning.runtime.clock import WallClock
from robot_learning.runtime.guards import Guards
from robot_learning.serving.deploy import Execution, deploy, open_record
from robot_learning.serving.realtime import lower_inference, set_priority, undisturbed
from tests.runtime.fake_time import FakeTime
from tests.runtime.point_mass import SPEC, PointMass
from tests.runtime.policies import GoToGoal

GOAL = {"position": np.array([0.3, 0.4], np.float32)}
SURE = Execution(patience=1000.0)
"""Waits for every chunk, however busy the machine."""


def fake_clock():
    source = FakeTime()
    return WallClock(SPEC.dt, now=source.now, sleep=source.sleep)


def test_goes_to_the_goal_and_records(tmp_path):
    robot = PointMass()
    with open_record(tmp_path / "episodes.zarr", robot) as store:
        report = deploy(
            GoToGoal(),
            robot,
            GOAL,
            seconds=2.0,
            execution=SURE,
            seed=3,
            store=store,
            meta={"goal": "here"},
            progress=False,
            clock=fake_clock(),
        )
    assert report.outcome.reason == "max_steps"
    assert report.outcome.success is None, "nobody judged it"
    assert (report.timing.steps, report.chunks, report.held) == (40, 40, 0)
    assert report.timing.rate_hz == pytest.approx(20.0, abs=1e-3)
    assert not robot.connected
    assert robot.stops == 1
    with DemoStore.open(tmp_path / "episodes.zarr") as recorded:
        episode = recorded[0]
    assert episode.steps == 40
    assert episode.meta["seed"] == 3
    assert episode.meta["goal"] == "here"
    assert set(episode.source) == {"policy"}
    np.testing.assert_allclose(episode.observation["position"][-1], [0.3, 0.4], atol=0.01)
    assert (report.store, report.episode) == (str(tmp_path / "episodes.zarr"), 0)
    json.dumps(report.to_json())


def test_the_report_reads_well():
    report = deploy(GoToGoal(), PointMass(), GOAL, seconds=2.0, execution=SURE, progress=False, clock=fake_clock())
    lines = str(report).splitlines()
    assert "20.00 Hz of 20 Hz" in lines[2]
    assert lines[6] == "  overruns  0 in the first second, 0 after it"
    assert lines[-1] == "  record    not recorded"


@pytest.mark.parametrize("execution", [Execution(asynchronous=False), Execution(execute=2, ensemble=0.1, patience=1e3)])
def test_other_ways_to_execute(execution):
    report = deploy(GoToGoal(), PointMass(), GOAL, seconds=0.5, execution=execution, progress=False, clock=fake_clock())
    assert report.outcome.steps == 10
    assert report.held == 0
    json.dumps(report.to_json(), allow_nan=False)


def test_a_robot_that_does_not_fit_lists_every_difference():
    policy = GoToGoal()
    other = {**SPEC.observation, "gripper": SPEC.observation["velocity"]}
    policy.spec = RobotSpec(observation=other, action=SPEC.action, control_hz=10.0)
    robot = PointMass()
    with pytest.raises(SpecMismatch, match=r"(?s)2 difference.*'gripper': missing.*control_hz"):
        deploy(policy, robot, progress=False)
    assert robot.stops == 0


def test_a_run_needs_a_step():
    with pytest.raises(ConfigError, match=r"at least one control period of 0.05 s"):
        deploy(GoToGoal(), PointMass(), seconds=0.01)


def test_a_guard_that_stops_ends_with_its_reason():
    class Broken(GoToGoal):
        def act(self, window, goal):
            return super().act(window, goal) * np.float32(np.nan)

    report = deploy(Broken(), PointMass(), GOAL, seconds=1.0, execution=SURE, progress=False, clock=fake_clock())
    assert report.outcome.reason.startswith("safety: action [0] (x): expected a finite value, got nan")
    assert report.outcome.success is False


def test_an_error_of_the_policy_closes_the_robot():
    class Broken(GoToGoal):
        def act(self, window, goal):
            if threading.current_thread() is not threading.main_thread():
                raise RuntimeError("out of memory")
            return super().act(window, goal)

    robot, before = PointMass(), threading.active_count()
    with pytest.raises(RuntimeError, match="out of memory"):
        deploy(Broken(), robot, GOAL, progress=False, clock=fake_clock())
    assert not robot.connected
    assert threading.active_count() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_and_saves(tmp_path, number):
    class Operator:
        def on_reset(self, observation, *, goal, seed):
            pass

        def on_step(self, step):
            if step.index == 4:
                os.kill(os.getpid(), number)

        def on_end(self, outcome):
            pass

    with open_record(tmp_path / "episodes.zarr", PointMass()) as store:
        report = deploy(
            GoToGoal(),
            PointMass(),
            GOAL,
            execution=SURE,
            store=store,
            observers=[Operator()],
            progress=False,
            clock=fake_clock(),
        )
        assert report.outcome.reason == "stopped by the operator"
        assert report.outcome.steps == 5
        assert store[0].steps == 5


def test_records_are_appended_to_and_checked(tmp_path):
    for _ in range(2):
        with open_record(tmp_path / "episodes.zarr", PointMass()) as store:
            deploy(GoToGoal(), PointMass(), GOAL, seconds=0.2, store=store, progress=False, clock=fake_clock())
    assert len(DemoStore.open(tmp_path / "episodes.zarr")) == 2
    other = PointMass()
    other.spec = RobotSpec(SPEC.observation, SPEC.action, control_hz=10.0)
    with pytest.raises(SpecMismatch, match="recorded with another robot"):
        open_record(tmp_path / "episodes.zarr", other)
    open_record(tmp_path / "episodes.zarr", PointMass()).close()


def test_progress_goes_to_the_terminal(capsys):
    deploy(GoToGoal(), PointMass(), GOAL, seconds=1.0, execution=SURE, guard=Guards(), clock=fake_clock())
    assert "latency p99" in capsys.readouterr().err


def test_everything_is_as_before_afterwards():
    def state():
        return gc.isenabled(), torch.get_num_threads(), sys.getswitchinterval(), gc.get_freeze_count()

    before = state()
    with undisturbed() as granted:
        assert isinstance(granted, bool)
        assert not gc.isenabled()
        assert torch.get_num_threads() == 1
    assert state() == before
    assert not hasattr(os, "sched_getscheduler") or os.sched_getscheduler(0) == os.SCHED_OTHER


def test_inference_ranks_below_control():
    ranks = []
    with undisturbed() as granted:

        def look():
            lower_inference()
            ranks.append(os.sched_getparam(0).sched_priority)

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    if not granted:
        pytest.skip("this user may not have real-time priority")
    assert ranks == [1]


def test_a_refused_priority_is_no_error(monkeypatch):
    def refuse(*arguments):
        raise PermissionError("no rtprio")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert set_priority(1) is False
