"""Random scripts of faults against an arm in motion: nothing uncaught, nothing beyond the limits, and the arm holds."""

import math

import numpy as np
import pytest

from robot_learning.core.errors import ConfigError, HardwareError, SafetyStop, UnknownName
from robot_learning.core.types import End
from robot_learning.datasets.recorder import Recorder
from robot_learning.datasets.store import DemoStore
from robot_learning.hardware.arms.makers import FEETECH
from robot_learning.hardware.arms.motors import SLACK_STEPS
from robot_learning.hardware.buses.feetech import STS
from robot_learning.hardware.twin.faults import command, random_script
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import standard_guards
from tests.hardware.twins import TwinClock, so101_arm, so101_line

SECONDS = 10.0
HOLD_S = 0.1
NEAR_STEPS = 250
"""How far a joint may move while it is read and told to hold [steps]: 0.1 s at the velocity limit and play."""


class Waver:
    """Moves all joints smoothly, and now and then asks for what no driver should do."""

    source = "test"

    def __init__(self, spec, clock, seed):
        self.spec, self.clock, self.rng = spec, clock, np.random.default_rng(seed)

    def reset(self, *, seed=None, goal=None):
        self.middle = None

    def act(self, observation):
        if self.middle is None:
            self.middle = observation["joint_position"].astype(np.float64)
        swing = 0.4 * np.sin(2 * math.pi * 0.3 * self.clock.now() + np.arange(6))
        if self.rng.random() < 0.02:
            swing = 20.0 * swing
        return (self.middle + swing).astype(np.float32)


class Script:
    """Plays a script into a line while the loop runs, and checks every goal that reaches a servo."""

    def __init__(self, line, script, arm):
        self.line, self.script, self.arm = line, list(script), arm
        self.lost_at, self.told, self.goals = None, False, None
        advance = line.bank.advance

        def watched(seconds):
            advance(seconds)
            self.check()

        line.bank.advance = watched

    def check(self):
        now = self.arm.motors.bus.port.now()
        while self.script and self.script[0][0] <= now:
            words = self.script.pop(0)[1].split()
            command(self.line, words)
            self.lost_at = now if words[0] == "unplug" else None
            self.told = False
        goals = [servo.memory["goal_position"] for servo in self.line.bank.servos]
        self.check_change(goals)
        self.goals = goals
        for servo, joint in zip(self.line.bank.servos, self.arm.motors.calibration.joints.values(), strict=True):
            if servo.memory["torque_enable"]:
                assert joint.low - SLACK_STEPS <= servo.memory["goal_position"] <= joint.high + SLACK_STEPS

    def check_change(self, goals):
        """No goal of a motor that is on moves further than the velocity limit lets it, but to where its joint is."""
        most = self.arm.limits.velocity * self.arm.spec.dt / FEETECH.step + 2
        for servo, now, before in zip(self.line.bank.servos, goals, self.goals or goals, strict=True):
            here = servo.fetch(STS["present_position"].address, 2)[1]
            near = abs(now - STS["present_position"].decode(here)) < NEAR_STEPS
            if servo.memory["torque_enable"]:
                assert abs(now - before) <= most or near


def run_script(seed, observers=()):
    """Run one script and return how it ended."""
    line = so101_line()
    line.seed = seed
    arm = so101_arm(line, at_close="hold")
    port = arm.motors.bus.port
    clock = TwinClock(arm.spec.dt, port)
    arm.connect()
    script = Script(line, random_script(seed, SECONDS, len(line.bank.servos)), arm)
    guard = standard_guards(arm.spec, max_age_s=0.3, same_clock=True, margin=math.inf, now=port.now)
    reason = ""
    while port.now() < SECONDS:
        try:
            reason = _attempt(arm, clock, guard, seed, observers)
        except HardwareError as error:
            reason = f"{type(error).__name__}: {error}"
            ended = port.now()
            if script.lost_at is not None and not script.told:
                assert ended - script.lost_at <= HOLD_S + arm.spec.dt
                script.told = True
            goals = script.goals
            port.sleep(0.5)
            assert script.goals == goals, "after the end nothing moves the arm"
    command(line, ["clear"])
    arm.close()
    arm.connect()
    assert all(servo.memory["torque_enable"] for servo in line.bank.servos), "once mended it holds again"
    arm.close()
    return reason


def _attempt(arm, clock, guard, seed, observers):
    """Connect where the cable was out, and move until the time is over or something goes wrong."""
    arm.close()
    arm.connect()
    steps = max(1, int((SECONDS - clock.now()) / arm.spec.dt))
    outcome = run_episode(
        arm,
        Waver(arm.spec, clock, seed),
        guard,
        clock,
        max_steps=steps,
        done=lambda _: End("time") if clock.now() >= SECONDS else None,
        observers=observers,
    )
    return outcome.reason


@pytest.mark.parametrize("seed", range(20))
def test_random_faults(seed):
    run_script(seed)


@pytest.mark.slow
@pytest.mark.parametrize("tens", range(100))
def test_a_thousand_random_faults(tens):
    for seed in range(1000 + 10 * tens, 1010 + 10 * tens):
        run_script(seed)


def test_nothing_recorded_is_lost(tmp_path):
    spec = so101_arm().spec
    with DemoStore.create(tmp_path / "play.zarr", spec) as store:
        recorder = Recorder(store)
        counted = []

        class Count:
            def on_reset(self, observation, *, goal, seed):
                counted.append(0)

            def on_step(self, step):
                counted[-1] += 1

            def on_end(self, outcome):
                pass

        for seed in range(6):
            run_script(seed, [recorder, Count()])
    with DemoStore.open(tmp_path / "play.zarr") as store:
        store.verify()
        assert [store[index].steps for index in range(len(store))] == [steps for steps in counted if steps]


def test_scripts_repeat_and_end_mended():
    first, again = random_script(3, 10.0, 6), random_script(3, 10.0, 6)
    assert first == again != random_script(4, 10.0, 6)
    assert first == sorted(first)
    assert any(text == "clear" for _, text in first)


def test_commands_that_make_no_sense_are_told():
    line = so101_line()
    with pytest.raises(UnknownName, match="unplug"):
        command(line, ["unplugg"])
    with pytest.raises(ConfigError, match=r"heat 3: expected one of(?s:.)*heat ID C"):
        command(line, ["heat", "3"])
    with pytest.raises(UnknownName, match="servo '9'"):
        command(line, ["load", "9", "1"])
    with pytest.raises(UnknownName, match="sweep"):
        command(line, ["hand", "dance"])


def test_a_guard_and_a_driver_stand_between_a_wild_actor_and_the_servos():
    arm = so101_arm()
    arm.connect()
    arm.reset()
    wild = np.full(6, 100.0, np.float32)
    assert np.all(arm.apply(wild) <= arm.spec.action.high)
    with pytest.raises(SafetyStop):
        arm.apply(wild * np.nan)
    arm.close()
