"""The seams: everything that can be swapped stands behind one of these protocols.

``tests/contracts`` holds one suite per protocol; every implementation inherits it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from numpy.typing import NDArray

from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Action, End, Goal, Observation, Outcome, Step, Transitions, Trial


@runtime_checkable
class Robot(Protocol):
    """A simulated or real robot.

    ``spec`` is readable before ``connect``. Observations carry ``time`` (monotonic [s]) and
    ``time/<stream>`` for streams with their own capture time.
    """

    @property
    def spec(self) -> RobotSpec:
        """Return what the robot observes and accepts."""
        ...

    def connect(self) -> None:
        """Open the devices; idempotent."""
        ...

    def reset(self, *, seed: int | None = None, start: Mapping[str, NDArray[Any]] | None = None) -> Observation:
        """Go to a start state and return the first observation.

        Args:
            seed: Draws the start state where the robot has a distribution of them.
            start: Observation keys to reproduce as far as the robot can (a simulator restores the scene, an
                arm drives to the joint positions); overrides ``seed`` where both speak.
        """
        ...

    def observe(self) -> Observation:
        """Return the newest observation, without waiting for the next control period."""
        ...

    def apply(self, action: Action) -> Action:
        """Send one action and return the action really sent, after the robot's own limits."""
        ...

    def stop(self) -> None:
        """Hold still; idempotent, never raises."""
        ...

    def close(self) -> None:
        """Release the devices; idempotent."""
        ...


@runtime_checkable
class Actor(Protocol):
    """Whoever chooses actions: a policy, a scripted operator, a human, a replay."""

    @property
    def source(self) -> str:
        """Return who chose the last action; recorded with every step."""
        ...

    def reset(self, *, seed: int | None = None, goal: Goal | None = None) -> None:
        """Forget the past episode and start a new one."""
        ...

    def act(self, observation: Observation) -> Action | End:
        """Return the next action, shape ``[a]``, or :class:`End`."""
        ...


@runtime_checkable
class Guard(Protocol):
    """A check between actor and robot."""

    def reset(self) -> None:
        """Forget the past episode."""
        ...

    def check(self, observation: Observation, action: Action) -> Action:
        """Return a safe action (the same one where it was safe); raises ``SafetyStop`` where none is."""
        ...


@runtime_checkable
class Clock(Protocol):
    """Paces the loop and tells the time."""

    @property
    def overruns(self) -> int:
        """Return how many periods since ``reset`` ended late."""
        ...

    def reset(self) -> None:
        """Start the schedule now and zero the counters."""
        ...

    def now(self) -> float:
        """Return monotonic time [s]."""
        ...

    def tick(self) -> None:
        """Wait for the end of the current control period; late periods are counted, never caught up."""
        ...


@runtime_checkable
class StepObserver(Protocol):
    """Somebody who watches an episode: a recorder, a metric, a live page.

    An actor that is also a StepObserver is told what was really applied, before the other observers are.
    """

    def on_reset(self, observation: Observation, *, goal: Goal | None, seed: int | None) -> None:
        """See the first observation."""
        ...

    def on_step(self, step: Step) -> None:
        """See one step, after it was applied and the next observation was made."""
        ...

    def on_end(self, outcome: Outcome) -> None:
        """See how the episode ended; called exactly once per episode, also after an error."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A function of a window: batch first, raw units in and out, NumPy outside.

    Attributes:
        n_obs: Number of observed steps t that ``act`` wants.
        horizon: Number of steps h in the returned chunk.
    """

    n_obs: int
    horizon: int

    @property
    def spec(self) -> RobotSpec:
        """Return the robot that the policy was trained for, narrowed to the keys it reads."""
        ...

    @property
    def goal_keys(self) -> tuple[str, ...]:
        """Return the keys a goal may hold; empty for a policy without goals."""
        ...

    @property
    def goal_choices(self) -> tuple[tuple[str, ...], ...]:
        """Return the ways to give a goal, the preferred one first: it must hold all keys of one of them."""
        ...

    def reset(self, *, seed: int | None = None) -> None:
        """Start an episode: re-seed the policy's own generator."""
        ...

    def act(self, window: Mapping[str, NDArray[Any]], goal: Mapping[str, NDArray[Any]] | None) -> NDArray[Any]:
        """Return a chunk of actions ``[b, h, a]``; row 0 is for the newest observed step.

        Args:
            window: Observation keys ``[b, t, ...]`` (oldest first, the first frame repeated at an episode's
                start) and ``action`` ``[b, t-1, a]``, the actions applied between them (zeros where none was).
            goal: Goal keys ``[b, ...]``, or None to act without a goal.
        """
        ...


@runtime_checkable
class Promptable(Protocol):
    """A policy that can be told what to do in several ways, without training it again."""

    @property
    def prompts(self) -> Mapping[str, Literal["nothing", "samples", "rewards"]]:
        """Return the ways by name, each with what it wants beforehand: nothing, samples, or samples with rewards."""
        ...

    def prompt(self, kind: str, samples: Transitions | None = None) -> None:
        """Act on prompts of this kind from now on.

        Args:
            kind: One of ``prompts``.
            samples: What this kind wants.
        """
        ...


@runtime_checkable
class TaskSuite(Protocol):
    """A family of tasks on one robot: what there is to do, and when it is done."""

    @property
    def name(self) -> str:
        """Return the suite's name, e.g. ``play_table``."""
        ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the names of its tasks."""
        ...

    def make_robot(self) -> Robot:
        """Return a new robot (not yet connected) that this suite's trials run on."""
        ...

    def trials(self, per_task: int, *, seed: int) -> Sequence[Trial]:
        """Return ``per_task`` trials of every task, the same ones for the same seed."""
        ...

    def score(self, trial: Trial, first: Observation, current: Observation) -> float:
        """Return how far ``trial`` is solved, 0 to 1, comparing the current observation with the first.

        A trial succeeds when the score reaches 1; its result is the highest score of the episode.
        """
        ...


@runtime_checkable
class ExpertSuite(TaskSuite, Protocol):
    """A suite that can show how its tasks are done: ``collect operator=expert`` records it."""

    def expert(self, task: str) -> Actor:
        """Return who does ``task``: a scripted actor that sees what the suite's robot observes.

        Raises:
            UnknownName: Not one of the suite's tasks, or one without an expert.
        """
        ...
