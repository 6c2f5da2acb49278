"""An SO-101 on a twin: the Robot contract, and what keeps arm and people safe."""

import dataclasses

import numpy as np
import pytest

from robot_learning.core.errors import BusError, HardwareError, MotorFault, NotConnected, SafetyStop, SpecMismatch, Stale
from robot_learning.hardware.arms.arm import Limits, ServoArm
from robot_learning.hardware.arms.makers import FEETECH
from robot_learning.hardware.arms.motors import Motors
from robot_learning.hardware.twin.direct import DirectPort
from tests.contracts.robot import RobotContract
from tests.hardware.twins import REST, so101_arm, so101_calibration, so101_line


class TestSO101(RobotContract):
    simulated = False
    restores_start = False  # velocities and loads are not its to restore; the joints are, see below

    def make_robot(self):
        return so101_arm()


@pytest.fixture
def line():
    return so101_line()


@pytest.fixture
def arm(line):
    arm = so101_arm(line)
    arm.connect()
    yield arm
    arm.close()


def angles(line):
    return line.bank.motion().position


def test_the_angles_are_those_of_the_joints(arm, line):
    seen = arm.observe()["joint_position"]
    low, high = line.bank.body.range[5]
    assert seen[:5] == pytest.approx(angles(line)[:5], abs=0.01)
    assert seen[5] == pytest.approx((angles(line)[5] - low) / (high - low), abs=0.01)
    assert arm.spec.action.names[0] == "shoulder_pan [rad]"
    assert arm.spec.action.names[5] == "gripper [0 closed, 1 open]"


def test_connecting_does_not_move_the_arm_whatever_the_goal_registers_hold(line):
    for servo in line.bank.servos:
        servo.memory["goal_position"] = 1000  # left by the program before
    line.bank.body.place({"shoulder_lift": -1.0, "elbow_flex": 0.8})
    before = angles(line)
    arm = so101_arm(line)
    arm.connect()
    arm.motors.bus.port.sleep(1.0)
    assert angles(line) == pytest.approx(before, abs=0.06), "it sags into its backlash and no further"
    arm.close()


def test_another_arm_is_refused_and_not_moved(line):
    other = so101_line(homing_offset=100)
    arm = so101_arm(line)
    arm.motors.bus.port.line = other
    with pytest.raises(SpecMismatch, match=r"shoulder_pan \(id 1\): expected homing offset .* got 100(?s:.)*two arms swapped"):
        arm.connect()
    assert not any(servo.memory["torque_enable"] for servo in other.bank.servos)


def test_a_replaced_motor_and_a_joint_out_of_its_range_are_named(line):
    line.bank.servos[3].memory["firmware_minor"] = 9
    line.bank.body.range[0] = (-3, 3)
    line.bank.body.model.jnt_range[1] = (-3, 3)
    line.bank.body.place({"shoulder_pan": 2.4})
    arm = so101_arm(line)
    arm.motors.calibration = dataclasses.replace(
        arm.motors.calibration,
        joints={
            name: dataclasses.replace(joint, high=joint.zero + 1000, rest=joint.zero) if name == "shoulder_pan" else joint
            for name, joint in arm.motors.calibration.joints.items()
        },
    )
    with pytest.raises(SpecMismatch, match=r"wrist_flex \(id 4\): expected firmware 3.10, got 3.9") as error:
        arm.connect()
    assert "shoulder_pan (id 1): expected to stand at" in str(error.value)


def test_a_missing_motor_is_named(line):
    line.silent = frozenset({4})
    with pytest.raises(BusError, match=r"wrist_flex \(id 4\): no answer"):
        so101_arm(line).connect()


def test_a_start_is_driven_to_slowly(arm, line):
    start = {"joint_position": np.array([0.3, -0.5, 0.4, -0.2, 0.5, 0.5], np.float32)}
    fastest = _fastest_while(line, lambda: arm.reset(start=start))
    assert arm.observe()["joint_position"] == pytest.approx(start["joint_position"], abs=0.06)
    assert 0.5 * arm.limits.approach < fastest < 1.5 * arm.limits.approach


def _fastest_while(line, act, span_s=0.1):
    """The highest speed of any joint while ``act`` runs, over stretches of ``span_s`` [rad/s]."""
    times, places, advance = [0.0], [angles(line)], line.bank.body.advance

    def watched(seconds, drives):
        motion = advance(seconds, drives)
        times.append(times[-1] + seconds)
        places.append(motion.position)
        return motion

    line.bank.body.advance = watched
    act()
    line.bank.body.advance = advance
    every = np.arange(0.0, times[-1], span_s)
    sampled = np.array(places)[np.searchsorted(times, every)]
    return float(np.abs(np.diff(sampled, axis=0)).max()) / span_s


