"""Steps per second of training, and what our loop costs over a bare one.

    python benchmarks/train.py [--steps N] [--json FILE]

For each shipped policy, on play-like data of 36,000 steps: a bare loop of loss, backward and optimiser step on one ready
batch, and our learner fed by our loader (clipping, weight average, learning-rate schedule, keyed noise), measured in turns in
one process. Ratios come first; "waiting" is the share of a step spent waiting for the loader.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf

from robot_learning.cli.compose import compose
from robot_learning.core.types import Episode
from robot_learning.datasets.loader import WindowLoader
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.windows import Windows, WindowSpec
from robot_learning.learning.learner import Learner
from robot_learning.learning.recipe import Recipe
from robot_learning.policies.policy import build_policy
from robot_learning.sim.robot import PlayTableRobot

POLICIES = ("beso_mlp", "gcbc_mlp", "beso", "gcbc")
EPISODES, STEPS = 30, 1200


def make_store(path: Path) -> DemoStore:
    """Write a store of play's size: random numbers of the play table's shapes."""
    spec, rng = PlayTableRobot().spec, np.random.default_rng(0)
    store = DemoStore.create(path, spec)
    for _ in range(EPISODES):
        rows = STEPS + 1
        action = rng.uniform(-1, 1, (STEPS, *spec.action.shape)).astype(np.float32)
        store.append(
            Episode(
                observation={k: rng.normal(size=(rows, *a.shape)).astype(np.float32) for k, a in spec.observation.items()},
                action=action,
                applied=action,
                time=np.arange(rows) / spec.control_hz,
                source=("random",) * STEPS,
                reward=np.full(STEPS, np.nan, np.float32),
            )
        )
    return store


def measure(name: str, store: DemoStore, steps: int) -> dict[str, float]:
    """Return the figures of one policy."""
    cfg = compose("train", [f"policy={name}"])
    config = OmegaConf.to_container(cfg.policy, resolve=True)
    recipe = Recipe(lr=1e-4, warmup=0)
    batch_size = int(cfg.data.batch_size)
    policy = build_policy(config, store.spec, store.statistics())
    bare_policy = build_policy(config, store.spec, store.statistics())
    window = WindowSpec(policy.n_obs, policy.horizon, "future", (1, 80))
    loader = WindowLoader(Windows(store, window, policy.observation_keys, policy.goal_keys), batch_size, seed=0)
    learner = Learner(policy, recipe, steps=10**6)
    optimizer = recipe.build_optimizer(bare_policy)
    ready = next(loader)
    bare = ours = waited = 0.0
    for step in range(-3, steps):  # the first turns warm up
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.autocasts(torch.device("cpu"))):
            loss, _ = bare_policy.loss(ready, torch.Generator().manual_seed(step + 3))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        middle = time.perf_counter()
        batch = next(loader)
        loaded = time.perf_counter()
        learner.step(batch)
        end = time.perf_counter()
        if step >= 0:
            bare, ours, waited = bare + middle - began, ours + end - middle, waited + loaded - middle
    return {
        "ratio_to_bare": bare / ours,
        "waiting": waited / ours,
        "steps_per_s": steps / ours,
        "samples_per_s": batch_size * steps / ours,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="steps per policy (default: %(default)d)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: %(default)d)")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder, make_store(Path(folder) / "play.zarr") as store:
        figures = {name: measure(name, store, arguments.steps) for name in POLICIES}
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {arguments.threads} thread(s)"
    print(f"{'policy':<10}{'ours / bare':>12}{'waiting':>10}{'steps/s':>10}{'samples/s':>12}   on {machine}")
    for name, row in figures.items():
        print(
            f"{name:<10}{row['ratio_to_bare']:>12.2f}{row['waiting']:>10.1%}{row['steps_per_s']:>10.1f}{row['samples_per_s']:>12,.0f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "policies": figures}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
