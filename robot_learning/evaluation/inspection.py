"""A page about one checkpoint: what it is made of, what it takes and gives, what it learned from, how an answer comes about."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robot_learning.core.errors import MissingExtra, RobotLearningError
from robot_learning.core.language import goal_spec
from robot_learning.core.spec import ArraySpec
from robot_learning.core.types import Stats
from robot_learning.datasets.stores import DemoStores, open_stores
from robot_learning.datasets.windows import Windows, WindowSpec
from robot_learning.evaluation.pages import training_curves
from robot_learning.evaluation.report import Report
from robot_learning.nn.vision import ImageEncoder
from robot_learning.policies.policy import LearnedPolicy, load_policy, read_header

_LOG = logging.getLogger(__name__)
_SHOWN = 8
"""Chunks of a trace that are drawn; more are thinned out, the first and the last stay."""
_POINTS, _FEWEST = 720, 12
"""Most and fewest windows on a map."""


def inspect_checkpoint(folder: Path, stores: Sequence[str] | None = None, *, seed: int = 0) -> Report:
    """Return the page of a checkpoint, on which a trace is missing where its training data cannot be read.

    Args:
        folder: Written by training.
        stores: Where the example window comes from; None are the stores that it was trained on.
        seed: Of the window and of the noise.
    """
    policy, header = load_policy(folder), read_header(folder)
    provenance = header["provenance"]
    report = Report(f"{type(policy).__name__} in {folder}", f"{policy.robot_spec.name}, {policy.spec.control_hz:g} Hz")
    report.add_table("Parts", ["part", "parameters", "share", "trained", "type"], _parts(policy))
    columns = ["input", "from", "shape", "unit", "elements", "mean", "standard deviation"]
    note = f"Observed steps: {policy.n_obs}. Images are uint8, rows x columns x RGB; depth is uint16."
    report.add_table("Inputs", columns, _inputs(policy), note)
    columns = ["element", "limits of the robot", "range in the data"]
    note = f"A chunk of {policy.horizon} steps, {policy.horizon / policy.spec.control_hz:.2f} s."
    report.add_table("Actions", columns, _actions(policy), note)
    report.add_table("Training data", ["store", "fingerprint"], _data(provenance))
    metrics = folder.parent.parent / "metrics.jsonl"
    if metrics.exists() and (curves := training_curves({"loss": metrics})):
        report.add_curves("Training", curves, "step", "loss")
    _add_trace(report, policy, stores or list(provenance.get("stores", {})), seed)
    if type(policy).embed is not LearnedPolicy.embed:
        add_map(report, policy, stores or list(provenance.get("stores", {})), seed)
    report.add_json("Settings", header["policy"])
    report.add_json("Provenance", provenance)
    return report


def _parts(policy: LearnedPolicy) -> list[list[Any]]:
    """Return one row per part, per image encoder within, and for all: parameters, share, how many are trained, number type."""
    total = sum(value.numel() for value in policy.parameters())
    eyes = [(name, part) for name, part in policy.named_modules() if isinstance(part, ImageEncoder)]
    rows = []
    for name, part in [("all", policy), *policy.named_children(), *eyes]:
        values = list(part.parameters())
        count, trained = (sum(value.numel() for value in some) for some in (values, [v for v in values if v.requires_grad]))
        kinds = ", ".join(sorted({str(value.dtype).removeprefix("torch.") for value in values}))
        label = name if part is policy else f"{name} ({type(part).__name__})"
        rows.append([label, f"{count:,}", f"{count / max(total, 1):.1%}", f"{trained:,}", kinds])
    return rows


def _inputs(policy: LearnedPolicy) -> list[list[Any]]:
    rows = []
    for role, keys in (("observation", policy.observation_keys), ("goal", policy.goal_keys)):
        for key in keys:
            spec, stats = goal_spec(policy.spec, key), policy.statistics.get(key)
            mean, std = ("", "") if stats is None else (_numbers(stats.mean), _numbers(stats.std))
            rows.append([key, role, " x ".join(map(str, spec.shape)), spec.unit, ", ".join(spec.names), mean, std])
    return rows


def _actions(policy: LearnedPolicy) -> list[list[Any]]:
    spec, stats = policy.spec.action, policy.statistics["action"]
    return [[name, _limits(spec, index), _range(stats, index)] for index, name in enumerate(_element_names(spec))]


def _element_names(spec: ArraySpec) -> Sequence[str]:
    return spec.names or [str(index) for index in range(int(np.prod(spec.shape)))]


def _limits(spec: ArraySpec, index: int) -> str:
    return "" if spec.low is None or spec.high is None else f"{spec.low[index]:.4g} to {spec.high[index]:.4g}"


def _range(stats: Stats, index: int) -> str:
    low, high = (np.ravel(value)[index] for value in (stats.low, stats.high))
    return f"{low:.4g} to {high:.4g}"


def _numbers(values: Any, most: int = 4) -> str:
    flat = np.ravel(values)
    return ", ".join(f"{value:.3g}" for value in flat[:most]) + (", ..." if len(flat) > most else "")


def _data(provenance: dict[str, Any]) -> list[list[Any]]:
    return [[path, fingerprint] for path, fingerprint in provenance.get("stores", {}).items()] or [["unknown", ""]]


def _add_trace(report: Report, policy: LearnedPolicy, stores: Sequence[str], seed: int) -> None:
    """Add how one answer comes about, if the policy can show it, one figure per element of the action."""
    if type(policy).trace is LearnedPolicy.trace:
        return
    try:
        chunks = _trace(policy, stores, seed)
    except (RobotLearningError, OSError) as error:
        _LOG.warning("no trace: %s", error)
        report.add_text("How an answer comes about", f"Not shown: no window could be read ({error}). Give stores=[...].")
        return
    keep = np.unique(np.linspace(0, len(chunks) - 1, min(_SHOWN, len(chunks))).round().astype(int))
    for index, name in enumerate(_element_names(policy.spec.action)):
        lines = {chunks[i][0]: (list(range(policy.horizon)), chunks[i][1][0, :, index].tolist()) for i in keep}
        report.add_curves(f"How an answer comes about: {name}", lines, "step of the chunk", name)


def _trace(policy: LearnedPolicy, stores: Sequence[str], seed: int) -> list[tuple[str, torch.Tensor]]:
    """Return the trace of one window drawn from the stores, its goal a second or so ahead."""
    rng = np.random.default_rng(seed)
    with open_stores(stores) as opened:
        batch = _windows(policy, opened, None, 1, rng)
    seen = dict(batch["observation"])
    if policy.n_past:
        seen["action"] = batch["action"][:, : policy.n_past]
    with torch.inference_mode():
        return policy.trace(seen, batch.get("goal", {}), policy.draw_noise(1, torch.Generator().manual_seed(seed)))


def _windows(
    policy: LearnedPolicy, stores: DemoStores, episodes: Sequence[int] | None, count: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Return ``count`` windows of some episodes as tensors, their goals up to two seconds ahead."""
    goal = "future" if policy.goal_keys else "none"
    ahead = (1, max(2, round(2 * policy.spec.control_hz)))
    spec = WindowSpec(policy.n_obs, policy.n_action, goal, ahead, n_future=policy.n_future)
    keys = (policy.observation_keys, policy.goal_keys)
    windows = Windows(stores, spec, *keys, episodes, future_keys=policy.future_keys)
    batch: dict[str, Any] = _tensors(windows.gather(rng.integers(len(windows), size=count), rng))
    return batch


