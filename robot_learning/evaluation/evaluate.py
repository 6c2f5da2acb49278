"""Evaluate policies on the same trials and say how sure the figures are."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from robot_learning import __version__
from robot_learning.collection.workers import Workers
from robot_learning.core.errors import ConfigError
from robot_learning.core.protocols import TaskSuite
from robot_learning.core.types import Trial
from robot_learning.evaluation.intervals import mcnemar, mean_over_tasks, paired_difference, wilson
from robot_learning.evaluation.rollout import Contender, Rollout, make_actor, prepare
from robot_learning.policies.policy import read_header

SCHEMA = 1


@dataclass(frozen=True)
class Evaluation:
    """Everything an evaluation found.

    Attributes:
        suite: Name of the suite.
        contenders: Who was evaluated.
        trials: What was attempted, by everybody.
        rollouts: How it went.
        seconds: Wall time [s].
        seed: Seed of the trials.
    """

    suite: str
    contenders: Mapping[str, Contender]
    trials: Sequence[Trial]
    rollouts: Sequence[Rollout]
    seconds: float
    seed: int

    def scores(self, policy: str) -> dict[str, list[float]]:
        """Return the scores of a policy, by task."""
        tasks = dict.fromkeys(trial.task for trial in self.trials)
        return {task: [r.score for r in self.rollouts if r.policy == policy and r.task == task] for task in tasks}

    def successes(self, policy: str) -> dict[str, list[bool]]:
        """Return which trials a policy solved, by task."""
        tasks = dict.fromkeys(trial.task for trial in self.trials)
        return {task: [r.success for r in self.rollouts if r.policy == policy and r.task == task] for task in tasks}

    def summary(self, policy: str) -> dict[str, Any]:
        """Return a policy's figures: mean success and mean score over tasks with intervals, and every task's."""
        successes, scores = self.successes(policy), self.scores(policy)
        mean, low, high = mean_over_tasks({task: [float(x) for x in xs] for task, xs in successes.items()})
        score, score_low, score_high = mean_over_tasks(scores)
        return {
            "success": mean,
            "success_interval": [low, high],
            "score": score,
            "score_interval": [score_low, score_high],
            "rollouts": sum(map(len, successes.values())),
            "tasks": {
                task: {"success": sum(xs) / len(xs), "interval": list(wilson(sum(xs), len(xs))), "rollouts": len(xs)}
                for task, xs in successes.items()
            },
        }

    def comparison(self, a: str, b: str) -> dict[str, Any]:
        """Return how two policies differ on the same trials."""
        of = {name: sorted((r for r in self.rollouts if r.policy == name), key=lambda r: r.number) for name in (a, b)}
        difference, low, high = paired_difference([r.score for r in of[a]], [r.score for r in of[b]])
        p = mcnemar([r.success for r in of[a]], [r.success for r in of[b]])
        return {"a": a, "b": b, "difference": difference, "interval": [low, high], "mcnemar_p": p}

    def to_json(self, command: str = "") -> dict[str, Any]:
        """Return the results with where they come from."""
        names = list(self.contenders)
        return {
            "schema": SCHEMA,
            "suite": self.suite,
            "policies": {name: self.summary(name) for name in names},
            "comparisons": [self.comparison(a, b) for i, a in enumerate(names) for b in names[i + 1 :]],
            "rollouts": [asdict(rollout) for rollout in self.rollouts],
            "provenance": {
                "contenders": {name: asdict(contender) for name, contender in self.contenders.items()},
                "training": {n: _training(c) for n, c in self.contenders.items() if c.checkpoint is not None},
                "seed": self.seed,
                "seconds": self.seconds,
                "version": __version__,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "python": platform.python_version(),
                "command": command,
            },
        }

    def write(self, path: Path, command: str = "") -> None:
        """Write the results as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_json(command), indent=1), encoding="utf-8")


def evaluate(
    suite_factory: Callable[[], TaskSuite],
    contenders: Mapping[str, Contender],
    *,
    per_task: int,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Let every contender attempt the same trials; the figures do not depend on the number of workers.

    Args:
        suite_factory: Makes the suite; picklable.
        contenders: Who is evaluated, by name.
        per_task: Trials of each task.
        seed: Draws the trials.
        workers: Processes; None is one per core, 0 runs here.
        progress: Show a bar.

    Raises:
        SpecMismatch: A policy does not fit the suite's robot or its goals; every difference is listed, before the first step.
    """
    if not contenders:
        raise ConfigError(
            "evaluate: expected at least one policy, got none; give checkpoint=... or checkpoints={a: ..., b: ...}"
        )
    began = time.monotonic()
    suite = suite_factory()
    actors = {name: make_actor(one, suite, suite.make_robot(), suite.tasks[0]) for name, one in contenders.items()}
    trials = list(suite.trials(per_task, seed=seed))
    for name, contender in contenders.items():
        goals = {tuple(sorted(goal or ())): goal for goal in map(contender.told, trials)}
        for goal in goals.values():  # one of each kind
            actors[name].reset(goal=goal)
    del actors  # the workers load policies of their own
    jobs = [(name, number) for number in range(len(trials)) for name in contenders]
    count = os.cpu_count() or 1 if workers is None else workers
    rollouts: list[Rollout] = []
    with Workers(partial(prepare, suite_factory, contenders, trials), count) as pool:
        for rollout in tqdm(pool.map(jobs), total=len(jobs), unit="rollout", desc="evaluate", disable=not progress):
            rollouts.append(rollout)  # noqa: PERF402 - one by one, for the bar
    return Evaluation(suite.name, contenders, trials, rollouts, time.monotonic() - began, seed)


def _training(contender: Contender) -> dict[str, Any]:
    provenance: dict[str, Any] = read_header(str(contender.checkpoint)).get("provenance", {})
    return provenance
