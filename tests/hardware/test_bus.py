"""A bus and virtual servos, in virtual time: values, retries, and errors that name the culprit."""

import pytest

from robot_learning.core.errors import BusError, ConfigError, MotorFault, NotConnected, UnknownName
from robot_learning.hardware.buses.bus import ServoBus
from robot_learning.hardware.buses.feetech import STS, FeetechWire
from robot_learning.hardware.buses.wire import BROADCAST, Packet
from tests.hardware.twins import MAKERS, direct, make_line

makers = pytest.mark.parametrize("maker", MAKERS)
BAUD = {"feetech": 1_000_000, "dynamixel": 57_600}


@pytest.fixture(params=MAKERS)
def connected(request):
    return direct(request.param, baud=BAUD[request.param])


def test_scan_finds_the_servos_and_their_models(connected):
    bus, line = connected
    model = line.bank.servos[0].memory["model"]
    assert bus.scan(range(1, 9)) == dict.fromkeys(range(1, 7), model)


def test_the_middle_is_read_at_zero(connected):
    bus, _ = connected
    positions = bus.sync_read("present_position")
    assert list(positions) == list(bus.motors)
    assert all(abs(value - 2048) < 40 for (value,) in positions.values()), "within what gravity did so far"


def test_registers_that_stand_apart_are_read_together(connected):
    bus, _ = connected
    both = bus.sync_read(["present_temperature", "present_position"], ["gripper"])
    assert both["gripper"][0] == bus.read("present_temperature", "gripper") == 25
    assert both["gripper"][1] == bus.read("present_position", "gripper")


def test_a_goal_is_reached_and_held_against_gravity(connected):
    bus, line = connected
    for motor in bus.motors:
        bus.write("goal_position", motor, bus.read("present_position", motor))
        bus.write("torque_enable", motor, 1)
    bus.sync_write("goal_position", dict.fromkeys(bus.motors, 1948))
    bus.port.sleep(1.5)
    for motor, (position,) in bus.sync_read("present_position").items():
        assert abs(position - 1948) < 25, motor
    assert line.bank.motion().velocity == pytest.approx(0, abs=0.02)


def test_without_torque_the_arm_falls(connected):
    bus, _ = connected
    bus.port.sleep(2.0)
    assert bus.read("present_position", "shoulder_lift") > 2200


def test_the_time_of_a_round_is_that_of_its_bytes_and_delays():
    bus, _ = direct(return_delay=0)
    began = bus.port.now()
    bus.sync_read("present_position")
    # 14 bytes ask, six answers of 8 bytes: 62 bytes of ten bits at 1 Mbit/s.
    assert bus.port.now() - began == pytest.approx(62 * 10 / 1e6)


def test_a_wrong_rate_is_silence(connected):
    bus, _ = connected
    bus.port.baud = 115_200
    with pytest.raises(BusError, match=r"gripper \(id 6\): no answer to `read present_position`"):
        bus.read("present_position", "gripper")


@makers
def test_noise_is_outlasted(maker):
    bus, line = direct(maker, baud=1_000_000, baud_rate=3 if maker == "dynamixel" else 0, return_delay=0)
    line.noise = 0.002
    for _ in range(300):
        began = bus.port.now()
        assert set(bus.sync_read("present_position")) == set(bus.motors)
        assert bus.port.now() - began <= bus.patience.budget_s + bus.patience.answer_s
    assert sum(health.silent for health in bus.health.values()) > 10, "the noise was there"
    assert bus.corrupt > 0


def test_wrong_checks_are_never_believed():
    bus, line = direct()
    line.wrong_checks = 0.3
    truth = 2048
    line.bank.servos[5].memory["torque_enable"] = 0
    for _ in range(50):
        assert abs(bus.read("present_position", "gripper") - truth) < 20
    assert bus.corrupt > 5


def test_a_silent_servo_is_named_within_the_budget(connected):
    bus, line = connected
    line.silent = frozenset({3})
    began = bus.port.now()
    with pytest.raises(BusError, match=r"twin, elbow_flex \(id 3\): no answer .*check power, cables and ids"):
        bus.sync_read("present_position")
    assert bus.port.now() - began <= bus.patience.budget_s + 1e-6
    assert bus.health["elbow_flex"].silent > 0
    assert bus.health["gripper"].silent == 0
    line.silent = frozenset()
    assert bus.sync_read("present_position")


def test_late_answers_are_not_taken_for_answers_to_something_else(connected):
    bus, line = connected
    bus.write("torque_enable", "gripper", 1)
    line.late_s = 0.012  # longer than a round waits, so the answer to one question arrives during the next
    assert bus.read("present_temperature", "gripper") == 25
    assert bus.health["gripper"].silent > 0
    line.late_s = 0.0
    assert bus.read("torque_enable", "gripper") == 1
    assert bus.read("present_temperature", "gripper") == 25


def test_a_pulled_cable_and_its_return(connected):
    bus, line = connected
    line.plugged = False
    with pytest.raises(NotConnected, match="went away; check its cable and power"):
        bus.sync_read("present_position")
    with pytest.raises(NotConnected, match="is the cable in"):
        bus.connect()
    line.plugged = True
    bus.connect()
    assert bus.sync_read("present_position")


def test_use_before_connect_is_refused():
    bus, _ = direct()
    bus.close()
    with pytest.raises(NotConnected, match="connect"):
        bus.read("model", "gripper")