def _tensors(tree: Any) -> Any:
    return {key: _tensors(value) for key, value in tree.items()} if isinstance(tree, dict) else torch.as_tensor(tree)


def add_map(report: Report, policy: LearnedPolicy, stores: Sequence[str], seed: int) -> None:
    """Add a t-SNE (van der Maaten and Hinton, JMLR 2008) of what the policy recognises in windows, coloured by their task.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise MissingExtra("scikit-learn", "inspect") from error
    rng, points, labels = np.random.default_rng(seed), [], []
    with open_stores(stores) as opened:
        tasks = [str(record["meta"].get("task", "play")) for record in opened.records]
        count = max(1, _POINTS // len(tasks))
        for index, task in enumerate(tasks[:_POINTS]):
            with torch.inference_mode():
                vectors = policy.embed(_windows(policy, opened, [index], count, rng))
            if vectors is None:
                return
            points.append(vectors.flatten(1).numpy())
            labels += [task] * count
    joined = np.concatenate(points)
    if len(joined) < _FEWEST:
        report.add_text("What it tells apart", f"Not shown: {len(joined)} windows are too few for a map.")
        return
    placed = TSNE(init="pca", perplexity=min(30.0, len(joined) / 4), random_state=seed).fit_transform(joined)
    groups: dict[str, list[tuple[float, float]]] = {task: [] for task in sorted(set(labels))}
    for (x, y), task in zip(placed.tolist(), labels, strict=True):
        groups[task].append((x, y))
    note = "t-SNE: near points are alike, distances between groups mean little. Tasks are those that episodes say they show."
    report.add_scatter("What it tells apart", groups, note)
