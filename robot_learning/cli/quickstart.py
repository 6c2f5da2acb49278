"""Collect play, train GCBC and BESO, evaluate and deploy: the whole path, with one report."""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from robot_learning.cli.compose import compose, instantiate
from robot_learning.cli.evaluate import contenders, show
from robot_learning.core.errors import ConfigError
from robot_learning.evaluation.evaluate import Evaluation, evaluate
from robot_learning.evaluation.pages import evaluation_report
from robot_learning.evaluation.report import Report

POLICIES = ("gcbc", "beso")
STEPS = {"state": 12000, "images": 6000}
"""Optimiser steps per policy: from states about four minutes on one core with bf16 units, both policies side by side."""
MINUTES = {"state": 180.0, "images": 60.0}
"""Play to collect, robot time."""
CAMERA = "task.cameras=[{name: static, width: 96, height: 96}, {name: wrist, width: 96, height: 96}]"


class PhaseFailed(ConfigError):
    """A command of the quickstart failed; the message says which and where its output is."""


@dataclass
class Quickstart:
    """The phases, their commands and how long they took.

    Attributes:
        out: Run folder.
        seed: Of everything.
        minutes: Play to collect.
        steps: Optimiser steps per policy.
        per_task: Held-out goals per task.
        images: Learn from cameras instead of the scene's state.
        seconds: Wall time of each phase so far.
        commands: What was run, as (phase, command, seconds).
    """

    out: Path
    seed: int
    minutes: float
    steps: int
    per_task: int
    images: bool
    seconds: dict[str, float] = field(default_factory=dict)
    commands: list[tuple[str, str, float | None]] = field(default_factory=list)

    def run(self) -> Path:
        """Run all phases and return the report's path."""
        cameras = [CAMERA] if self.images else []
        self._phase("collect", [self._collect("play.zarr", [f"minutes={self.minutes:g}", f"seed={self.seed}", *cameras])])
        self._phase("train", [self._train(name) for name in POLICIES])
        result, command = self._evaluate(cameras)
        goal = ["operator.chain=1", "minutes=0.1", "episode_seconds=10", f"seed={self.seed + 1}", "workers=0", *cameras]
        self._phase("deploy", [self._collect("goal.zarr", goal)], label="deploy: a goal")
        self._phase("deploy", [self._deploy(cameras)])
        self._summary(result)
        return evaluation_report(
            result,
            self.out / "report",
            self._suite(cameras),
            videos=2,
            command=command,
            title="Quickstart: a play table, learned from play",
            extend=self._sections,
        )

    def _collect(self, name: str, options: list[str]) -> list[str]:
        return ["collect", f"out={self.out / name}", *options]

    def _train(self, name: str) -> list[str]:
        data = "play_images" if self.images else "play"
        return [
            "train",
            f"policy={name}_mlp",
            f"data={data}",
            f"data.stores=[{self.out / 'play.zarr'}]",
            "learner=quickstart",
            f"out={self.out / name}",
            f"steps={self.steps}",
            f"seed={self.seed}",
            f"threads={max(1, (os.cpu_count() or 2) // len(POLICIES))}",
        ]

    def _deploy(self, cameras: list[str]) -> list[str]:
        goal = self.out / "goal.zarr"
        return [
            "deploy",
            f"checkpoint={self.out / 'beso/checkpoints/last'}",
            f"start={goal}:0@0",
            f"goal={goal}:0@end",
            "execution.execute=4",
            "seconds=8",
            f"seed={self.seed}",
            f"out={self.out / 'deploy'}",
            *cameras,
        ]

    def _evaluate(self, cameras: list[str]) -> tuple[Evaluation, str]:
        """Evaluate in this process, exactly as the command that is shown would."""
        folders = ", ".join(f"{name}: {self.out / name / 'checkpoints/last'}" for name in reversed(POLICIES))
        options = [f"checkpoints={{{folders}}}", "random=true", f"per_task={self.per_task}", f"seed={self.seed}", *cameras]
        command = shlex.join(["robot-learning", "evaluate", *options, f"out={self.out / 'evaluate'}"])
        print(f"\n[evaluate] {command}", flush=True)
        began = time.monotonic()
        result = evaluate(
            self._suite(cameras), contenders(compose("evaluate", options)), per_task=self.per_task, seed=self.seed
        )
        result.write(self.out / "evaluate/results.json", command)
        show(result)
        self._note("evaluate", "evaluate", command, time.monotonic() - began)
        return result, command

    def _suite(self, cameras: list[str]) -> Any:
        return partial(instantiate, compose("evaluate", cameras).task)

    def _phase(self, name: str, jobs: Sequence[list[str]], label: str = "") -> None:
        """Run commands side by side; the first one's output is shown, the others' goes to files."""
        began = time.monotonic()
        shown = [shlex.join(["robot-learning", *job]) for job in jobs]
        for line in shown:
            print(f"\n[{name}] {line}", flush=True)
        logs = [None if index == len(jobs) - 1 else self.out / f"{job[0]}-{index}.log" for index, job in enumerate(jobs)]
        processes = [_start(job, log) for job, log in zip(jobs, logs, strict=True)]
        try:
            codes = [process.wait() for process in processes]
        except BaseException:
            for process in processes:
                process.terminate()
            raise
        seconds = time.monotonic() - began
        for line, code, log in zip(shown, codes, logs, strict=True):
            if code != 0:
                where = f"; its output is in {log}" if log else ""
                raise PhaseFailed(f"{name}: exit status {code} from\n  {line}{where}")
            self._note(name, label or name, line, seconds)
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def _note(self, name: str, label: str, command: str, seconds: float) -> None:
        self.commands.append((label, command, seconds))
        if name == "evaluate":
            self.seconds[name] = seconds

    def _summary(self, result: Evaluation) -> None:
        """Write ``summary.json``: each policy's mean success with its interval and per task, and the phases' seconds."""
        policies = {}
        for name in result.contenders:
            figures = result.summary(name)
            policies[name] = {
                "mean_success": figures["success"],
                "interval": figures["success_interval"],
                "rollouts": figures["rollouts"],
                "tasks": figures["tasks"],
            }
        settings = {"seed": self.seed, "minutes": self.minutes, "steps": self.steps, "images": self.images}
        summary = {**policies, "seconds": {**self.seconds, "total": sum(self.seconds.values())}, "settings": settings}
        (self.out / "summary.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")

    def _sections(self, report: Report) -> None:
        """Add what happened around the evaluation: deployment, time, commands."""
        deployed = json.loads((self.out / "deploy/report.json").read_text(encoding="utf-8"))
        report.add_json("Deployment in real time", deployed)
        rows = [[phase, f"{seconds:.0f} s"] for phase, seconds in self.seconds.items()]
        report.add_table("Time", ["phase", "wall time"], rows, "GCBC and BESO train side by side.")
        report.add_commands("Every step, as a command", self.commands)


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = _parser().parse_args(argv)
    out = Path(arguments.out)
    if (out / "summary.json").exists() or (out / "play.zarr").exists():
        raise ConfigError(f"{out}: holds a quickstart already; choose another --out, or remove it")
    out.mkdir(parents=True, exist_ok=True)
    kind = "images" if arguments.images else "state"
    quickstart = Quickstart(
        out=out,
        seed=arguments.seed,
        minutes=MINUTES[kind] if arguments.minutes is None else arguments.minutes,
        steps=STEPS[kind] if arguments.steps is None else arguments.steps,
        per_task=arguments.per_task,
        images=arguments.images,
    )
    page = quickstart.run()
    print(f"\n{sum(quickstart.seconds.values()):.0f} s in all\n{out / 'summary.json'}\n{page}")
    if arguments.open:
        webbrowser.open(page.resolve().as_uri())
    return 0


def _start(job: list[str], log: Path | None) -> subprocess.Popen[bytes]:
    """Start ``robot-learning JOB`` with this Python."""
    command = [sys.executable, "-m", "robot_learning.cli.main", *job]
    if log is None:
        return subprocess.Popen(command)
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def _defaults(what: str, values: Mapping[str, float]) -> str:
    return f"{what} (default: {values['state']:g}, with --images {values['images']:g})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="robot-learning quickstart",
        description=__doc__,
        epilog="examples:\n  robot-learning quickstart\n  robot-learning quickstart --out runs/second --seed 1 --open\n"
        "  robot-learning quickstart --images",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", default="runs/quickstart", help="run folder (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same numbers on the same machine (default: 0)")
    parser.add_argument("--minutes", type=float, help=_defaults("play to collect, robot time", MINUTES))
    parser.add_argument("--steps", type=int, help=_defaults("optimiser steps per policy", STEPS))
    parser.add_argument("--per-task", type=int, default=20, help="held-out goals per task (default: %(default)d)")
    parser.add_argument("--images", action="store_true", help="learn from 96x96 cameras; takes longer")
    parser.add_argument("--open", action="store_true", help="open the report in a browser")
    return parser
