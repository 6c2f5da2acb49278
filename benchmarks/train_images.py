"""Samples per second of training policies that see, by how the update is computed, and how long they wait for data.

    python benchmarks/train_images.py [--device cuda] [--json FILE]

BESO and ACT from two cameras of 96 x 96 pixels, their windows drawn by our loader from a store (resident on a GPU). The
variants of a policy take turns in one process: precision, memory order of convolutions (``learner.channels_last``), and on
request ``torch.compile``. "waiting" is the share of the time spent waiting for the loader.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loader import fill, machine
from omegaconf import OmegaConf

from robot_learning.cli.compose import compose
from robot_learning.datasets.loader import WindowLoader
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.windows import Windows, WindowSpec
from robot_learning.learning.learner import Learner
from robot_learning.learning.recipe import Recipe
from robot_learning.policies.policy import build_policy
from robot_learning.sim.robot import Camera, PlayTableRobot

BASE = Recipe(lr=1e-5, warmup=0, precision="fp32", channels_last=False)
VARIANTS = {
    "fp32": BASE,
    "fp32, channels last": replace(BASE, channels_last=True),
    "bf16": replace(BASE, precision="bf16"),
    "bf16, channels last": replace(BASE, precision="bf16", channels_last=True),
}


def measure(name: str, store: DemoStore, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return samples per second, the ratio to the first variant and the share of waiting of every variant; medians."""
    cfg = compose("train", [f"policy={name}", "data=play_images"])
    config = OmegaConf.to_container(cfg.policy, resolve=True)
    variants = dict(VARIANTS)
    if options.compile:
        variants["bf16, channels last, compiled"] = replace(BASE, precision="bf16", channels_last=True, compile=True)
    learners = {}
    for variant, recipe in variants.items():
        policy = build_policy(config, store.spec, store.statistics()).to(options.device)
        learners[variant] = Learner(policy, recipe, steps=10**6)
    spec = WindowSpec(policy.n_obs, policy.n_action, "future" if policy.goal_keys else "none", (1, 80))
    windows = Windows(store, spec, policy.observation_keys, policy.goal_keys)
    loader = WindowLoader(windows, options.batch, seed=0, device=options.device, num_workers=1, resident="auto")
    turns: dict[str, list[tuple[float, float]]] = {variant: [] for variant in learners}
    for count in range(options.rounds + 1):
        for variant, learner in learners.items():
            figures = turn(learner, loader, options.seconds)
            if count:  # the first round warms up
                turns[variant].append(figures)
    loader.close()
    first = np.array(turns["fp32"])[:, 0]
    return {
        variant: {
            "samples_per_s": float(np.median(figures[:, 0])),
            "ratio": float(np.median(figures[:, 0] / first)),
            "waiting": float(np.median(figures[:, 1])),
        }
        for variant, figures in ((variant, np.array(rows)) for variant, rows in turns.items())
    }


def turn(learner: Learner, loader: WindowLoader, seconds: float) -> tuple[float, float]:
    """Train for so long and return samples per second and the share of the time spent waiting for batches."""
    samples, waited, began = 0, 0.0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        asked = time.perf_counter()
        batch = next(loader)
        waited += time.perf_counter() - asked
        learner.step(batch)
        samples += loader.batch_size
    if learner.device.type == "cuda":
        torch.cuda.synchronize()
    elapsed = time.perf_counter() - began
    return samples / elapsed, waited / elapsed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", nargs="+", default=["beso", "act_small"], help="default: %(default)s")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batch", type=int, default=16, help="windows per step (default: %(default)d)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every variant (default: %(default)d)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a turn (default: %(default)g)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: %(default)d)")
    parser.add_argument("--compile", action="store_true", help="compile the loss, too; takes minutes")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    spec = PlayTableRobot(cameras=[Camera("static", 96, 96), Camera("wrist", 96, 96)]).spec
    with tempfile.TemporaryDirectory() as folder:
        store = DemoStore.open(fill(Path(folder) / "images.zarr", spec, episodes=4))
        figures: dict[str, Any] = {name: measure(name, store, options) for name in options.policies}
    for name, rows in figures.items():
        print(f"{name}, batch {options.batch}")
        for variant, row in rows.items():
            print(f"  {row['ratio']:6.2f} x  {row['samples_per_s']:9,.1f} samples/s  waiting {row['waiting']:.1%}  {variant}")
    print(machine())
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "policies": figures}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
