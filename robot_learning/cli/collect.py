"""Collect demonstrations or play into a store."""

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from robot_learning.cli.compose import instantiate, run
from robot_learning.collection.collect import Recipe, collect
from robot_learning.core.errors import ConfigError
from robot_learning.core.spec import RobotSpec
from robot_learning.datasets.store import DemoStore

EXAMPLES = (
    "robot-learning collect out=runs/play.zarr minutes=30",
    "robot-learning collect out=runs/seen.zarr minutes=5 'task.cameras=[{name: static, width: 96, height: 96}]'",
    "robot-learning collect out=runs/doors.zarr operator.tasks=[open_sliding,close_sliding] operator.chain=4 minutes=2",
)


def main(argv: list[str]) -> int:
    """Run the command."""
    return run("collect", argv, _collect, description=__doc__ or "", examples=EXAMPLES)


def _collect(cfg: DictConfig) -> int:
    suite = instantiate(cfg.task)
    spec: RobotSpec = suite.make_robot().spec
    if cfg.minutes <= 0 or cfg.episode_seconds <= 0:
        raise ConfigError(f"minutes and episode_seconds: expected > 0, got {cfg.minutes} and {cfg.episode_seconds}")
    wanted = round(cfg.minutes * 60 * spec.control_hz)
    recipe = Recipe(
        suite=partial(instantiate, cfg.task),
        actor=partial(instantiate, cfg.operator, **_spec_argument(cfg.operator, spec)),
        max_steps=min(wanted, round(cfg.episode_seconds * spec.control_hz)),
        operator=str(cfg.operator._target_).rsplit(".", 1)[-1],
    )
    workers = os.cpu_count() or 1 if cfg.workers is None else int(cfg.workers)
    out = Path(cfg.out)
    store = DemoStore.open(out, "a") if cfg.resume and out.exists() else DemoStore.create(out, spec, **_options(cfg))
    began = time.monotonic()
    with store, tqdm(total=wanted, initial=store.n_steps, unit="step", desc=out.name, smoothing=0.1) as bar:
        while store.n_steps < wanted:
            first = cfg.seed * 1_000_000 + len(store)
            missing = -(-(wanted - store.n_steps) // recipe.max_steps)
            for episode in collect(store, recipe, range(first, first + missing), workers=workers):
                bar.update(episode.steps)
        seconds = time.monotonic() - began
        print(
            f"{out}: {len(store)} episodes, {store.n_steps} steps, {store.n_steps / spec.control_hz / 60:.1f} minutes of "
            f"robot time, collected in {seconds:.0f} s"
        )
    return 0


def _spec_argument(operator: DictConfig, spec: RobotSpec) -> dict[str, Any]:
    """Return ``spec=`` for actors that are made for a robot, such as the random one."""
    return {"spec": spec} if str(operator._target_).endswith("RandomActor") else {}


def _options(cfg: DictConfig) -> dict[str, Any]:
    return {"image_codec": cfg.image_codec, "meta": {"task": cfg.task._target_, "seed": int(cfg.seed)}}
