"""Who says that a trial is solved: the suite's score, watched over an episode."""

from robot_learning.core.protocols import TaskSuite
from robot_learning.core.types import Goal, Observation, Outcome, Step, Trial


class Judge:
    """Keeps the best score of an episode and says done when it reaches 1; both the loop's ``done`` and an observer of it.

    Args:
        suite: Scores observations.
        trial: What is attempted.
        linger: Steps that the episode goes on after success.

    Attributes:
        best: Highest score so far.
    """

    def __init__(self, suite: TaskSuite, trial: Trial, *, linger: int = 0) -> None:
        """Wait for the first observation."""
        self._suite, self._trial, self._linger = suite, trial, linger
        self.best = 0.0

    def __call__(self, observation: Observation) -> bool | None:
        """Score an observation; None once the trial is solved and the episode lingers."""
        self.best = max(self.best, self._suite.score(self._trial, self._first, observation))
        if self.best < 1.0:
            return False
        self._linger -= 1
        return True if self._linger < 0 else None

    def on_reset(self, observation: Observation, *, goal: Goal | None, seed: int | None) -> None:  # noqa: ARG002 - protocol
        """Remember how it began."""
        self._first = observation

    def on_step(self, step: Step) -> None:
        """Do nothing: the loop asks for the verdict itself."""

    def on_end(self, outcome: Outcome) -> None:
        """Do nothing."""
