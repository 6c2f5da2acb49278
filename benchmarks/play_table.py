"""How often the scripted operator succeeds at each task, and how often each comes up in play.

    python benchmarks/play_table.py --attempts 100 --play-minutes 30 --json FILE

Attempts run on fresh scenes drawn from their seed alone. Play is counted in episodes of a minute, as ``collect`` makes
them. The result is printed as a Markdown table.
"""

import argparse
import json
import multiprocessing
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning.core.types import End
from robot_learning.sim.demonstrations import scripted_attempt
from robot_learning.sim.operator.operators import PlayOperator
from robot_learning.sim.robot import CONTROL_HZ, PlayTableRobot
from robot_learning.sim.tasks.table import TASKS


def main(argv: list[str] | None = None) -> None:
    """Measure, print the table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=100, help="attempts per task")
    parser.add_argument("--play-minutes", type=int, default=30, help="minutes of play to count tasks in")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args(argv)
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        rows = pool.map(partial(attempt_task, attempts=options.attempts, seed=options.seed), TASKS, chunksize=1)
        minutes = range(options.seed, options.seed + options.play_minutes)
        played: Counter[str] = sum(pool.map(play_a_minute, minutes, chunksize=1), Counter())
    for row in rows:
        row["in_play"] = played[row["task"]]
    _print(rows, options.attempts, options.play_minutes)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def attempt_task(name: str, *, attempts: int, seed: int) -> dict[str, Any]:
    """Return how many of the attempts at a task succeeded, and how many steps they took."""
    robot = PlayTableRobot()
    robot.connect()
    episodes = [scripted_attempt(robot, name, seed + index) for index in range(attempts)]
    robot.close()
    steps = [episode.steps for episode in episodes]
    failed = [seed + index for index, episode in enumerate(episodes) if not episode.outcome.success]
    return {
        "task": name,
        "succeeded": attempts - len(failed),
        "mean_s": float(np.mean(steps)) / CONTROL_HZ,
        "p95_s": float(np.quantile(steps, 0.95)) / CONTROL_HZ,
        "failed_seeds": failed,
    }


def play_a_minute(seed: int) -> Counter[str]:
    """Return how often each task was played in an episode of one minute."""
    robot, operator = PlayTableRobot(), PlayOperator()
    robot.connect()
    observation = robot.reset(seed=seed)
    operator.reset(seed=seed)
    for _ in range(round(60 * CONTROL_HZ)):
        action = operator.act(observation)
        if isinstance(action, End):
            break
        robot.apply(action)
        observation = robot.observe()
    robot.close()
    return operator.counts


def _print(rows: list[dict[str, Any]], attempts: int, minutes: int) -> None:
    print(f"| task | succeeded of {attempts} | mean time | 95 % take at most | times in {minutes} min of play |")
    print("|---|---:|---:|---:|---:|")
    for row in rows:
        times = f"{row['mean_s']:.1f} s | {row['p95_s']:.1f} s"
        print(f"| `{row['task']}` | {row['succeeded']} | {times} | {row['in_play']} |")


if __name__ == "__main__":
    main()
