"""Steps per second of training, and what our loop costs over a bare one.

    python benchmarks/train.py [--steps N] [--json FILE]

For each shipped policy, on play-like data of 36,000 steps: a bare loop of loss, backward and optimiser step on one ready
batch, and our learner fed by our loader (clipping, weight average, learning-rate schedule, keyed noise), measured in turns in
one process. Ratios come first; "waiting" is the share of a step spent waiting for the loader.

    python benchmarks/train.py --lerobot build/peers/lerobot/bin/python [--device cuda]

Our ACT and Diffusion Policy beside lerobot's of as many parameters, in turns, each on one batch of random numbers that lies
ready in memory: ACT from two cameras of 96 x 96 pixels in chunks of 100 actions, batch 8; Diffusion Policy from states, two
observed steps and sixteen actions, batch 64, our U-Net and our transformer beside lerobot's U-Net. Ours with the default
precision (bf16 where the hardware multiplies it) and in fp32; lerobot's in fp32, its default. ``benchmarks/peers/lerobot.sh``
makes its environment.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from peers.peer import Peer

from robot_learning.cli.compose import compose
from robot_learning.core.types import Episode, Stats
from robot_learning.datasets.loader import WindowLoader
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.windows import Windows, WindowSpec
from robot_learning.learning.learner import Learner
from robot_learning.learning.recipe import Recipe
from robot_learning.policies.policy import LearnedPolicy, build_policy
from robot_learning.sim.robot import Camera, PlayTableRobot

POLICIES = ("beso_mlp", "gcbc_mlp", "beso", "gcbc")
EPISODES, STEPS = 30, 1200
DOWN_DIMS = "88,176,352"
"""Of the U-Nets: about as many parameters as our transformer."""


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


PEERS: dict[str, tuple[list[str], int, str]] = {
    "act": (["policy=act", "data=play_images", "data.goal_keys=[]"], 8, "-"),
    "diffusion, U-Net": (
        [
            "policy=diffusion_policy_unet",
            f"policy.network.channels=[{DOWN_DIMS}]",
            "policy.network.step_size=128",
            "data.goal_keys=[]",
            "data.interchangeable=null",
        ],
        64,
        DOWN_DIMS,
    ),
    "diffusion, transformer": (
        ["policy=diffusion_policy", "policy.horizon=15", "data.goal_keys=[]", "data.interchangeable=null"],
        64,
        DOWN_DIMS,
    ),
}
"""Per policy: our settings, the batch, and lerobot's U-Net."""


def beside_lerobot(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return parameters and samples per second of ours and of lerobot's, which take turns."""
    overrides, batch_size, extra = PEERS[kind]
    cfg = compose("train", overrides)
    spec = PlayTableRobot(cameras=[Camera("static", 96, 96), Camera("wrist", 96, 96)]).spec
    shapes = {**{key: array.shape for key, array in spec.observation.items()}, "action": spec.action.shape}
    ones = {key: np.ones(shape) for key, shape in shapes.items()}
    statistics = {key: Stats(100, 0 * one, one, -one, one, -one, one) for key, one in ones.items()}
    learners = {}
    for precision in ("auto", "fp32"):
        policy = build_policy(OmegaConf.to_container(cfg.policy, resolve=True), spec, statistics).to(options.device)
        learners[f"ours, {precision}"] = Learner(policy, Recipe(lr=1e-5, warmup=0, precision=precision), steps=10**6)
    batch = random_batch(policy, batch_size, options.device)
    for learner in learners.values():
        for _ in range(3):
            learner.step(batch)
    script = Path(__file__).parent / "peers" / "lerobot_train.py"
    rates: dict[str, list[float]] = {name: [] for name in (*learners, "lerobot")}
    with Peer(options.lerobot, script, kind.split(",")[0], batch_size, options.device, extra, options.threads) as peer:
        parameters = {"ours": sum(value.numel() for value in policy.parameters()), "lerobot": peer.turn("parameters")}
        for _ in range(options.rounds):
            for name, learner in learners.items():
                rates[name].append(samples_per_s(learner, batch, batch_size, options.seconds))
            rates["lerobot"].append(peer.turn(options.seconds))
    ratio = {name: float(np.median(np.array(values) / np.array(rates["lerobot"]))) for name, values in rates.items()}
    medians = {name: float(np.median(values)) for name, values in rates.items()}
    return {"ratio_to_lerobot": ratio, "samples_per_s": medians, "parameters": parameters}


def samples_per_s(learner: Learner, batch: dict[str, Any], batch_size: int, seconds: float) -> float:
    """Return the rate of whole updates over at least so long."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        learner.step(batch)
        count += 1
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return count * batch_size / (time.perf_counter() - start)


def random_batch(policy: LearnedPolicy, size: int, device: str) -> dict[str, Any]:
    """Return a batch without goals and without padding."""
    generator = torch.Generator().manual_seed(0)

    def draw(key: str, *steps: int) -> torch.Tensor:
        array = policy.spec.observation.get(key, policy.spec.action)
        shape = (size, *steps, *array.shape)
        if array.is_image:
            return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        return torch.rand(shape, generator=generator) * 2 - 1

    steps = policy.n_obs - 1 + policy.n_action
    batch: dict[str, Any] = {"observation": {key: draw(key, policy.n_obs).to(device) for key in policy.observation_keys}}
    batch |= {
        "action": draw("action", steps).to(device),
        "action_mask": torch.ones(size, steps, dtype=torch.bool, device=device),
    }
    return batch


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="steps per policy (default: %(default)d)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: %(default)d)")
    parser.add_argument("--lerobot", type=Path, help="interpreter of lerobot's environment: compare with it instead")
    parser.add_argument("--device", default="cpu", help="of the comparison: cpu or cuda")
    parser.add_argument("--rounds", type=int, default=5, help="turns that every side of the comparison takes")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a turn")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.threads} thread(s)"
    machine = machine if options.device == "cpu" else torch.cuda.get_device_name()
    if options.lerobot is None:
        figures = _own(options.steps, machine)
    else:
        figures = {kind: beside_lerobot(kind, options) for kind in PEERS}
        _print_beside(figures, machine)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "policies": figures}, indent=1), encoding="utf-8")


def _own(steps: int, machine: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, make_store(Path(folder) / "play.zarr") as store:
        figures = {name: measure(name, store, steps) for name in POLICIES}
    print(f"{'policy':<10}{'ours / bare':>12}{'waiting':>10}{'steps/s':>10}{'samples/s':>12}   on {machine}")
    for name, row in figures.items():
        ratio, waiting, speed, rate = (row[key] for key in ("ratio_to_bare", "waiting", "steps_per_s", "samples_per_s"))
        print(f"{name:<10}{ratio:>12.2f}{waiting:>10.1%}{speed:>10.1f}{rate:>12,.0f}")
    return figures


def _print_beside(figures: dict[str, Any], machine: str) -> None:
    for kind, row in figures.items():
        millions = {name: count / 1e6 for name, count in row["parameters"].items()}
        print(f"{kind}: {millions['ours']:.1f} M parameters, lerobot's {millions['lerobot']:.1f} M")
        for name, rate in row["samples_per_s"].items():
            print(f"  {row['ratio_to_lerobot'][name]:6.2f} x lerobot  {rate:10,.1f} samples/s  {name}")
    print(f"on {machine}")


if __name__ == "__main__":
    main()
