"""Calibrating a twin by hand gives the true angles, however its servos are mounted; what goes wrong is told."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_learning.core.errors import BusError, ConfigError, HardwareError
from robot_learning.hardware.arms import so101
from robot_learning.hardware.arms.calibrate import calibrate
from robot_learning.hardware.arms.makers import FEETECH
from robot_learning.hardware.arms.motors import Motors
from robot_learning.hardware.calibration import Calibration, history, load
from robot_learning.hardware.twin.arm import ArmBody
from robot_learning.hardware.twin.bank import ServoBank
from robot_learning.hardware.twin.direct import DirectPort
from robot_learning.hardware.twin.feetech import FeetechServo
from robot_learning.hardware.twin.line import Line
from tests.hardware.twins import so101_calibration, so101_line


class TwinGuide:
    """A person who does with the twin what is asked, and no more than it has patience for."""

    def __init__(self, line, port, swept=True):
        self.line, self.port, self.swept, self.lines = line, port, swept, []

    def wait(self, text):
        self.line.bank.body.hand.do("rest" if "rest" in text else "middle")
        self.port.sleep(4.0)

    def watch(self, text, poll):
        if self.swept:
            self.line.bank.body.hand.do("sweep")
        for _ in range(800):
            self.port.sleep(0.05)
            self.lines = poll()


def new_line(mounted):
    """An arm fresh from assembly: factory settings, encoders wherever they came to stand."""
    servos = [FeetechServo(number, mounted=place) for number, place in enumerate(mounted, 1)]
    return Line(ServoBank(FEETECH.wire, servos, ArmBody("so101")))


def calibrated(line, name="follower", **arguments):
    port = DirectPort(line)
    bus = so101.bus(port)
    bus.connect()
    guide = TwinGuide(line, port, **arguments)
    found = calibrate(bus, FEETECH, so101.plan(), guide, name=name, operator="ada", adapter="usb-1")
    return found, bus, guide


@settings(max_examples=3, deadline=None)
@given(st.lists(st.integers(0, 4095), min_size=6, max_size=6))
def test_it_finds_the_true_angles_however_the_servos_are_mounted(mounted):
    line = new_line(mounted)
    found, bus, guide = calibrated(line)
    line.bank.body.hand.do("off")
    for pose in ({"shoulder_pan": 0.0}, {"shoulder_pan": 1.5, "elbow_flex": -1.2, "wrist_roll": 2.0, "gripper": 1.0}):
        line.bank.body.place(pose)
        seen = Motors(bus, FEETECH, found).read().position
        assert seen == pytest.approx(line.bank.motion().position, abs=0.04)
    assert all(0 <= joint.low < joint.high <= 4095 for joint in found.joints.values())
    assert len(guide.lines) == 6


def test_the_servos_keep_ranges_offsets_and_protection_without_power():
    line = new_line([2048, 300, 4000, 1000, 2500, 3000])
    found, bus, _ = calibrated(line)
    for servo in line.bank.servos:
        servo.power_cycle()
    for joint, expected in found.joints.items():
        assert bus.read("homing_offset", joint) == expected.homing_offset
        assert bus.read("min_position", joint) == expected.low
        assert bus.read("max_position", joint) == expected.high
        assert bus.read("lock", joint) == 1
    assert bus.read("overload_torque", "gripper") == 25
    assert Motors(bus, FEETECH, found).check() == []


def test_a_joint_that_was_not_moved_is_named_and_nothing_is_saved():
    with pytest.raises(HardwareError, match=r"shoulder_pan: moved over \d+ steps, expected about 2503; move it to both stops"):
        calibrated(so101_line(), swept=False)


def test_missing_servos_are_named_with_what_to_do():
    line = so101_line()
    line.silent = frozenset({2, 5})
    with pytest.raises(BusError, match=r"no answer from shoulder_lift \(id 2\), wrist_roll \(id 5\).*motors setup"):
        calibrated(line)


def test_a_servo_of_another_model_is_named():
    line = so101_line()
    line.bank.servos[2].memory["model"] = 1284
    with pytest.raises(BusError, match=r"other models at ids \{3: 1284\}"):
        calibrated(line)


def test_a_joint_that_passes_the_end_of_a_turn_is_named():
    line = so101_line()
    port = DirectPort(line)
    bus = so101.bus(port)
    bus.connect()

    class Careless(TwinGuide):
        def wait(self, text):
            line.bank.body.place({"wrist_roll": 2.8})  # at a stop, where the middle was asked for

        def watch(self, text, poll):
            for angle in np.linspace(2.8, -2.7, 60):
                line.bank.body.place({"wrist_roll": angle})
                poll()

    with pytest.raises(HardwareError, match=r"wrist_roll: its position jumped .* past the end of a turn"):
        calibrate(bus, FEETECH, so101.plan(), Careless(line, port), name="x", operator="", adapter="")


# the file


def test_it_is_kept_beside_the_ones_before(tmp_path):
    first = so101_calibration(so101_line())
    later = Calibration(first.arm, first.name, first.joints, "2026-11-22T09:30:00+00:00", "bob", "usb-2")
    paths = [calibration.save(tmp_path) for calibration in (first, later)]
    assert load(tmp_path, "follower") == later
    assert load(paths[0], "follower") == first
    assert history(tmp_path, "follower") == paths[::-1]
    assert paths[1] == tmp_path / "follower" / "2026-11-22T09-30-00.json"


def test_a_missing_or_foreign_file_is_told(tmp_path):
    so101_calibration(so101_line(), "left").save(tmp_path)
    with pytest.raises(ConfigError, match=r"calibrated arms there: left; run `robot-learning calibrate"):
        load(tmp_path, "right")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ConfigError, match=r"bad\.json: expected a calibration"):
        load(tmp_path / "bad.json", "x")
    (tmp_path / "bad.json").write_text(json.dumps({"shoulder_pan": {"id": 1}}))
    with pytest.raises(ConfigError, match="robot-learning calibrate"):
        load(tmp_path / "bad.json", "x")
    (tmp_path / "bad.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(ConfigError, match="expected format 1, got 2"):
        load(tmp_path / "bad.json", "x")


@pytest.mark.parametrize("name", ["", "../x", ".hidden", "a/b"])
def test_names_that_are_paths_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="name of an arm"):
        load(tmp_path, name)


def test_an_aborted_calibration_leaves_the_former_one_in_force():
    line = so101_line()
    before = so101_calibration(line)

    class Leaving(TwinGuide):
        def watch(self, text, poll):
            raise KeyboardInterrupt

    port = DirectPort(line)
    bus = so101.bus(port)
    bus.connect()
    with pytest.raises(KeyboardInterrupt):
        calibrate(bus, FEETECH, so101.plan(), Leaving(line, port), name="x", operator="", adapter="")
    line.bank.body.hand.do("middle")
    port.sleep(3.0)
    assert Motors(bus, FEETECH, before).check() == []
    assert all(servo.memory["lock"] for servo in line.bank.servos)


def test_motors_that_are_on_go_off_only_after_a_word():
    line = so101_line()
    port = DirectPort(line)
    bus = so101.bus(port)
    bus.connect()
    Motors(bus, FEETECH, so101_calibration(line)).hold()
    torque = []

    class Careful(TwinGuide):
        def wait(self, text):
            torque.append((text, [servo.memory["torque_enable"] for servo in line.bank.servos]))
            if len(torque) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(bus, FEETECH, so101.plan(), Careful(line, port), name="x", operator="", adapter="")
    assert "go off now: hold the arm" in torque[0][0]
    assert torque[0][1] == [1] * 6
    assert torque[1][1] == [0] * 6
