"""One rollout: an actor attempts a trial on the suite's robot."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from robot_learning.core.errors import UnknownName
from robot_learning.core.protocols import Actor, Robot, StepObserver, TaskSuite
from robot_learning.core.spec import check_compatible
from robot_learning.core.types import Goal, Trial
from robot_learning.evaluation.prompts import Prompt, prompt_policy
from robot_learning.policies.policy import load_policy
from robot_learning.runtime.actors import ChunkedActor, RandomActor
from robot_learning.runtime.clock import SimClock
from robot_learning.runtime.episode import run_episode
from robot_learning.runtime.guards import standard_guards
from robot_learning.runtime.judge import Judge

_FAR = math.inf
"""In simulation an action out of range is clipped, however far out; what is not finite still ends the rollout."""


@dataclass(frozen=True)
class Contender:
    """Who is evaluated.

    Attributes:
        checkpoint: Folder of a saved policy; None is the random policy.
        execute: Rows of a chunk to play before asking for the next; None, or more than a chunk has, is the whole chunk.
        ensemble: Temporal ensembling weight; None switches it off.
        use_goal: Tell the policy the goal; False evaluates a policy goal-free.
        goal: What to tell it, of the keys of a trial's goal and ``instruction``; None is everything.
        overrides: Policy settings to change, e.g. ``{"steps": 10}``.
        prompt: How to tell the policy what to do, if it takes prompts; None leaves it at the goal.
    """

    checkpoint: str | None
    execute: int | None = None
    ensemble: float | None = None
    use_goal: bool = True
    overrides: Mapping[str, Any] = field(default_factory=dict)
    prompt: Prompt | None = None
    goal: tuple[str, ...] | None = None

    def told(self, trial: Trial) -> Goal | None:
        """Return the goal of a trial as far as the policy is told; raises :class:`UnknownName` for keys that it lacks."""
        if not self.use_goal or self.goal is None:
            return trial.told if self.use_goal else None
        for key in self.goal:
            if key not in trial.told:
                raise UnknownName(f"goal key of {trial.task!r}", key, trial.told)
        return {key: trial.told[key] for key in self.goal}


@dataclass(frozen=True)
class Rollout:
    """How one trial went.

    Attributes:
        policy: Who acted.
        task: Which task.
        number: Index of the trial in the list of trials.
        seed: The trial's seed.
        score: Highest score of the episode, 0 to 1.
        success: Whether the score reached 1.
        steps: Actions until the end.
        reason: Why it ended.
    """

    policy: str
    task: str
    number: int
    seed: int
    score: float
    success: bool
    steps: int
    reason: str


def make_actor(contender: Contender, suite: TaskSuite, robot: Robot, task: str) -> Actor:
    """Return the actor of a contender for a task; raises ``SpecMismatch`` listing every difference to the robot."""
    if contender.checkpoint is None:
        return RandomActor(robot.spec)
    policy = load_policy(Path(contender.checkpoint), **contender.overrides)
    keys = policy.observation_keys
    check_compatible(policy.spec, robot.spec, keys=keys, what=f"{contender.checkpoint} on {robot.spec.name}")
    if contender.prompt is not None:
        prompt_policy(policy, contender.prompt, suite, task)
    execute = min(contender.execute or policy.horizon, policy.horizon)
    return ChunkedActor(policy, execute=execute, ensemble=contender.ensemble)


class Actors:
    """The actors of contenders, made when they are first asked for: one each, with a prompt one for every task.

    Args:
        contenders: Who there is.
        suite: Where they act.
        robot: What they act on.
    """

    def __init__(self, contenders: Mapping[str, Contender], suite: TaskSuite, robot: Robot) -> None:
        self._contenders, self._suite, self._robot = contenders, suite, robot
        self._made: dict[tuple[str, str], Actor] = {}

    def find(self, name: str, task: str) -> Actor:
        """Return the actor of contender ``name`` for a task."""
        key = (name, "" if self._contenders[name].prompt is None else task)
        if key not in self._made:
            self._made[key] = make_actor(self._contenders[name], self._suite, self._robot, task)
        return self._made[key]


def attempt(
    suite: TaskSuite,
    robot: Robot,
    actor: Actor,
    trial: Trial,
    *,
    name: str,
    number: int,
    goal: Goal | None,
    observers: tuple[StepObserver, ...] = (),
) -> Rollout:
    """Run a trial through the one loop and return how it went; it ends at success."""
    judge = Judge(suite, trial)
    outcome = run_episode(
        robot,
        actor,
        standard_guards(robot.spec, margin=_FAR),
        SimClock(robot.spec.dt),
        max_steps=trial.max_steps,
        seed=trial.seed,
        goal=goal,
        start=trial.start,
        done=judge,
        observers=(judge, *observers),
    )
    return Rollout(name, trial.task, number, trial.seed, judge.best, judge.best >= 1.0, outcome.steps, outcome.reason)


Setup = Callable[[tuple[str, int]], Rollout]


def prepare(suite_factory: Callable[[], TaskSuite], contenders: Mapping[str, Contender], trials: list[Trial]) -> Setup:
    """Set a worker up: one suite, one robot, each contender's actor once; return the function that runs a job."""
    torch.set_num_threads(1)
    suite = suite_factory()
    robot = suite.make_robot()
    robot.connect()
    actors = Actors(contenders, suite, robot)

    def run(job: tuple[str, int]) -> Rollout:
        name, number = job
        actor = actors.find(name, trials[number].task)
        goal = contenders[name].told(trials[number])
        return attempt(suite, robot, actor, trials[number], name=name, number=number, goal=goal)

    return run