def test_no_command_is_faster_than_the_limit(line):
    arm = so101_arm(line, limits=Limits(velocity=1.0))
    arm.connect()
    arm.reset()
    here = arm.observe()["joint_position"]
    far = here.copy()
    far[0] += 1.0
    sent = arm.apply(far)
    assert sent[0] - here[0] == pytest.approx(1.0 / 50, abs=0.004), "one period at 1 rad/s"
    assert line.bank.servos[0].memory["goal_velocity"] == round(1.0 / FEETECH.velocity_unit), "the servo limits itself, too"
    arm.close()


def test_what_was_sent_is_what_the_servos_got(arm, line):
    arm.reset()
    action = arm.observe()["joint_position"] + np.float32(0.01)
    sent = arm.apply(action)
    zero = so101_calibration(line).joints["shoulder_lift"].zero
    assert line.bank.servos[1].memory["goal_position"] == round(zero + sent[1] / FEETECH.step)


def test_stop_holds_against_gravity(arm, line):
    arm.reset(start={"joint_position": np.array([0, 0.6, 0, 0, 0, 0.2], np.float32)})
    arm.stop()
    arm.motors.bus.port.sleep(0.2)
    before = angles(line)
    arm.motors.bus.port.sleep(2.0)
    assert angles(line) == pytest.approx(before, abs=0.02)


def test_parking_ends_at_rest_and_limp(arm, line):
    arm.reset(start={"joint_position": np.array([0.5, -0.5, 0.5, 0, 0, 0.2], np.float32)})
    fastest = _fastest_while(line, arm.close)
    assert not any(servo.memory["torque_enable"] for servo in line.bank.servos)
    assert angles(line)[:3] == pytest.approx([REST[name] for name in list(REST)[:3]], abs=0.15)
    assert 0.5 * arm.limits.approach < fastest < 1.5 * arm.limits.approach


def test_closing_with_hold_keeps_the_torque_on(line):
    arm = so101_arm(line, at_close="hold")
    arm.connect()
    arm.close()
    assert all(servo.memory["torque_enable"] for servo in line.bank.servos)


def test_an_arm_that_cannot_be_parked_holds(line):
    arm = so101_arm(line)
    arm.connect()
    line.silent = frozenset({2})
    arm.close()
    assert all(servo.memory["torque_enable"] for servo in line.bank.servos)


def test_something_in_the_way_stops_the_approach(arm, line):
    arm.reset()
    line.bank.body.push["shoulder_pan"] = -1.6  # as strong as the motor
    with pytest.raises(SafetyStop, match="shoulder_pan pulls hard and does not follow"):
        arm.approach(np.array([1.5, 0, 0, 0, 0, 0.2]))


def test_short_silence_repeats_the_last_reading_with_its_time(arm, line):
    arm.reset()
    last = arm.observe()
    line.silent = frozenset({2})
    again = arm.observe()
    assert again["time/joints"] == last["time/joints"]
    assert again["time"] > last["time"]
    arm.motors.bus.port.sleep(0.1)
    with pytest.raises(Stale, match=r"shoulder_lift \(id 2\): no answer .* the last answer came 0\.[12]"):
        arm.observe()
    line.silent = frozenset()
    assert arm.observe()["time/joints"] > last["time/joints"]


def test_a_hot_motor_ends_it_with_its_name(arm, line):
    line.bank.servos[2].heat.celsius = 80.0
    with pytest.raises(MotorFault, match=r"elbow_flex overheated \(hottest 80 C"):
        arm.observe()
    arm.stop()


def test_a_gripper_that_holds_something_goes_on_and_opens_with_full_torque(arm, line):
    arm.reset()
    gripper = line.bank.servos[5]
    gripper.memory["overload_torque"] = 25
    gripper.load = -0.6
    arm.motors.bus.port.sleep(2.5)
    seen = arm.observe()["joint_position"]
    assert arm.motors.bus.health["gripper"].alerts == ("overloaded",)
    arm.apply(seen)
    assert gripper.drive().torque == pytest.approx(0.2), "it goes on holding, weakened"
    gripper.load = 0.0
    seen[5] += 0.2
    arm.apply(seen)
    assert gripper.drive().torque == pytest.approx(1.0)


def test_low_voltage_is_told(arm, line):
    line.bank.servos[0].memory["min_voltage"] = 45
    line.bank.servos[0].volts = 4.2
    with pytest.raises(MotorFault, match=r"shoulder_pan voltage out of range .*lowest voltage 4\.2 V.*check the supply"):
        arm.observe()


def test_a_pulled_cable_leaves_the_arm_holding(arm, line):
    arm.reset()
    line.plugged = False
    with pytest.raises(NotConnected, match="went away"):
        arm.observe()
    arm.stop()
    assert all(servo.memory["torque_enable"] for servo in line.bank.servos)


