"""Windows per second of the loader, as a ratio to reading the same windows with zarr-python.

    python benchmarks/loader.py --json FILE

State: 36,000 rows of 60 numbers, batches of 512 windows of 2 observations, 9 actions and a goal. Images: 6,000 frames of
96x96x3, batches of 64 windows of two frames and a goal frame; once decoded ahead into memory, once with nothing in
memory ("cold", every frame read and decoded when it is asked for), once resident on the training device (the GPU where
there is one), to where the others are then copied. The naive reader opens the store with zarr-python and
its own codec pipeline and slices each window's rows out of the arrays. All readers take turns, so a busy machine slows
them alike; ratios are medians over the rounds.

    python benchmarks/loader.py --lerobot build/peers/lerobot/bin/python --pusht pusht_human.zarr

also reads the first human Push-T episodes beside lerobot (``benchmarks/peers/lerobot.sh`` makes its environment): windows of
two frames, two states and sixteen actions in batches of 64, ours from a store, lerobot's from a ``LeRobotDataset`` of images
that its own recorder wrote, each without and with two workers.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from peers.peer import Peer

from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Episode
from robot_learning.datasets.convert.diffusion_policy import convert_diffusion_policy
from robot_learning.datasets.loader import WindowLoader
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.windows import Windows, WindowSpec

SPEC = WindowSpec(n_obs=2, n_action=8, goal="future", goal_range=(1, 50))
EPISODE_STEPS = 299
BATCH = 64
"""Image windows in a batch."""
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
"""Where batches are wanted."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print ratios first, and write them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns that every reader takes")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--lerobot", type=Path, help="interpreter of lerobot's environment: compare with it, too")
    parser.add_argument("--pusht", type=Path, help="the human Push-T demonstrations in Diffusion Policy's format")
    parser.add_argument("--episodes", type=int, default=50, help="how many of them")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="loader-benchmark-") as folder:
        results = {
            "state": measure(state_readers(Path(folder)), options.rounds, options.seconds),
            "image": measure(image_readers(Path(folder)), options.rounds, options.seconds),
        }
        if options.lerobot is not None:
            if options.pusht is None:
                parser.error("--lerobot needs --pusht")
            results["Push-T"] = beside_lerobot(Path(folder), options)
    report = {"machine": machine(), **{name: summary(rates) for name, rates in results.items()}}
    for name in results:
        _print(name, report[name])
    print(f"\n{report['machine']}")
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def state_readers(folder: Path) -> dict[str, tuple[Iterator[Any], int]]:
    """Return readers of low-dimensional windows, each with its batch size."""
    spec = RobotSpec({"state": ArraySpec((60,))}, ArraySpec((7,)), 20.0, name="benchmark")
    path = fill(folder / "state.zarr", spec, episodes=120)
    store, batch = DemoStore.open(path), 512
    windows = Windows(store, SPEC, ["state"], ["state"])
    return {
        "naive": (naive(path, "state"), 1),
        "loader": (WindowLoader(windows, batch, seed=0, device=DEVICE), batch),
        "loader, 2 workers": (WindowLoader(windows, batch, seed=0, device=DEVICE, num_workers=2), batch),
        "resident": (WindowLoader(windows, batch, seed=0, device=DEVICE, resident=True), batch),
    }


def image_readers(folder: Path) -> dict[str, tuple[Iterator[Any], int]]:
    """Return readers of image windows, each with its batch size."""
    spec = RobotSpec({"camera": ArraySpec((96, 96, 3), "uint8")}, ArraySpec((7,)), 20.0, name="benchmark")
    path = fill(folder / "image.zarr", spec, episodes=20)
    store, batch = DemoStore.open(path), BATCH
    memory = Windows(store, SPEC, ["camera"], ["camera"])
    disk = Windows(store, SPEC, ["camera"], ["camera"], image_budget=0)
    resident = Windows(store, SPEC, ["camera"], ["camera"], image_budget=0)
    return {
        "naive": (naive(path, "camera"), 1),
        "loader": (WindowLoader(memory, batch, seed=0, device=DEVICE), batch),
        "loader, 2 workers": (WindowLoader(memory, batch, seed=0, device=DEVICE, num_workers=2), batch),
        "loader, cold": (WindowLoader(disk, batch, seed=0, device=DEVICE), batch),
        "loader, cold, 2 workers": (WindowLoader(disk, batch, seed=0, device=DEVICE, num_workers=2), batch),
        "resident": (WindowLoader(resident, batch, seed=0, device=DEVICE, resident=True), batch),
    }


