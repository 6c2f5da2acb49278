"""Build, save and load policies. A saved policy is ``policy.json`` and ``weights.safetensors``: data, never code.

``policy.json`` holds the class' name and keyword arguments, the robot's spec and the statistics the policy was built from, and
where it came from. Loading imports the named class, which must be one of ours, and fills in the weights.
"""

import importlib
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from robot_learning.core.arguments import check_arguments
from robot_learning.core.errors import CheckpointError, ConfigError, RobotLearningError
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats

FORMAT = 1
"""Version of the layout; a higher one in a file is from a newer release."""
ALLOWED = "robot_learning."
"""Classes named in a config or checkpoint must live in this package."""


class LearnedPolicy(nn.Module, ABC):
    """A policy whose weights are learned; satisfies :class:`robot_learning.core.protocols.Policy`.

    Attributes:
        spec: The robot, narrowed to the keys used.
        observation_keys: Observation keys it reads.
        goal_keys: Goal keys it reads.
        n_obs: Observed steps t.
        horizon: Steps h in a chunk.
        robot_spec: The whole robot it was built for.
        statistics: Statistics of its training data.
    """

    spec: RobotSpec
    observation_keys: tuple[str, ...]
    goal_keys: tuple[str, ...]
    n_obs: int
    horizon: int
    robot_spec: RobotSpec
    statistics: dict[str, Stats]

    @abstractmethod
    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch of windows and figures worth logging; the batch is left as it was."""

    @abstractmethod
    def reset(self, *, seed: int | None = None) -> None:
        """Start an episode."""

    @abstractmethod
    def act(self, window: Mapping[str, NDArray[Any]], goal: Mapping[str, NDArray[Any]] | None = None) -> NDArray[np.float32]:
        """Return a chunk ``[b, h, a]`` in raw units."""


def build_part(config: Mapping[str, Any], **given: Any) -> Any:
    """Return ``config["_target_"]`` called with the config's other keys and ``given``.

    Raises:
        ConfigError: The target is missing, not ours, or does not exist.
        UnknownName: A key that the target does not take; the message names the nearest ones.
    """
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    target = _resolve(config.get("_target_"))
    check_arguments(target, [*arguments, *given], what=str(config["_target_"]).rsplit(".", 1)[-1])
    return target(**arguments, **given)


def build_policy(config: Mapping[str, Any], spec: RobotSpec, statistics: Mapping[str, Stats]) -> LearnedPolicy:
    """Return a new policy for a robot, its normalisers set from the statistics of the training data."""
    policy = build_part(config, spec=spec, statistics=statistics)
    if not isinstance(policy, LearnedPolicy):
        raise ConfigError(f"{config['_target_']}: expected a LearnedPolicy, got {type(policy).__name__}")
    policy.statistics = dict(statistics)
    policy.robot_spec = spec
    return policy


def save_policy(folder: Path | str, policy: LearnedPolicy, config: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Write a policy into ``folder``, whole or not at all; files of other names in it stay.

    Args:
        folder: Made when it is not there.
        policy: Built by :func:`build_policy`.
        config: ``_target_`` and keyword arguments it was built with.
        provenance: Where it comes from: stores and fingerprints, step, version; JSON-ready.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".draft-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()}
    safetensors.torch.save_file(weights, draft / "weights.safetensors")
    header = {
        "format": FORMAT,
        "policy": dict(config),
        "spec": policy.robot_spec.to_json(),
        "statistics": {key: stats.to_json() for key, stats in policy.statistics.items()},
        "provenance": dict(provenance),
    }
    (draft / "policy.json").write_text(json.dumps(header, indent=1), encoding="utf-8")
    for name in ("weights.safetensors", "policy.json"):
        os.replace(draft / name, folder / name)
    draft.rmdir()


def load_policy(folder: Path | str, device: str = "cpu", **overrides: Any) -> LearnedPolicy:
    """Return the policy saved in ``folder``, in evaluation mode.

    Args:
        folder: Written by :func:`save_policy`.
        device: Where to put it.
        overrides: Keyword arguments that replace saved ones, e.g. ``steps=10, guidance=1.5``; none may change the weights.

    Raises:
        CheckpointError: Missing, truncated, from a newer version, or not a policy of ours; nothing was executed from it.
    """
    folder = Path(folder)
    header = read_header(folder)
    config = {**header["policy"], **overrides}
    check_arguments(_resolve(config.get("_target_")), overrides, what=str(config["_target_"]), complete=False)
    try:
        statistics = {key: Stats.from_json(value) for key, value in header["statistics"].items()}
        policy = build_policy(config, RobotSpec.from_json(header["spec"]), statistics)
    except (RobotLearningError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'policy.json'}: cannot be built: {error}") from error
    try:
        weights = safetensors.torch.load_file(folder / "weights.safetensors")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder / 'weights.safetensors'}: missing or truncated ({error})") from error
    _fill(policy, weights, folder)
    return policy.to(device).eval()


def read_header(folder: Path | str) -> dict[str, Any]:
    """Return the content of ``policy.json``, checked for version and shape."""
    path = Path(folder) / "policy.json"
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; expected a checkpoint folder such as runs/x/checkpoints/last") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: truncated or not JSON ({error})") from error
    if not isinstance(header, dict) or not {"format", "policy", "spec", "statistics"} <= set(header):
        raise CheckpointError(f"{path}: expected format, policy, spec and statistics, got {sorted(header)}")
    if not isinstance(header["format"], int) or header["format"] > FORMAT:
        raise CheckpointError(f"{path}: format {header['format']!r} is newer than this version's {FORMAT}; update")
    return header


def _fill(policy: nn.Module, weights: dict[str, Any], folder: Path) -> None:
    expected = policy.state_dict()
    missing, extra = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    shapes = [key for key in expected if key in weights and expected[key].shape != weights[key].shape]
    if missing or extra or shapes:
        raise CheckpointError(
            f"{folder / 'weights.safetensors'}: not the weights of this policy; missing {missing[:3]}, "
            f"unexpected {extra[:3]}, other shapes {shapes[:3]}"
        )
    policy.load_state_dict(weights)


def _resolve(target: Any) -> Any:
    """Return the class or function that a dotted name means, if it is ours."""
    if not isinstance(target, str) or not target.startswith(ALLOWED):
        raise CheckpointError(f"_target_: expected a name in {ALLOWED[:-1]}, got {target!r}")
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"_target_: {target} does not exist ({error})") from error
