"""Write a policy as one ONNX file: scaling, sampler and all, to act where there is no torch.

The graph is :meth:`LearnedPolicy.forward` for a batch of one. Its inputs are named ``seen/KEY``, ``goal/KEY``, ``noise`` and
``memory/NAME``, its outputs ``chunk`` and ``next/NAME``; what else an actor must know (the robot's spec, shapes, where the
policy comes from) is JSON in the model's metadata under ``robot_learning``.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError, MissingExtra
from robot_learning.core.language import INSTRUCTION, goal_spec
from robot_learning.core.spec import ArraySpec
from robot_learning.policies.policy import LearnedPolicy, Tensors
from robot_learning.serving.onnx_policy import OnnxPolicy

FORMAT = 1
"""Version of the metadata."""
TOLERANCE = 1e-4
"""Largest difference to PyTorch that an export may have, in units of the largest action."""


def export_onnx(policy: LearnedPolicy, path: Path, provenance: Mapping[str, Any]) -> float:
    """Write ``path`` and return by how much its answers differ from the policy's, see :data:`TOLERANCE`.

    Args:
        policy: In evaluation mode, on the CPU.
        path: Where to write the file; its folder is made.
        provenance: Where the policy comes from; JSON-ready.

    Raises:
        ConfigError: The policy draws random numbers on its way (a stochastic sampler), or the file's answers differ.
        MissingExtra: onnx, onnxscript or onnxruntime is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - the exporter's
    except ImportError as error:
        raise MissingExtra(error.name or "onnx", "onnx") from error
    if not policy.repeatable:
        raise ConfigError(f"{type(policy).__name__}: an export needs a sampler that draws no noise on its way, such as ddim")
    fixed = [type(part).__name__ for part in policy.modules() if not getattr(part, "exportable", True)]
    if fixed:
        raise ConfigError(f"{type(policy).__name__}: its {fixed[0]} cannot be exported; deploy it with backend=torch")
    names, example = _example(policy)
    graph = _Graph(policy, names).eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        outputs = ["chunk", *(f"next/{name}" for name in policy.blank(1))]
        program = torch.onnx.export(
            graph, tuple(example), input_names=names, output_names=outputs, dynamo=True, verbose=False, optimize=False
        )
    assert program is not None  # noqa: S101 - with dynamo it returns the program
    model = program.model_proto
    onnx.helper.set_model_props(model, {"robot_learning": json.dumps(_header(policy, provenance))})
    draft = path.with_name(f".draft-{path.name}")
    onnx.save(model, draft)
    difference = _difference(policy, OnnxPolicy(draft))
    if difference > TOLERANCE:
        draft.unlink()
        raise ConfigError(f"{path}: expected the answers of PyTorch, got ones that differ by {difference:.1e}; not written")
    draft.replace(path)
    return difference


class _Graph(nn.Module):
    """A policy as a function of positional tensors."""

    def __init__(self, policy: LearnedPolicy, names: list[str]) -> None:
        super().__init__()
        self.policy, self.names = policy, names

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        parts: dict[str, Tensors] = {"seen": {}, "goal": {}, "memory": {}, "noise": {}}
        for name, value in zip(self.names, values, strict=True):
            kind, _, key = name.partition("/")
            parts[kind][key] = value
        noise = parts["noise"].get("", torch.zeros(1, 0))
        chunk, memory = self.policy(parts["seen"], parts["goal"], noise, parts["memory"])
        return chunk, *(memory[name] for name in parts["memory"])


def _example(policy: LearnedPolicy) -> tuple[list[str], list[Tensor]]:
    """Return the inputs' names and values of the right shapes."""
    window, goal = random_input(policy, np.random.default_rng(0))
    values = {f"seen/{key}": torch.as_tensor(value) for key, value in window.items()}
    values |= {f"goal/{key}": torch.as_tensor(value) for key, value in goal.items()}
    if np.prod(policy.noise_shape):
        values["noise"] = policy.draw_noise(1, torch.Generator())
    values |= {f"memory/{name}": value for name, value in policy.blank(1).items()}
    return list(values), list(values.values())


def random_input(policy: LearnedPolicy, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a window and a goal for a batch of one, drawn around the training data's mean."""

    def draw(key: str, spec: ArraySpec, *steps: int) -> np.ndarray[Any, Any]:
        shape = (1, *steps, *spec.shape)
        if spec.is_image or key == INSTRUCTION:
            return rng.integers(0, np.iinfo(spec.dtype).max, shape, dtype=spec.dtype, endpoint=True)
        stats = policy.statistics[key]
        mean, std = (np.asarray(value).reshape(spec.shape) for value in (stats.mean, stats.std))
        return (mean + std * rng.normal(size=shape)).astype(np.float32)

    window = {key: draw(key, policy.spec.observation[key], policy.n_obs) for key in policy.observation_keys}
    if policy.n_past:
        window["action"] = draw("action", policy.spec.action, policy.n_past)
    return window, {key: draw(key, goal_spec(policy.spec, key)) for key in policy.asked_goal_keys}


def _header(policy: LearnedPolicy, provenance: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "spec": policy.spec.to_json(),
        "observation_keys": list(policy.observation_keys),
        "goal_keys": list(policy.asked_goal_keys),
        "n_obs": policy.n_obs,
        "n_past": policy.n_past,
        "horizon": policy.horizon,
        "noise_shape": list(policy.noise_shape),
        "memory": {name: list(value.shape) for name, value in policy.blank(1).items()},
        "provenance": dict(provenance),
    }


def _difference(policy: LearnedPolicy, exported: Any, rounds: int = 5) -> float:
    """Return the largest difference between both over a few steps of an episode, relative to the largest action."""
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    policy.reset(seed=0)
    exported.reset(seed=0)
    worst = largest = 0.0
    for _ in range(rounds):
        (window, goal), noise = random_input(policy, rng), policy.draw_noise(1, generator)
        wanted = policy.act(window, goal or None, noise=noise)
        got = exported.act(window, goal or None, noise=noise.numpy())
        worst, largest = max(worst, float(np.abs(wanted - got).max())), max(largest, float(np.abs(wanted).max()))
    return worst / max(largest, 1e-9)
