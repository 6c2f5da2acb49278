"""Demonstrations by experts: successes are kept in order, whatever the workers, and failures are counted."""

from functools import partial

import numpy as np
import pytest

from robot_learning.cli.main import main
from robot_learning.collection.demonstrations import FIRST_SEED, Expert, demonstrate
from robot_learning.core.errors import ConfigError, RobotLearningError, UnknownName
from robot_learning.core.protocols import ExpertSuite
from robot_learning.core.types import End, Trial
from robot_learning.datasets.store import DemoStore
from robot_learning.sim.suites.play_table import PlayTableSuite
from robot_learning.sim.suites.pusht import PushTSuite
from tests.runtime.point_mass import SPEC, PointMass

pytestmark = pytest.mark.filterwarnings("ignore::tqdm.TqdmWarning")


class Pusher:
    """Flies the point mass beyond x = 2 m, but gives up after one step where ``fails`` says so of the trial's seed."""

    source = "pusher"

    def __init__(self, fails):
        self._fails = fails

    def reset(self, *, seed=None, goal=None):
        self._gives_up, self._acted = self._fails(seed), False

    def act(self, observation):
        if self._gives_up and self._acted:
            return End("gave up")
        self._acted = True
        return np.array([1.0, 0.0], np.float32)


def every_third(seed):
    return seed % 3 == 0


def always(seed):
    return True


class Plane:
    """Two tasks on the point mass: to be right of 2 m, and of 3 m."""

    name = "plane"
    tasks = ("near", "far")

    def __init__(self, fails=every_third):
        self._fails = fails

    def make_robot(self):
        return PointMass()

    def trials(self, per_task, *, seed):
        return [Trial(task, 10 * seed + i, {}, 200, None, f"go {task}") for task in self.tasks for i in range(per_task)]

    def score(self, trial, first, current):
        return float(current["position"][0] > {"near": 2.0, "far": 3.0}[trial.task])

    def expert(self, task):
        return Pusher(self._fails)


def record(path, episodes=4, suite=Plane, expert=None, **options):
    """Demonstrate into a new or existing store; return the attempts made."""
    store = DemoStore.open(path, "a") if path.exists() else DemoStore.create(path, SPEC)
    with store:
        return list(demonstrate(store, suite, expert or Expert(), episodes=episodes, seed=0, **{"workers": 0, **options}))


def kept(path):
    """Return task and seed of every episode of a store."""
    with DemoStore.open(path) as store:
        return [(meta["task"], meta["seed"]) for meta in store.table["meta"]]


# every third seed fails: of 10^10 (1 more than a multiple of 3) and on, the third, the sixth, ...
FIRST = 10 * FIRST_SEED
ORDER = (
    [("near", FIRST + i) for i in (0, 1, 3)]
    + [("far", FIRST + i) for i in (0, 1, 3)]
    + [("near", FIRST + 4), ("far", FIRST + 4)]
)


def test_the_first_successes_of_every_task_are_kept(tmp_path):
    attempts = record(tmp_path / "plane.zarr")
    assert kept(tmp_path / "plane.zarr") == ORDER
    assert [bool(attempt.outcome.success) for attempt in attempts] == [True, True, False, True] * 2 + [True] * 2
    with DemoStore.open(tmp_path / "plane.zarr") as store:
        assert store.verify() == []
        assert all(store.table["success"])
        assert store[3].instruction == "go far"
        assert store[3].source[0] == "pusher"
        assert store[3].observation["position"][-1, 0] > 3.0 >= store[3].observation["position"][-2, 0]


def test_workers_do_not_change_the_store(tmp_path):
    record(tmp_path / "here.zarr")
    record(tmp_path / "there.zarr", workers=2)
    with DemoStore.open(tmp_path / "here.zarr") as here, DemoStore.open(tmp_path / "there.zarr") as there:
        for one, two in zip(here, there, strict=True):
            np.testing.assert_array_equal(one.action, two.action)
            np.testing.assert_array_equal(one.observation["position"], two.observation["position"])


def test_it_goes_on_where_it_was_stopped(tmp_path):
    with DemoStore.create(tmp_path / "parts.zarr", SPEC) as store:
        attempts = demonstrate(store, Plane, Expert(), episodes=4, seed=0, workers=0)
        for _ in range(4):  # near: two successes, a failure, a success
            next(attempts)
        attempts.close()
    record(tmp_path / "parts.zarr")
    assert sorted(kept(tmp_path / "parts.zarr")) == sorted(ORDER)
    assert record(tmp_path / "parts.zarr") == [], "there are enough"


def test_failures_are_kept_on_request(tmp_path):
    record(tmp_path / "all.zarr", keep_failures=True)
    with DemoStore.open(tmp_path / "all.zarr") as store:
        assert list(store.table["success"]) == [True, True, False, True] * 2


def test_an_expert_that_always_fails_is_given_up(tmp_path):
    with pytest.raises(RobotLearningError, match="expert of 'near': expected 2 successes in 20 attempts, got 0"):
        record(tmp_path / "none.zarr", episodes=2, suite=partial(Plane, always))


def test_lingering_goes_on_after_success(tmp_path):
    record(tmp_path / "short.zarr", episodes=1)
    record(tmp_path / "long.zarr", episodes=1, expert=Expert(linger=5))
    with DemoStore.open(tmp_path / "short.zarr") as short, DemoStore.open(tmp_path / "long.zarr") as long:
        assert [two.steps - one.steps for one, two in zip(short, long, strict=True)] == [5, 5]
        assert all(long.table["success"])
    with pytest.raises(ConfigError, match="linger: expected 0 or more"):
        Expert(linger=-1)


def test_collect_shows_how_the_play_tables_task_is_done(tmp_path, capsys):
    out = tmp_path / "door.zarr"
    assert isinstance(PlayTableSuite(), ExpertSuite)
    command = ["collect", f"out={out}", "task=play_table/push_red_button", "operator=expert", "episodes=2", "workers=0"]
    assert main(command) == 0
    assert "push_red_button: the expert succeeded in 2 of 2 attempts" in capsys.readouterr().out
    assert [task for task, _ in kept(out)] == ["push_red_button"] * 2


def test_a_suite_without_experts_and_impossible_orders_are_refused(tmp_path, capsys):
    with pytest.raises(ConfigError, match="expected a suite with experts, got 'pusht'"):
        Expert().actor(PushTSuite(), "pusht")
    with pytest.raises(UnknownName, match="push_red_button"):
        PlayTableSuite().expert("push_red_buton")
    with pytest.raises(ConfigError, match="expected action_mode=ee_delta, got joint_position"):
        PlayTableSuite(action_mode="joint_position").expert("push_red_button")
    assert main(["collect", f"out={tmp_path / 'x.zarr'}", "operator=expert", "task=pusht"]) == 2
    assert main(["collect", f"out={tmp_path / 'x.zarr'}", "operator=expert", "episodes=0"]) == 2
    assert "episodes: expected > 0, got 0" in capsys.readouterr().err
    assert not (tmp_path / "x.zarr").exists()
