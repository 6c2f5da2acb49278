"""Twins in processes of their own, as `robot-learning twin` starts them: ports, memories, commands, and the whole path."""

import contextlib
import os
import subprocess
import sys
import threading
import time

import pytest

from robot_learning.cli.twin import listen
from robot_learning.core.errors import HardwareError, UnknownName
from robot_learning.hardware.arms import so101
from robot_learning.hardware.buses.bus import UNHURRIED
from robot_learning.hardware.twin.station import Station


@pytest.fixture
def station(tmp_path):
    with Station("so101", ("follower",), tmp_path) as station:
        yield station


def opened(port):
    bus = so101.bus(str(port), UNHURRIED)
    bus.connect()
    return bus


def test_an_arm_answers_and_obeys_commands_until_it_is_stopped(station):
    port = station.ports["follower"]
    bus = opened(port)
    assert bus.scan(range(1, 7)) == dict.fromkeys(range(1, 7), 777)
    station.tell("follower", ["heat", "3", "60"])
    assert bus.read("present_temperature", "elbow_flex") in (59, 60)
    station.tell("follower", ["unplug"])
    while port.exists():
        time.sleep(0.01)
    station.tell("follower", ["plug"])
    bus.close()
    while not port.exists():
        time.sleep(0.01)
    bus = opened(port)
    assert bus.ping(1)
    bus.close()


def test_wrong_commands_are_told_and_change_nothing(station, capsys):
    with pytest.raises(UnknownName, match="follower"):
        station.tell("leader", ["plug"])
    with pytest.raises(HardwareError, match="unknown command"):
        station.tell("follower", ["jump"])
    listen(station, ["follower jump\n", "\n", "help\n", "quit\n", "follower unplug\n"])
    said = capsys.readouterr()
    assert "unknown command 'jump'" in said.err
    assert "hand middle|sweep" in said.out
    assert station.ports["follower"].exists()


def test_what_servos_keep_outlasts_the_twin(tmp_path):
    with Station("so101", ("follower",), tmp_path) as station:
        bus = opened(station.ports["follower"])
        bus.write("lock", "gripper", 0)
        bus.write("homing_offset", "gripper", 123)
        bus.close()
    assert not station.ports["follower"].exists()
    with Station("so101", ("follower",), tmp_path) as station:
        bus = opened(station.ports["follower"])
        assert bus.read("homing_offset", "gripper") == 123
        bus.close()


def test_an_arm_that_there_is_no_twin_of_is_told(tmp_path):
    with pytest.raises(UnknownName, match="so101"):
        Station("so102", ("follower",), tmp_path)


class Person:
    """Types what docs/so101.md says into `calibrate`, once the twin's hand has done it."""

    PAUSES = (("middle", 3.0), ("sweep", 32.0), ("rest", 4.0))

    def __init__(self, station, name, process):
        self.station, self.name, self.process = station, name, process

    def work(self):
        for action, seconds in self.PAUSES:
            time.sleep(3.0)
            self.station.tell(self.name, ["hand", action])
            time.sleep(seconds)
            with contextlib.suppress(BrokenPipeError):  # it ended with an error, which the test shows
                self.process.stdin.write("\n")
                self.process.stdin.flush()


@pytest.mark.slow
def test_the_page_works_word_for_word(tmp_path):
    run = [sys.executable, "-m", "robot_learning.cli.main"]
    quiet = os.environ | {"ROBOT_LEARNING_TRACEBACK": "1"}
    calibrations = tmp_path / "calibrations"
    with Station("so101", ("follower", "leader"), tmp_path) as station:
        processes = []
        for name in station.ports:
            arguments = [
                "calibrate",
                "so101",
                "--role",
                name,
                "--port",
                str(station.ports[name]),
                "--folder",
                str(calibrations),
            ]
            process = subprocess.Popen(
                run + arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=quiet
            )
            thread = threading.Thread(target=Person(station, name, process).work)
            thread.start()
            processes.append((name, process, thread))
        for name, process, thread in processes:
            thread.join()
            process.stdin.close()
            process.stdin = None
            said, _ = process.communicate(timeout=60)
            assert process.returncode == 0, said
            assert f"{calibrations / name}/" in said
        station.tell("leader", ["hand", "wave"])
        robot = [f"robot.port={station.ports['follower']}", f"robot.calibrations={calibrations}"]
        leader = [f"teleop.port={station.ports['leader']}", f"teleop.calibrations={calibrations}"]
        said = finished([*run, "teleoperate", *robot, *leader, "seconds=8"])
        assert "max_steps after 400 steps" in said
        store, out = tmp_path / "wave.zarr", tmp_path / "wave"
        recorded = ["record", *robot, *leader, f"out={store}", "episodes=3", "instruction=wave"]
        said = finished([*run, *recorded], *["\n", "s\n"] * 3)
        assert "3 episodes recorded (3 success)" in said
        trained = ["policy=act_small", "data=so101", "learner=act", "learner.lr=1e-3", f"data.stores=[{store}]", "steps=20"]
        finished([*run, "train", *trained, f"out={out}", "data.validation=0"])
        deployed = [f"checkpoint={out}/checkpoints/last", f"start={store}:0@0", "seconds=4", f"out={tmp_path}/deploy"]
        said = finished([*run, "deploy", "robot=so101", *robot, *deployed, "execution.execute=4"])
        assert "(max_steps) after 200 steps" in said


def finished(command, *typed, pause_s=5.0):
    """What a command printed, given lines to read one after the other; fails where it does."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, text=True, **pipes)

    def write():
        for line in typed:
            time.sleep(pause_s)
            process.stdin.write(line)
            process.stdin.flush()

    writer = threading.Thread(target=write)
    writer.start()
    said = process.stdout.read()
    writer.join()
    process.stdin.close()
    process.stdout.close()
    assert process.wait(timeout=60) == 0, said
    return said
