"""Milliseconds per ``act``: BESO in one, three and ten denoising steps, GCBC, and a 100-step DDPM on BESO's own network.

    python benchmarks/inference.py --json FILE

The policies of the configs ``beso``, ``beso_mlp``, ``gcbc`` and ``gcbc_mlp`` with the play table's sizes and untrained
weights, one observation at a time, on one thread. The DDPM is diffusers' ``DDPMScheduler`` driving the same score network,
with states and goal embedded once per action as in BESO; it too starts from the window and ends with the chunk in raw units.
All of them take turns, so a busy machine slows them alike.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DDPMScheduler
from omegaconf import OmegaConf

from robot_learning.cli.compose import compose
from robot_learning.core.types import Stats
from robot_learning.policies.beso.beso import BESO
from robot_learning.policies.policy import LearnedPolicy, build_policy
from robot_learning.sim.robot import PlayTableRobot

NETWORKS = {"transformer": "", "perceptron": "_mlp"}
DDPM_STEPS = 100


def main(argv: list[str] | None = None) -> None:
    """Measure, print the ratio first, and write everything as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="turns that every policy takes")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    report = {"machine": machine(), "rounds": options.rounds}
    report |= {name: summary(measure(contenders(suffix), options.rounds)) for name, suffix in NETWORKS.items()}
    for name in NETWORKS:
        _print(name, report[name])
    print(f"\n{report['machine']}")
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def contenders(suffix: str) -> dict[str, Callable[[], Any]]:
    """Return what is compared, by name: functions from nothing to a chunk."""
    policies = {f"BESO {steps} steps": make_policy(f"beso{suffix}", steps=steps) for steps in (1, 3, 10)}
    policies["GCBC"] = make_policy(f"gcbc{suffix}")
    made = {name: acting(policy) for name, policy in policies.items()}
    three = policies["BESO 3 steps"]
    if not isinstance(three, BESO):
        raise TypeError(f"config beso{suffix}: expected BESO, got {type(three).__name__}")
    window, goal = window_and_goal(three)
    made[f"DDPM {DDPM_STEPS} steps"] = lambda: ddpm_act(three, window, goal)
    return made


def make_policy(config: str, **changes: Any) -> LearnedPolicy:
    """Return an untrained policy of a config, for the play table."""
    settings = OmegaConf.to_container(compose("train", [f"policy={config}"]), resolve=True)
    spec = PlayTableRobot().spec
    shapes = {**{key: array.shape for key, array in spec.observation.items()}, "action": spec.action.shape}
    ones = {key: np.ones(shape) for key, shape in shapes.items()}
    statistics = {key: Stats(100, 0 * one, one, -one, one, -one, one) for key, one in ones.items()}
    torch.manual_seed(0)
    return build_policy({**settings["policy"], **changes}, spec, statistics).eval()


def window_and_goal(policy: LearnedPolicy) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a made-up window of one observation, and a goal."""
    rng = np.random.default_rng(0)
    shapes = {key: policy.spec.observation[key].shape for key in policy.spec.observation}
    frames = {key: rng.normal(size=(1, policy.n_obs, *shape)).astype(np.float32) for key, shape in shapes.items()}
    before = np.zeros((1, policy.n_obs - 1, *policy.spec.action.shape), np.float32)
    return {**frames, "action": before}, {key: frames[key][:, -1] for key in policy.goal_keys}


def acting(policy: LearnedPolicy) -> Callable[[], Any]:
    """Return a function that makes the policy act once."""
    window, goal = window_and_goal(policy)
    return lambda: policy.act(window, goal)


@torch.inference_mode()
def ddpm_act(policy: BESO, window: Mapping[str, Any], goal: Mapping[str, Any]) -> Any:
    """Return a chunk that a DDPM samples with the policy's network (Chi et al. 2023: 100 steps, squared cosine betas)."""
    scheduler = DDPMScheduler(DDPM_STEPS, beta_schedule="squaredcos_cap_v2", prediction_type="epsilon")
    scheduler.set_timesteps(DDPM_STEPS)
    seen, aimed = ({key: torch.as_tensor(value) for key, value in part.items()} for part in (window, goal))
    context = policy._context(policy.encoder.observe(seen), aimed)
    x = policy.draw_noise(1, torch.Generator())
    for step in scheduler.timesteps:
        x = scheduler.step(policy.network(context, x, step.float().view(1)), step, x).prev_sample
    return policy.actions.inverse(x[:, -policy.horizon :]).numpy()


def measure(functions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return milliseconds per call, every function once per round after warming up."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for index in range(rounds + 5):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if index >= 5:
                taken[name].append(1e3 * (time.perf_counter() - start))
    return taken


def summary(taken: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return the ratio of three steps to the DDPM, and the median and 99th percentile of everything [ms]."""
    times = {name: {"p50_ms": float(np.median(each)), "p99_ms": float(np.quantile(each, 0.99))} for name, each in taken.items()}
    ratio = times["BESO 3 steps"]["p50_ms"] / times[f"DDPM {DDPM_STEPS} steps"]["p50_ms"]
    return {"beso_3_to_ddpm": ratio, "act": times}


def machine() -> str:
    """Return what this was measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    versions = f"torch {torch.__version__}, diffusers {diffusers.__version__}"
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, one thread used, {versions}"


def _print(name: str, report: dict[str, Any]) -> None:
    print(f"\n{name}: BESO in three steps takes {report['beso_3_to_ddpm']:.3f} of the DDPM's time\n")
    print("| policy | p50 | p99 |\n|---|---:|---:|")
    for label, times in report["act"].items():
        print(f"| {label} | {times['p50_ms']:.2f} ms | {times['p99_ms']:.2f} ms |")


if __name__ == "__main__":
    main()
