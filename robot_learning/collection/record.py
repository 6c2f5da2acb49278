"""Record demonstrations by teleoperation: one episode after the other, with time between them to set the scene.

Between episodes the robot follows its teleoperator just the same, only nothing is recorded. Keys say where an episode begins
and how it ended. Every finished episode is in the store before the next one begins; what is being recorded goes to the disk
while it runs.
"""

import math
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

from robot_learning.collection.keys import Keys
from robot_learning.collection.teleoperate import Teleoperator
from robot_learning.core.errors import ConfigError
from robot_learning.core.protocols import Clock, Guard, Robot
from robot_learning.core.types import End, Goal, Observation, Outcome
from robot_learning.datasets.recorder import Recorder
from robot_learning.datasets.store import DemoStore
from robot_learning.learning.interrupt import Gently, Interrupt
from robot_learning.runtime.clock import WallClock
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import standard_guards
from robot_learning.runtime.timing import ProgressLine, Timing, TimingReport

HELP = """  between episodes:  Enter begins one, q ends
  in an episode:     s success, f failure, Enter no verdict, r drops it to do it again, q drops it and ends"""
FLUSH_S = 5.0
"""What is being recorded goes to the disk this often [s]."""
LEAST_FREE = 2 * 1024**3
"""Bytes that must be free on the disk before an episode begins."""

_ENDS = {
    "s": End("success", success=True),
    "f": End("failure", success=False),
    "\n": End("ended by the operator"),
    "r": End("redo"),
    "q": End("quit"),
}
_BETWEEN = {"\n": End("begin"), "q": End("quit")}


@dataclass
class RecordReport:
    """What was recorded.

    Attributes:
        store: Path of the store.
        episodes: How many episodes were kept.
        verdicts: How many of them ended how.
        dropped: How many were dropped to be done again.
        timing: How regularly the last episode ran; None where there was none.
        ended: Why the last episode, or the time between two, ended.
    """

    store: str
    episodes: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    timing: TimingReport | None = None
    ended: str = ""

    @property
    def safety(self) -> bool:
        """Return whether a guard stopped the robot, which ended the session."""
        return self.ended.startswith("safety:")

    def __str__(self) -> str:
        """Return the report as lines of a terminal."""
        verdicts = ", ".join(f"{count} {name}" for name, count in self.verdicts.items())
        lines = [f"  {self.store}: {self.episodes} episodes recorded" + (f" ({verdicts})" if verdicts else "")]
        if self.dropped:
            lines.append(f"  {self.dropped} dropped to be done again")
        if self.timing is not None:
            late = self.timing.overruns_start + self.timing.overruns
            lines.append(f"  last one: {self.timing.rate_hz:.2f} Hz, jitter {self.timing.jitter}, {late} overruns")
        if self.safety:
            lines.append(f"  the robot was stopped: {self.ended}")
        return "\n".join(lines)


@dataclass
class Session:
    """A person at a robot with a store.

    Attributes:
        robot: Not yet connected.
        teleoperator: Not yet connected.
        store: Open for writing, made for this robot.
        keys: What the person presses.
        instruction: The task in words, noted with every episode.
        episode_seconds: Longest episode [s].
        guard: Checks every action; None is the standard chain with stale observations refused.
        make_clock: Makes the clock from the control period [s].
        say: Tells the person something.
    """

    robot: Robot
    teleoperator: Teleoperator
    store: DemoStore
    keys: Keys
    instruction: str = ""
    episode_seconds: float = 60.0
    guard: Guard | None = None
    make_clock: Callable[[float], Clock] = WallClock
    say: Callable[[str], None] = print

    def run(self, episodes: int, *, operator: str = "") -> RecordReport:
        """Record until ``episodes`` are kept or the person quits; robot and teleoperator are closed at the end.

        Raises:
            ConfigError: There is no room on the disk.
        """
        if episodes < 1 or self.episode_seconds <= 0:
            raise ConfigError(f"record: expected at least one episode of more than 0 s, got {episodes}, {self.episode_seconds}")
        report = RecordReport(str(self.store.path))
        hz = self.robot.spec.control_hz
        recorder = Recorder(self.store, flush_every=max(1, round(FLUSH_S * hz)), meta={"operator": operator})
        self._check_disk()
        with ExitStack() as stack:
            self.teleoperator.connect()
            stack.enter_context(closing(self.teleoperator))
            self.robot.connect()
            stack.enter_context(closing(self.robot))
            interrupt = stack.enter_context(Interrupt(gently=False))
            self.say(HELP)
            while report.episodes < episodes and not interrupt.requested:
                self.say(f"episode {report.episodes + 1} of {episodes}: set the scene, then press Enter")
                report.ended = self._between(interrupt).reason
                if report.ended != "begin":
                    break
                self._check_disk()
                report.ended = self._record(recorder, interrupt, report).reason
                if report.ended in ("quit", "stopped") or report.safety:
                    break
        return report

    def _between(self, interrupt: Interrupt) -> Outcome:
        clock = self.make_clock(self.robot.spec.dt)
        return self._loop(clock, interrupt, _BETWEEN, 2**62, [])

    def _record(self, recorder: Recorder, interrupt: Interrupt, report: RecordReport) -> Outcome:
        clock = self.make_clock(self.robot.spec.dt)
        timing = Timing(clock)
        line = ProgressLine(timing, seconds=self.episode_seconds, hz=self.robot.spec.control_hz)
        outcome = self._loop(
            clock,
            interrupt,
            _ENDS,
            math.ceil(self.episode_seconds * self.robot.spec.control_hz),
            [timing, line, _Dropping(recorder)],
            {"instruction": self.instruction} if self.instruction else None,
        )
        report.timing = timing.report()
        if outcome.reason in ("redo", "quit"):
            report.dropped += 1
            self.say("dropped")
        else:
            report.episodes += 1
            verdict = {True: "success", False: "failure", None: "no verdict"}[outcome.success]
            verdict = "stopped by a guard" if outcome.reason.startswith("safety:") else verdict
            report.verdicts[verdict] += 1
            self.say(f"episode {recorder.last_index} of {report.store}: {verdict}, {outcome.duration_s:.1f} s")
        return outcome

    def _loop(
        self,
        clock: Clock,
        interrupt: Interrupt,
        ends: dict[str, End],
        max_steps: int,
        observers: list[Any],
        goal: Goal | None = None,
    ) -> Outcome:
        """Let the robot follow until one of the keys ends it."""

        def done(_: Observation) -> End | None:
            return End("stopped") if interrupt.requested else ends.get(self.keys.poll())

        guard = self.guard or standard_guards(self.robot.spec, max_age_s=0.5)
        return run_episode(
            self.robot,
            self.teleoperator,
            guard,
            clock,
            max_steps=max_steps,
            goal=goal,
            done=done,
            observers=[Gently(interrupt), *observers],
        )

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self.store.path).free
        if free < LEAST_FREE:
            raise ConfigError(
                f"{self.store.path}: expected 2 GB of free disk, got {free / 1024**3:.1f}; make room or record elsewhere"
            )


class _Dropping:
    """A recorder that forgets the episodes which shall be done again.

    Args:
        recorder: Keeps the others.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.on_reset, self.on_step = recorder.on_reset, recorder.on_step

    def on_end(self, outcome: Outcome) -> None:
        """Drop or keep."""
        if outcome.reason in ("redo", "quit"):
            self._recorder.discard()
        self._recorder.on_end(outcome)