def test_after_a_pulled_cable_it_connects_again(line):
    arm = so101_arm(line)
    arm.connect()
    line.plugged = False
    with pytest.raises(NotConnected):
        arm.observe()
    arm.close()
    line.plugged = True
    arm.connect()
    arm.reset()
    arm.close()


def test_another_order_of_joints_is_refused(line):
    calibration = so101_calibration(line)
    swapped = dataclasses.replace(calibration, joints=dict(reversed(calibration.joints.items())))
    arm = so101_arm(line)
    with pytest.raises(SpecMismatch, match="expected joints"):
        Motors(arm.motors.bus, FEETECH, swapped)


def test_settings_that_need_the_torque_off_are_not_forced(line):
    first = so101_arm(line, at_close="hold")
    first.connect()
    first.close()
    line.bank.servos[0].memory["position_p"] = 32
    with pytest.raises(HardwareError, match=r"position_p 16, which can be set with the torque off only"):
        so101_arm(line).connect()


def test_the_same_settings_let_a_new_program_take_over_a_holding_arm(line):
    first = so101_arm(line, at_close="hold")
    first.connect()
    first.close()
    second = ServoArm(Motors(first.motors.bus, FEETECH, so101_calibration(line)), name="so101", sleep=DirectPort(line).sleep)
    second.connect()
    assert second.motors.holding


def test_noise_never_makes_connecting_move_or_leave_the_arm_limp():
    for seed in range(25):
        line = so101_line()
        line.seed, line.noise = seed, 0.003
        line.__post_init__()
        line.bank.body.place(REST)
        line.bank.advance(1.0)  # it lies still, and does not fall while it is limp
        for servo in line.bank.servos:
            servo.memory["goal_position"] = 1500
        before, arm = angles(line), so101_arm(line, at_close="hold")
        arm.connect()
        assert all(servo.memory["torque_enable"] for servo in line.bank.servos)
        arm.motors.bus.port.sleep(0.3)
        assert angles(line) == pytest.approx(before, abs=0.08)
        arm.close()


def test_a_servo_that_restarts_is_noticed(arm, line):
    arm.reset()
    line.bank.servos[1].power_cycle()
    with pytest.raises(MotorFault, match=r"shoulder_lift let go by itself .*check the supply"):
        arm.observe()
    arm.reset()
    assert arm.motors.holding
    assert line.bank.servos[1].memory["acceleration"] == 254, "what it forgot was written again"


def test_a_joint_that_was_held_back_does_not_leap(arm, line):
    arm.reset()
    line.bank.body.push["shoulder_pan"] = -2.5
    goal = arm.observe()["joint_position"].copy()
    goal[0] = 1.5
    for _ in range(40):
        arm.apply(goal)
        arm.motors.bus.port.sleep(0.02)
        arm.observe()
    held = angles(line)[0]
    line.plugged = False
    line.bank.body.push["shoulder_pan"] = 0.0
    fastest = _fastest_while(line, lambda: arm.motors.bus.port.sleep(2.0))
    assert angles(line)[0] - held < arm.limits.lead + 0.1
    assert fastest < 1.2 * arm.limits.velocity


def test_stopping_keeps_what_the_gripper_holds_and_does_not_sag(arm, line):
    arm.reset(start={"joint_position": np.array([0, -0.5, 0.3, 0, 0, 0.4], np.float32)})
    goals = [servo.memory["goal_position"] for servo in line.bank.servos]
    line.bank.body.push["gripper"] = 0.8  # something between the fingers
    arm.motors.bus.port.sleep(0.3)
    for _ in range(10):
        arm.stop()
    assert [servo.memory["goal_position"] for servo in line.bank.servos] == goals


def test_a_start_that_is_not_reached_is_told(arm, line):
    line.bank.servos[1].memory["torque_limit"] = 100
    with pytest.raises(SafetyStop, match="shoulder_lift does not get to where it was driven"):
        arm.reset(start={"joint_position": np.array([0, 1.0, -1.0, 0, 0, 0.2], np.float32)})


def test_an_arm_that_cannot_be_parked_says_why(line, caplog):
    arm = so101_arm(line)
    arm.connect()
    line.silent = frozenset({2})
    arm.close()
    assert "could not park" in caplog.text
    assert "shoulder_lift (id 2)" in caplog.text
    assert "motors release so101 --port" in caplog.text


def test_releasing_reaches_all_that_answer(arm, line):
    line.silent = frozenset({2})
    with pytest.raises(BusError, match=r"no answer from shoulder_lift \(id 2\), which may hold on; the others are off"):
        arm.motors.release()
    assert not any(servo.memory["torque_enable"] for servo in line.bank.servos), "it hears, it only does not answer"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pose_that_is_not_finite_is_not_driven_to(arm, bad):
    with pytest.raises(SafetyStop, match="finite pose"):
        arm.approach(np.full(6, bad))