def test_a_refusal_is_told_with_its_reason():
    bus, _ = direct("dynamixel", baud=57_600)
    bus.write("torque_enable", "gripper", 1)
    with pytest.raises(MotorFault, match=r"gripper \(id 6\): access denied"):
        bus.write("operating_mode", "gripper", 4)
    with pytest.raises(MotorFault, match="beyond the limit"):
        bus.write("goal_position", "gripper", 5000)


def test_wrong_names_and_values_are_refused_before_anything_is_sent(connected):
    bus, _ = connected
    with pytest.raises(UnknownName, match="present_position"):
        bus.read("present_positon", "gripper")
    with pytest.raises(UnknownName, match="gripper"):
        bus.read("present_position", "griper")
    with pytest.raises(ConfigError, match="gripper torque_enable: expected 0 to 255, got 256"):
        bus.sync_write("torque_enable", {"gripper": 256})


def test_two_motors_of_one_id_are_refused():
    with pytest.raises(ConfigError, match="different id"):
        ServoBus(direct()[0].port, FeetechWire(), STS, {"a": 1, "b": 1})


class TestFeetechServo:
    def test_kept_registers_forget_with_the_power_unless_unlocked(self):
        bus, line = direct()
        bus.write("homing_offset", "gripper", 7)
        line.bank.servos[5].power_cycle()
        assert bus.read("homing_offset", "gripper") == 0
        bus.write("lock", "gripper", 0)
        bus.write("homing_offset", "gripper", -7)
        line.bank.servos[5].power_cycle()
        assert bus.read("homing_offset", "gripper") == -7

    def test_kept_registers_do_not_change_while_the_torque_is_on(self):
        bus, _ = direct()
        bus.write("lock", "gripper", 0)
        bus.write("torque_enable", "gripper", 1)
        bus.write("homing_offset", "gripper", 7)
        assert bus.read("homing_offset", "gripper") == 0

    def test_the_present_position_is_the_encoders_minus_the_offset_within_a_turn(self):
        bus, _ = direct()
        for offset in (500, -500, 2047, -2047):
            bus.write("homing_offset", "gripper", offset)
            assert bus.read("present_position", "gripper") == pytest.approx((2048 - offset) % 4096, abs=10)

    def test_128_makes_here_the_middle(self):
        bus, line = direct()
        line.bank.body.place({"gripper": 1.0})
        assert bus.read("present_position", "gripper") == pytest.approx(2048 + 652, abs=12)
        bus.write("torque_enable", "gripper", 128)
        assert bus.read("present_position", "gripper") == pytest.approx(2048, abs=12)
        line.bank.servos[5].power_cycle()
        assert bus.read("homing_offset", "gripper") == pytest.approx(652, abs=12)

    def test_too_much_load_trips_and_weakens_it_until_the_torque_is_written(self):
        bus, line = direct()
        line.bank.servos[5].load = 0.95
        bus.port.sleep(2.5)
        bus.read("present_load", "gripper")
        assert bus.health["gripper"].alerts == ("overloaded",)
        assert line.bank.servos[5].drive().torque == pytest.approx(0.2)
        line.bank.servos[5].load = 0.0
        bus.write("torque_enable", "gripper", 1)
        assert bus.health["gripper"].alerts == ()

    def test_heat_trips_it_and_lets_go(self):
        bus, line = direct()
        bus.write("torque_enable", "gripper", 1)
        line.bank.servos[5].heat.celsius = 75.0
        assert bus.read("present_temperature", "gripper") == 75
        assert bus.health["gripper"].alerts == ("overheated",)
        assert not line.bank.servos[5].drive().on

    def test_a_brown_out_makes_it_forget_and_go_limp(self):
        bus, line = direct()
        bus.write("torque_enable", "gripper", 1)
        line.bank.servos[5].volts = 3.0
        bus.port.sleep(0.01)
        with pytest.raises(BusError, match="gripper"):
            bus.sync_read("present_position")
        line.bank.servos[5].volts = 7.4
        bus.port.sleep(0.01)
        assert bus.read("torque_enable", "gripper") == 0

    def test_a_changed_id_answers_once_under_the_old_one(self):
        bus, _ = direct()
        bus.write("id", "gripper", 60)
        assert bus.ping(60)
        assert not bus.ping(6)

    def test_a_registered_write_waits_for_the_action(self):
        bus, line = direct()
        wire = FeetechWire()
        instructions = wire.instructions
        bus.port.write(wire.instruction(Packet(6, instructions.reg_write, bytes((40, 1)))))
        assert line.bank.servos[5].memory["torque_enable"] == 0
        bus.port.write(wire.instruction(Packet(BROADCAST, instructions.action)))
        assert line.bank.servos[5].memory["torque_enable"] == 1


def test_gravity_does_not_leak_between_lines():
    first, second = make_line(), make_line()
    first.bank.advance(1.0)
    assert second.bank.motion().position == pytest.approx(0, abs=1e-6)


def test_a_line_that_never_goes_quiet_does_not_hold_a_call_up():
    bus, _ = direct()

    class Babbling(type(bus.port)):
        def read(self, until):
            self.sleep(0.0005)
            return b"\x55" * 20

    bus.port.__class__ = Babbling
    began = bus.port.now()
    with pytest.raises(BusError):
        bus.read("present_position", "gripper")
    assert bus.port.now() - began < 2 * bus.patience.budget_s
