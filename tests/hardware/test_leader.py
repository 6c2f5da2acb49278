"""A leader arm moves a follower: without a jump at first, closely after that, and safely when it is lost."""

import numpy as np
import pytest

from robot_learning.collection.teleoperate import teleoperate
from robot_learning.core.errors import NotConnected, SpecMismatch, Stale
from robot_learning.core.protocols import Actor
from robot_learning.core.types import End
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import Guards
from tests.hardware.twins import TwinClock, so101_arm, so101_leader, so101_line


@pytest.fixture
def pair():
    lines = so101_line(), so101_line()
    leader, follower = so101_leader(lines[0]), so101_arm(lines[1])
    clock = TwinClock(follower.spec.dt, follower.motors.bus.port, leader.motors.bus.port)
    yield leader, follower, clock, lines
    leader.close()
    follower.close()


class Watch:
    """Keeps what was applied, and the joints of both arms."""

    def __init__(self, lines):
        self.lines, self.applied, self.angles = lines, [], []

    def on_reset(self, observation, *, goal, seed):
        self.start = observation["joint_position"].copy()

    def on_step(self, step):
        self.applied.append(step.applied)
        self.angles.append([line.bank.motion().position.copy() for line in self.lines])

    def on_end(self, outcome):
        self.outcome = outcome


def play(pair, steps, **arguments):
    leader, follower, clock, lines = pair
    leader.connect()
    follower.connect()
    watch = Watch(lines)
    outcome = run_episode(follower, leader, Guards(), clock, max_steps=steps, observers=[watch], **arguments)
    return outcome, watch


def test_it_is_an_actor():
    assert isinstance(so101_leader(), Actor)
    assert so101_leader().source == "human"


def test_the_follower_comes_slowly_and_then_does_what_the_leader_does(pair):
    leader, _, _, lines = pair
    lines[0].bank.body.place({"shoulder_pan": 1.2, "shoulder_lift": -0.8})
    lines[0].bank.body.hand.do("wave")
    outcome, watch = play(pair, 400)
    assert outcome.reason == "max_steps"
    assert leader.engaged
    applied = np.array([watch.start, *watch.applied])
    first = np.abs(np.diff(applied, axis=0)).max(axis=1)
    agreed = int(np.argmax(first > 0.8 / 50 + 0.003))  # the first step faster than the approach
    assert agreed > 25, "it came from far away at 0.8 rad/s at most, the leader towards it meanwhile"
    last = np.array(watch.angles[-100:])
    assert np.abs(last[:, 0, :5] - last[:, 1, :5]).max() < 0.25, "it follows a moving hand with a lag"
    assert np.ptp(last[:, 1, 0]) > 0.2, "and the hand did move"


def test_a_new_episode_begins_slowly_again(pair):
    leader, _, _, lines = pair
    lines[0].bank.body.hand.do("middle")
    play(pair, 200)
    assert leader.engaged
    leader.reset()
    assert not leader.engaged


def test_a_lost_leader_leaves_the_follower_holding(pair):
    _, follower, clock, lines = pair
    lines[0].bank.body.hand.do("middle")

    def lose(_):
        if clock.now() > 2.0:
            lines[0].silent = frozenset(range(1, 7))

    with pytest.raises(Stale, match=r"leader: .*no answer.*the follower holds"):
        play(pair, 400, done=lose)
    assert follower.motors.holding


def test_a_leader_that_stutters_repeats_its_last_pose(pair):
    _, _, clock, lines = pair
    lines[0].bank.body.hand.do("middle")

    def stutter(_):
        lines[0].silent = frozenset({3}) if 2.0 < clock.now() < 2.1 else frozenset()

    outcome, _ = play(pair, 200, done=stutter)
    assert outcome.reason == "max_steps"


def test_swapped_arms_are_refused_before_anything_moves(pair):
    leader, _, _, lines = pair
    lines[0].bank.servos[0].memory["homing_offset"] = 5
    with pytest.raises(SpecMismatch, match="two arms swapped"):
        leader.connect()
    with pytest.raises(NotConnected):
        leader.act({"joint_position": np.zeros(6, np.float32)})
    assert not any(servo.memory["torque_enable"] for line in lines for servo in line.bank.servos)


def test_the_leader_is_limp(pair):
    leader, _, _, lines = pair
    for servo in lines[0].bank.servos:
        servo.memory["torque_enable"] = 1
    leader.connect()
    assert not any(servo.memory["torque_enable"] for servo in lines[0].bank.servos)


def test_the_command_connects_measures_and_closes_both(pair, capsys):
    leader, follower, clock, lines = pair
    lines[0].bank.body.hand.do("middle")
    report = teleoperate(follower, leader, seconds=3, guard=Guards(), make_clock=lambda _: clock)
    assert report.outcome.steps == 150
    assert report.timing.rate_hz == pytest.approx(50, rel=0.02)
    assert "rate" in str(report)
    assert not any(servo.memory["torque_enable"] for servo in lines[1].bank.servos), "the follower is parked"
    with pytest.raises(NotConnected):
        follower.observe()


def test_end_is_for_the_person_to_say(pair):
    outcome, _ = play(pair, 100, done=lambda _: End("stopped by the operator"))
    assert (outcome.reason, outcome.steps) == ("stopped by the operator", 1)