def beside_lerobot(folder: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Return windows per second of ours and of lerobot's from the same Push-T episodes, in turns."""
    store = convert_diffusion_policy(options.pusht, folder / "pusht.zarr", limit=options.episodes)
    frames: dict[str, list[Any]] = {"image": [], "state": [], "action": []}
    for episode in store:
        count = len(episode.action)
        frames["image"].append(episode.observation["image"][:count])
        frames["state"].append(episode.observation["agent_pos"][:count])
        frames["action"].append(episode.action)
    ends = np.cumsum([len(action) for action in frames["action"]])
    np.savez(folder / "frames.npz", ends=ends, **{name: np.concatenate(parts) for name, parts in frames.items()})
    windows = Windows(store, WindowSpec(n_obs=2, n_action=15), ["image", "agent_pos"])
    ours = {f"ours, {count} workers": WindowLoader(windows, BATCH, seed=0, num_workers=count) for count in (0, 2)}
    ask = [options.lerobot, Path(__file__).parent / "peers" / "lerobot_loader.py", folder / "frames.npz", folder / "lerobot"]
    with Peer(*ask, 0) as alone, Peer(*ask, 2) as helped:
        peers = {"lerobot, 0 workers": alone, "lerobot, 2 workers": helped}
        rates: dict[str, list[float]] = {name: [] for name in (*ours, *peers)}
        for _ in range(options.rounds):
            for name, reader in ours.items():
                rates[name].append(rate(reader, options.seconds) * BATCH)
            for name, peer in peers.items():
                rates[name].append(peer.turn(options.seconds))
    return rates


def fill(path: Path, spec: RobotSpec, *, episodes: int) -> Path:
    """Write ``episodes`` episodes of 300 rows; pictures are smooth with noise, so that they compress like real ones."""
    rng = np.random.default_rng(0)
    rows, steps = EPISODE_STEPS + 1, EPISODE_STEPS
    with DemoStore.create(path, spec) as store:
        for _ in range(episodes):
            action = rng.uniform(-1, 1, size=(steps, *spec.action.shape)).astype(np.float32)
            observation = {key: content(rng, (rows, *array.shape), array.dtype) for key, array in spec.observation.items()}
            source, reward = ("benchmark",) * steps, np.full(steps, np.nan, np.float32)
            store.append(Episode(observation, action, action, np.arange(rows) * spec.dt, source, reward))
    return path


def content(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Return rows of numbers, or of pictures."""
    if dtype != "uint8":
        return rng.normal(size=shape).astype(dtype)
    y, x, phase = np.arange(shape[1])[:, None, None], np.arange(shape[2])[:, None], np.arange(shape[3])
    rows = np.arange(shape[0])[:, None, None, None]
    picture = 127 + 90 * np.sin(0.07 * x + 0.05 * y + phase + 0.02 * rows)
    return (picture + rng.integers(-2, 3, size=shape)).clip(0, 255).astype(np.uint8)


def naive(path: Path, key: str) -> Iterator[Any]:
    """Slice windows out of the arrays one by one, as a data set class over zarr-python does."""
    group = zarr.open_group(path, mode="r")
    frames, actions = group[f"data/{key}"], group["data/action"]
    ends = group["meta/episode_ends"][:]
    rng = np.random.default_rng(0)
    while True:
        episode = int(rng.integers(len(ends)))
        row = int(rng.integers(ends[episode] - EPISODE_STEPS, ends[episode] - SPEC.n_action))
        goal = min(row + int(rng.integers(1, 51)), int(ends[episode]) - 1)
        yield frames[row - 1 : row + 1], actions[row - 1 : row + SPEC.n_action], frames[goal]


def measure(readers: dict[str, tuple[Iterator[Any], int]], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return windows per second of every reader in every round; readers take turns."""
    for reader, _ in readers.values():
        next(reader)
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, (reader, batch) in readers.items():
            rates[name].append(rate(reader, seconds) * batch)
    return rates


def rate(reader: Iterator[Any], seconds: float) -> float:
    """Return how many items per second ``reader`` gives; on a GPU they are there when the clock stops."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        count += sum(1 for _ in islice(reader, 5))
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return count / (time.perf_counter() - start)


def summary(rates: dict[str, list[float]]) -> dict[str, Any]:
    """Return ratios to the baseline, which is naive or lerobot's faster reader, and windows per second; medians over rounds."""
    medians = {name: float(np.median(values)) for name, values in rates.items()}
    baseline = (
        "naive" if "naive" in rates else max((name for name in rates if name.startswith("lerobot")), key=medians.__getitem__)
    )
    ratios = {name: float(np.median(np.array(values) / np.array(rates[baseline]))) for name, values in rates.items()}
    return {"baseline": baseline, "ratio": ratios, "windows_per_s": medians}


def machine() -> str:
    """Return what this was measured on."""
    names = [line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    processor = names[0] if names else platform.processor()
    gpu = f", {torch.cuda.get_device_name()}" if DEVICE == "cuda" else ""
    return f"{processor}, {os.cpu_count()} cores{gpu}, {platform.system()}, zarr {zarr.__version__}"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _print(name: str, report: dict[str, Any]) -> None:
    print(f"{name} windows; ratios to {report['baseline']}")
    for reader, value in report["windows_per_s"].items():
        print(f"  {report['ratio'][reader]:8.1f} x  {value:12,.0f} windows/s  {reader}")


if __name__ == "__main__":
    main()
