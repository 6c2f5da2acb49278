"""A person moves a robot through a teleoperator, in real time, guarded and measured; nothing is recorded."""

import math
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Protocol

from robot_learning.core.protocols import Actor, Clock, Guard, Robot
from robot_learning.core.types import End, Outcome
from robot_learning.learning.interrupt import Gently, Interrupt
from robot_learning.runtime.clock import WallClock
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import standard_guards
from robot_learning.runtime.timing import ProgressLine, Timing, TimingReport


class Teleoperator(Actor, Protocol):
    """A device that a person moves a robot with."""

    def connect(self) -> None:
        """Open the device; idempotent."""
        ...

    def close(self) -> None:
        """Close the device; idempotent."""
        ...


@dataclass(frozen=True)
class TeleoperationReport:
    """How it went."""

    robot: str
    outcome: Outcome
    timing: TimingReport

    def __str__(self) -> str:
        """Return the report as lines of a terminal."""
        timing, outcome = self.timing, self.outcome
        rows = {
            "robot": self.robot,
            "outcome": f"{outcome.reason} after {outcome.steps} steps, {outcome.duration_s:.1f} s",
            "rate": f"{timing.rate_hz:.2f} Hz",
            "jitter": str(timing.jitter),
            "latency": f"{timing.latency} from the teleoperator's being read to the motors' goals",
            "overruns": f"{timing.overruns_start} in the first second, {timing.overruns} after it",
            "guards": f"{outcome.interventions} actions changed",
        }
        return "\n".join(f"  {name:<10}{text}" for name, text in rows.items())


def teleoperate(
    robot: Robot,
    teleoperator: Teleoperator,
    *,
    seconds: float | None = None,
    guard: Guard | None = None,
    make_clock: Callable[[float], Clock] = WallClock,
) -> TeleoperationReport:
    """Let a person move ``robot`` until Ctrl-C or for ``seconds``; both are connected first and closed at the end.

    Args:
        robot: Not yet connected.
        teleoperator: Not yet connected.
        seconds: How long at most; None is until Ctrl-C.
        guard: Checks every action; None is the standard chain with stale observations refused.
        make_clock: Makes the clock from the control period [s].
    """
    clock = make_clock(robot.spec.dt)
    timing = Timing(clock)
    guard = guard or standard_guards(robot.spec, max_age_s=0.5)
    steps = math.ceil(seconds * robot.spec.control_hz) if seconds else 2**62
    with ExitStack() as stack:
        teleoperator.connect()
        stack.enter_context(closing(teleoperator))
        robot.connect()
        stack.enter_context(closing(robot))
        interrupt = stack.enter_context(Interrupt(gently=False))
        line = ProgressLine(timing, seconds=seconds or math.inf, hz=robot.spec.control_hz)
        outcome = run_episode(
            robot,
            teleoperator,
            guard,
            clock,
            max_steps=steps,
            done=lambda _: End("stopped by the operator") if interrupt.requested else None,
            observers=[Gently(interrupt), timing, line],
        )
        return TeleoperationReport(robot.spec.name, outcome, timing.report())
