"""Collect demonstrations or play into a store."""

import os
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from robot_learning.cli.compose import instantiate, run
from robot_learning.collection.collect import Recipe, collect
from robot_learning.collection.demonstrations import Expert, demonstrate
from robot_learning.core.errors import ConfigError
from robot_learning.core.protocols import Actor, TaskSuite
from robot_learning.core.spec import RobotSpec
from robot_learning.datasets.store import DemoStore

EXAMPLES = (
    "robot-learning collect out=runs/play.zarr minutes=30",
    "robot-learning collect out=runs/seen.zarr minutes=5 'task.cameras=[{name: static, width: 96, height: 96}]'",
    "robot-learning collect out=runs/doors.zarr operator.tasks=[open_sliding,close_sliding] operator.chain=4 minutes=2",
    "robot-learning collect out=runs/door.zarr task=metaworld/door-open operator=expert episodes=40",
)


def main(argv: list[str]) -> int:
    """Run the command."""
    return run("collect", argv, _collect, description=__doc__ or "", examples=EXAMPLES)


def _collect(cfg: DictConfig) -> int:
    suite: TaskSuite = instantiate(cfg.task)
    spec = suite.make_robot().spec
    make_operator = partial(instantiate, cfg.operator, **_spec_argument(cfg.operator, spec))
    operator = make_operator()
    began = time.monotonic()
    store = _demonstrations(cfg, suite, spec, operator) if isinstance(operator, Expert) else _play(cfg, spec, make_operator)
    print(
        f"{store.path}: {len(store)} episodes, {store.n_steps} steps, {store.n_steps / spec.control_hz / 60:.1f} minutes of "
        f"robot time, collected in {time.monotonic() - began:.0f} s"
    )
    return 0


def _play(cfg: DictConfig, spec: RobotSpec, make_operator: Callable[[], Actor]) -> DemoStore:
    """Let the operator act for ``minutes``."""
    if cfg.minutes <= 0 or cfg.episode_seconds <= 0:
        raise ConfigError(f"minutes and episode_seconds: expected > 0, got {cfg.minutes} and {cfg.episode_seconds}")
    wanted = round(cfg.minutes * 60 * spec.control_hz)
    recipe = Recipe(
        suite=partial(instantiate, cfg.task),
        actor=make_operator,
        max_steps=min(wanted, round(cfg.episode_seconds * spec.control_hz)),
        operator=str(cfg.operator._target_).rsplit(".", 1)[-1],
    )
    store = _open(cfg, spec)
    with store, tqdm(total=wanted, initial=store.n_steps, unit="step", desc=store.path.name, smoothing=0.1) as bar:
        while store.n_steps < wanted:
            first = cfg.seed * 1_000_000 + len(store)
            missing = -(-(wanted - store.n_steps) // recipe.max_steps)
            for episode in collect(store, recipe, range(first, first + missing), workers=_workers(cfg)):
                bar.update(episode.steps)
    return store


def _demonstrations(cfg: DictConfig, suite: TaskSuite, spec: RobotSpec, expert: Expert) -> DemoStore:
    """Let the suite's experts do ``episodes`` of every task, and say how often they failed."""
    if cfg.episodes <= 0:
        raise ConfigError(f"episodes: expected > 0, got {cfg.episodes}")
    for task in suite.tasks:
        expert.actor(suite, task)
    tried: Counter[str] = Counter()
    succeeded: Counter[str] = Counter()
    store = _open(cfg, spec)
    with store, tqdm(total=cfg.episodes * len(suite.tasks), initial=len(store), unit="episode", desc=store.path.name) as bar:
        attempts = demonstrate(
            store,
            partial(instantiate, cfg.task),
            expert,
            episodes=int(cfg.episodes),
            seed=int(cfg.seed),
            keep_failures=bool(cfg.keep_failures),
            workers=_workers(cfg),
        )
        for episode in attempts:
            task = str(episode.meta["task"])
            tried[task] += 1
            succeeded[task] += bool(episode.outcome.success)
            bar.update(len(store) - bar.n)
    for task, count in tried.items():
        print(f"{task}: the expert succeeded in {succeeded[task]} of {count} attempts")
    return store


def _open(cfg: DictConfig, spec: RobotSpec) -> DemoStore:
    out = Path(cfg.out)
    if cfg.resume and out.exists():
        return DemoStore.open(out, "a")
    meta = {"task": cfg.task._target_, "seed": int(cfg.seed)}
    return DemoStore.create(out, spec, image_codec=cfg.image_codec, meta=meta)


def _workers(cfg: DictConfig) -> int:
    return os.cpu_count() or 1 if cfg.workers is None else int(cfg.workers)


def _spec_argument(operator: DictConfig, spec: RobotSpec) -> dict[str, Any]:
    """Return ``spec=`` for actors that are made for a robot, such as the random one."""
    return {"spec": spec} if str(operator._target_).endswith("RandomActor") else {}
