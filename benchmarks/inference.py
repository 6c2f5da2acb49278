"""Milliseconds per ``act``: every policy as PyTorch runs it, compiled and from ONNX; BESO beside a 100-step DDPM.

    python benchmarks/inference.py [--device cuda] [--policies beso_mlp act] [--json FILE]

Untrained weights and the play table's sizes, one observation at a time; on a CPU on one thread. Three parts:

- BESO in one, three and ten denoising steps, GCBC, and a DDPM, which is diffusers' ``DDPMScheduler`` driving BESO's own score
  network, with states and goal embedded once per action; it too starts from the window and ends with the chunk in raw units.
- Every policy config: eager, compiled (``deploy backend=compiled``: on a GPU the whole sampler is one CUDA graph), and on a CPU
  the ONNX file of ``robot-learning export`` under onnxruntime.
- BESO from two cameras of 96 x 96 pixels, the same way.

Within a part all of them take turns, so a busy machine slows them alike.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
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
from robot_learning.serving.backends import compile_answers
from robot_learning.serving.onnx_export import export_onnx, random_input
from robot_learning.serving.onnx_policy import OnnxPolicy
from robot_learning.sim.robot import Camera, PlayTableRobot

NETWORKS = {"transformer": "", "perceptron": "_mlp"}
DDPM_STEPS = 100
POLICIES = (
    *("beso", "beso_mlp", "gcbc", "gcbc_mlp", "play_lmp", "play_lmp_small", "diffusion_policy_small"),
    *("act", "act_small", "act_jepa", "act_jepa_small"),
)
CAMERAS = ("data=play_images",)


def main(argv: list[str] | None = None) -> None:
    """Measure, print ratios first, and write everything as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="turns that every policy takes")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--policies", nargs="*", default=POLICIES, help="configs to run in every way; none skips that part")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    report: dict[str, Any] = {"machine": machine(options.device), "rounds": options.rounds}
    if options.device == "cpu":
        report |= {name: summary(measure(contenders(suffix), options.rounds)) for name, suffix in NETWORKS.items()}
        for name in NETWORKS:
            _print(name, report[name])
    report["backends"] = {name: backends(name, (), options) for name in options.policies}
    if options.policies:
        report["backends"]["beso_mlp, two cameras"] = backends("beso_mlp", CAMERAS, options)
    _print_backends(report["backends"])
    print(f"\n{report['machine']}")
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def backends(config: str, extra: Sequence[str], options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the times of one policy, run in every way that there is."""
    policy = make_policy(config, extra).to(options.device)
    made = {"eager": acting(policy), "compiled": acting(compile_answers(make_policy(config, extra).to(options.device)))}
    if options.device == "cpu" and policy.repeatable:
        with tempfile.TemporaryDirectory() as folder:
            export_onnx(policy, Path(folder) / "policy.onnx", {})
            window, goal = window_and_goal(policy)
            exported = OnnxPolicy(folder)
        made["onnx"] = lambda: exported.act(window, goal)
    return percentiles(measure(made, options.rounds))


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


def make_policy(config: str, extra: Sequence[str] = (), **changes: Any) -> LearnedPolicy:
    """Return an untrained policy of a config, for the play table with two cameras."""
    settings = OmegaConf.to_container(compose("train", [f"policy={config}", *extra]), resolve=True)
    spec = PlayTableRobot(cameras=[Camera("static", 96, 96), Camera("wrist", 96, 96)]).spec
    shapes = {**{key: array.shape for key, array in spec.observation.items()}, "action": spec.action.shape}
    ones = {key: np.ones(shape) for key, shape in shapes.items()}
    statistics = {key: Stats(100, 0 * one, one, -one, one, -one, one) for key, one in ones.items()}
    torch.manual_seed(0)
    return build_policy({**settings["policy"], **changes}, spec, statistics).eval()


def window_and_goal(policy: LearnedPolicy) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a made-up window of one observation, and a goal."""
    return random_input(policy, np.random.default_rng(0))


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


def percentiles(taken: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return median and 99th percentile of everything [ms]."""
    return {name: {"p50_ms": float(np.median(each)), "p99_ms": float(np.quantile(each, 0.99))} for name, each in taken.items()}


def summary(taken: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return the ratio of three steps to the DDPM, and all times."""
    times = percentiles(taken)
    ratio = times["BESO 3 steps"]["p50_ms"] / times[f"DDPM {DDPM_STEPS} steps"]["p50_ms"]
    return {"beso_3_to_ddpm": ratio, "act": times}


def machine(device: str) -> str:
    """Return what this was measured on."""
    if device != "cpu":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
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


def _print_backends(report: dict[str, dict[str, dict[str, float]]]) -> None:
    ways = ("eager", "compiled", "onnx")
    print("\n| policy | compiled / eager | " + " | ".join(f"{way} p50 (p99)" for way in ways) + " |\n|---|---:|---:|---:|---:|")
    for label, times in report.items():
        cells = [f"{times[way]['p50_ms']:.2f} ({times[way]['p99_ms']:.2f}) ms" if way in times else "" for way in ways]
        print(f"| {label} | {times['compiled']['p50_ms'] / times['eager']['p50_ms']:.2f} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
