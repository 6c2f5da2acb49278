"""Recording by teleoperation, on twins in virtual time: what keys do, what the store holds, what survives."""

import os
import pty
import shutil
import termios
from types import SimpleNamespace

import pytest

from robot_learning.collection.keys import TypedKeys, single_keys
from robot_learning.collection.record import Session
from robot_learning.core.errors import ConfigError, SafetyStop, Stale
from robot_learning.datasets.store import DemoStore
from robot_learning.runtime.guards import Guards
from tests.hardware.twins import TwinClock, so101_arm, so101_leader, so101_line


class Script:
    """Presses keys at given polls."""

    def __init__(self, *presses):
        self.presses, self.polls = list(presses), 0

    def poll(self):
        self.polls += 1
        if self.presses and self.polls >= self.presses[0][0]:
            self.polls = 0
            return self.presses.pop(0)[1]
        return ""


@pytest.fixture
def place(tmp_path):
    return tmp_path / "play.zarr"


def record(place, keys, episodes, said=None, **arguments):
    lines = so101_line(), so101_line()
    lines[0].bank.body.hand.do("wave")
    leader, follower = so101_leader(lines[0]), so101_arm(lines[1])
    ports = follower.motors.bus.port, leader.motors.bus.port
    with DemoStore.create(place, follower.spec) as store:
        session = Session(
            follower,
            leader,
            store,
            keys,
            instruction="wave",
            guard=Guards(),
            make_clock=lambda dt: TwinClock(dt, *ports),
            say=[].append if said is None else said.append,
            **arguments,
        )
        report = session.run(episodes, operator="ada")
    return report, lines


def test_episodes_are_kept_with_verdict_instruction_operator_and_true_times(place):
    said = []
    keys = Script((20, "\n"), (50, "s"), (5, "\n"), (40, "f"), (5, "\n"), (30, "\n"))
    report, _ = record(place, keys, 3, said)
    assert report.episodes == 3
    assert dict(report.verdicts) == {"success": 1, "failure": 1, "no verdict": 1}
    assert any("Enter begins one" in line for line in said)
    with DemoStore.open(place) as store:
        store.verify()
        episodes = list(store)
        assert [episode.outcome.success for episode in episodes] == [True, False, None]
        assert [episode.steps for episode in episodes] == [50, 40, 30]
        for episode in episodes:
            assert episode.instruction == "wave"
            assert episode.meta["operator"] == "ada"
            assert set(episode.source) == {"human"}
            assert (episode.stream_time["joints"] <= episode.time).all()
    assert "1 success, 1 failure, 1 no verdict" in str(report)


def test_redo_drops_an_episode_and_quit_ends(place):
    report, lines = record(place, Script((5, "\n"), (20, "r"), (5, "\n"), (20, "s"), (5, "\n"), (20, "q")), 10)
    assert (report.episodes, report.dropped) == (1, 2)
    with DemoStore.open(place) as store:
        assert len(store) == 1
    assert not any(servo.memory["torque_enable"] for servo in lines[1].bank.servos), "the follower is parked"


def test_an_episode_ends_by_itself_after_its_time(place):
    report, _ = record(place, Script((5, "\n")), 1, episode_seconds=0.5)
    with DemoStore.open(place) as store:
        assert store[0].steps == 25
        assert store[0].outcome.reason == "max_steps"
    assert report.timing.steps == 25


def test_what_was_recorded_before_a_fault_is_kept(place):
    class Cutting(Script):
        def poll(self):
            if not self.presses and self.polls > 60:
                self.lines[0].silent = frozenset(range(1, 7))
            return super().poll()

    keys = Cutting((5, "\n"), (20, "s"), (5, "\n"))
    lines = so101_line(), so101_line()
    keys.lines = lines
    leader, follower = so101_leader(lines[0]), so101_arm(lines[1])
    ports = follower.motors.bus.port, leader.motors.bus.port
    with DemoStore.create(place, follower.spec) as store:
        session = Session(
            follower, leader, store, keys, guard=Guards(), make_clock=lambda dt: TwinClock(dt, *ports), say=lambda _: None
        )
        with pytest.raises(Stale, match="leader"):
            session.run(5)
    with DemoStore.open(place) as store:
        assert [episode.outcome.success for episode in store] == [True, None]
        assert store[1].outcome.reason.startswith("Stale")
        assert store[1].steps > 50


@pytest.mark.parametrize("presses", [(), ((5, "\n"),)], ids=["between", "within"])
def test_a_guards_stop_ends_the_session_and_is_said(place, presses):
    class Refusing(Guards):
        def check(self, observation, action):
            self.seen = getattr(self, "seen", 0) + 1
            if self.seen > 30:
                raise SafetyStop("too wild")
            return action

    lines = so101_line(), so101_line()
    leader, follower = so101_leader(lines[0]), so101_arm(lines[1])
    ports = follower.motors.bus.port, leader.motors.bus.port
    with DemoStore.create(place, follower.spec) as store:
        session = Session(
            follower, leader, store, Script(*presses), guard=Refusing(), make_clock=lambda dt: TwinClock(dt, *ports), say=str
        )
        report = session.run(5)
    assert report.safety
    assert "too wild" in str(report)
    assert "failure" not in report.verdicts


def test_a_full_disk_is_told_before_anything_moves(place, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1024**3))
    with pytest.raises(ConfigError, match=r"expected 2 GB of free disk, got 1\.0"):
        record(place, Script(), 1)


def test_senseless_numbers_are_refused(place):
    with pytest.raises(ConfigError, match="at least one episode"):
        record(place, Script(), 0)


def test_lines_from_a_pipe_are_keys():
    read, write = os.pipe()
    with os.fdopen(read) as stream:
        keys = TypedKeys(stream)
        assert keys.poll() == ""
        os.write(write, b"\ns")
        assert [keys.poll(), keys.poll()] == ["\n", ""], "half a line is no key yet"
        os.write(write, b"uccess\nf\n")
        assert [keys.poll(), keys.poll(), keys.poll()] == ["s", "f", ""]
        os.close(write)
        assert keys.poll() == "q", "nobody is there any more"


def test_a_terminal_hands_over_single_keys_and_is_given_back():
    near, far = pty.openpty()
    with open(far, closefd=False) as stream:
        before = termios.tcgetattr(far)
        with single_keys(stream) as keys:
            os.write(near, b"sf")
            assert [keys.poll(), keys.poll(), keys.poll()] == ["s", "f", ""]
        assert termios.tcgetattr(far) == before
    os.close(near)
    os.close(far)
