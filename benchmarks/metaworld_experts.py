"""How often Meta-World's scripted experts succeed behind our robot, per task, and how fast the simulation runs.

    python benchmarks/metaworld_experts.py [--attempts 20] [--json FILE]

Needs the extra ``metaworld``. An attempt starts from a seed of its own and may take 500 steps.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np

from robot_learning.sim.suites.metaworld import MAX_STEPS, MetaWorldSuite, task_names


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=20, help="per task (default: %(default)d)")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # Meta-World's own
    results = {}
    print(f"| task | expert succeeded, of {options.attempts} | mean steps | control steps/s |\n|---|---:|---:|---:|")
    for task in task_names():
        results[task] = row = measure(task, options.attempts)
        print(f"| {task} | {row['succeeded']} | {row['mean_steps']:.0f} | {row['steps_per_s']:.0f} |", flush=True)
    share = np.mean([row["succeeded"] for row in results.values()]) / options.attempts
    print(f"| **all** | {100 * share:.1f} % | | |")
    if options.json:
        options.json.write_text(json.dumps({"attempts": options.attempts, "tasks": results}, indent=1), encoding="utf-8")


def measure(task: str, attempts: int) -> dict[str, float]:
    """Return successes, their mean length, and control steps per second, expert included."""
    suite = MetaWorldSuite([task])
    robot, expert = suite.make_robot(), suite.expert(task)
    robot.connect()
    lengths, steps, start = [], 0, time.perf_counter()
    for trial in suite.trials(attempts, seed=0):
        observation = robot.reset(seed=trial.seed)
        for step in range(MAX_STEPS):
            robot.apply(expert.act(observation))
            observation = robot.observe()
            steps += 1
            if observation["success"][0]:
                lengths.append(step + 1)
                break
    seconds = time.perf_counter() - start
    robot.close()
    mean = float(np.mean(lengths)) if lengths else float("nan")
    return {"succeeded": len(lengths), "mean_steps": mean, "steps_per_s": steps / seconds}


if __name__ == "__main__":
    main()
