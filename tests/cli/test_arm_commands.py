"""find, motors, calibrate and teleoperate as a person types them, on a twin behind a real port."""

import io

import pytest

from robot_learning.cli import calibrate, find, motors, teleoperate
from robot_learning.cli.main import main
from robot_learning.core.errors import ConfigError, NotConnected
from robot_learning.hardware.arms import so101
from robot_learning.hardware.arms.makers import FEETECH
from robot_learning.hardware.buses.bus import UNHURRIED, Patience
from robot_learning.hardware.buses.feetech import MODELS
from robot_learning.hardware.twin.station import Station


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with Station("so101", ("follower",), tmp_path_factory.mktemp("twin")) as station:
        yield str(station.ports["follower"])


@pytest.fixture
def unhurried(monkeypatch):
    """Two rates only, and time for a twin on a busy machine."""
    monkeypatch.setattr(find, "KINDS", ((FEETECH, (1_000_000, 500_000), MODELS),))
    monkeypatch.setattr(find, "PATIENCE", Patience(answer_s=0.2, budget_s=2.0))


@pytest.mark.usefixtures("unhurried")
def test_find_motors_lists_who_answers(port, capsys):
    assert find.main(["motors", "--port", port, "--ids", "5-8"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split() for line in said] == [
        ["id", "5", "sts3215", "feetech,", "1000000", "bit/s"],
        ["id", "6", "sts3215", "feetech,", "1000000", "bit/s"],
    ]


def test_find_motors_says_when_nobody_answers(port, capsys):
    assert find.main(["motors", "--port", port, "--ids", "9"]) == 1
    assert "no servo answers at any rate" in capsys.readouterr().err


@pytest.mark.parametrize("ids", ["x", "5-", "9-3", "0-300"])
def test_ids_that_make_no_sense_are_refused(port, ids):
    with pytest.raises(ConfigError, match="ids: expected FIRST-LAST"):
        find.main(["motors", "--port", port, "--ids", ids])


def test_find_ports_says_which_there_are(monkeypatch, capsys):
    monkeypatch.setattr(find, "serial_ports", lambda: [("/dev/serial/by-id/usb-1a86", "USB Single Serial")])
    assert find.main(["ports"]) == 0
    assert capsys.readouterr().out == "/dev/serial/by-id/usb-1a86\tUSB Single Serial\n"
    monkeypatch.setattr(find, "serial_ports", list)
    assert find.main(["ports"]) == 1
    assert "is the cable in" in capsys.readouterr().err


def test_the_port_that_goes_away_is_the_one(monkeypatch, capsys):
    present = [[("/dev/a", ""), ("/dev/b", "")], [("/dev/a", "")]]
    monkeypatch.setattr(find, "serial_ports", lambda: present.pop(0) if len(present) > 1 else present[0])
    monkeypatch.setattr("builtins.input", lambda _: "")
    assert find.main(["ports", "--watch"]) == 0
    assert capsys.readouterr().out == "/dev/b\n"
    with pytest.raises(NotConnected, match="expected one port to go away, got none"):
        find.main(["ports", "--watch"])


def test_release_waits_for_the_person_and_takes_the_torque_off(port, monkeypatch, capsys):
    bus = so101.bus(port, UNHURRIED)
    bus.connect()
    bus.write("goal_position", "gripper", bus.read("present_position", "gripper"))
    bus.write("torque_enable", "gripper", 1)
    bus.close()
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert motors.main(["release", "so101", "--port", port]) == 0
    said = capsys.readouterr().out
    assert "will go limp" in said
    bus.connect()
    assert bus.read("torque_enable", "gripper") == 0
    bus.close()


def test_calibrating_with_nobody_there_ends_with_an_error(port, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(ConfigError, match="a person who presses Enter"):
        calibrate.main(["so101", "--port", port, "--folder", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_an_arm_without_calibration_is_told_what_to_run(port, tmp_path, capsys):
    assert main(["teleoperate", f"robot.port={port}", f"robot.calibrations={tmp_path}", "teleop.port=x"]) == 2
    assert "expected a calibration, got none" in capsys.readouterr().err


def test_no_port_is_told_with_how_to_find_it(capsys):
    assert main(["teleoperate"]) == 2
    assert "`robot-learning find ports` lists them" in capsys.readouterr().err
    assert "robot.port" in (teleoperate.__doc__ or "") + " ".join(teleoperate.EXAMPLES)
