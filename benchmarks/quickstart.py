"""The tables of docs/results/quickstart.md, from quickstarts with different seeds.

    for seed in 0 1 2; do robot-learning quickstart --seed $seed --out runs/q$seed; done
    python benchmarks/quickstart.py runs/q0 runs/q1 runs/q2

One row per seed and policy, then success by task over all seeds with Wilson 95 % intervals.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from robot_learning.evaluation.intervals import wilson

POLICIES = ("beso", "gcbc", "random")


def overview(runs: list[dict[str, Any]]) -> str:
    """Return the table of mean success by seed and policy."""
    rows = ["| seed | policy | success | 95 % interval | rollouts | wall time |", "|---:|---|---:|---:|---:|---:|"]
    for run in runs:
        for name in POLICIES:
            low, high = run[name]["interval"]
            time = f"{run['seconds']['total'] / 60:.1f} min" if name == POLICIES[0] else ""
            figures = f"{run[name]['mean_success']:.1%} | {low:.1%} to {high:.1%} | {run[name]['rollouts']} | {time}"
            rows.append(f"| {run['settings']['seed']} | {name} | {figures} |")
    return "\n".join(rows)


def by_task(runs: list[dict[str, Any]]) -> str:
    """Return the table of success by task, seeds pooled."""
    rows = ["| task | " + " | ".join(POLICIES) + " |", "|---|" + "---:|" * len(POLICIES)]
    for task in runs[0][POLICIES[0]]["tasks"]:
        cells = []
        for name in POLICIES:
            results = [run[name]["tasks"][task] for run in runs]
            total = sum(result["rollouts"] for result in results)
            reached = round(sum(result["success"] * result["rollouts"] for result in results))
            low, high = wilson(reached, total)
            cells.append(f"{reached / total:.0%} ({low:.0%} to {high:.0%})")
        rows.append(f"| `{task}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of quickstarts")
    runs = [json.loads((folder / "summary.json").read_text(encoding="utf-8")) for folder in parser.parse_args().runs]
    print(overview(runs), by_task(runs), sep="\n\n")


if __name__ == "__main__":
    main()
