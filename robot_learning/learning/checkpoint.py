"""Checkpoints that a kill at any instant leaves whole: safetensors and JSON, never pickle.

    checkpoints/
      last -> last-00002000/          a link, replaced by one atomic rename
      last-00002000/
        policy.json                   what to build, and from what it was trained
        weights.safetensors           averaged weights; with policy.json all that acting needs
        raw.safetensors               weights that the optimiser moves
        optimizer.safetensors         its moments
        trainer.json                  step, loader position, best validation loss
      best -> best-00001500/          policy.json and weights.safetensors only

A checkpoint is written to a hidden folder, flushed to disk and renamed; only then does the link move and the old
folder go.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from robot_learning.core.errors import CheckpointError
from robot_learning.learning.learner import Learner
from robot_learning.policies.policy import save_policy

FORMAT = 1
"""Version of trainer.json and of the two tensor files beside it."""

LAST, BEST = "last", "best"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam and AdamW keep per parameter."""


class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        folder: The folder that holds ``last`` and ``best``.
    """

    def __init__(self, folder: Path, policy_config: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """Name the folder and what every checkpoint says about its origin.

        Args:
            folder: Usually ``<run>/checkpoints``; made when the first checkpoint is saved.
            policy_config: ``_target_`` and constructor arguments of the policy.
            provenance: JSON-ready: stores and their fingerprints, versions, seed.
        """
        self.folder = folder
        self._policy_config = dict(policy_config)
        self._provenance = dict(provenance)

    @property
    def last(self) -> Path:
        """Return the path of the newest checkpoint (it may not exist yet)."""
        return self.folder / LAST

    @property
    def best(self) -> Path:
        """Return the path of the checkpoint with the lowest validation loss (it may not exist)."""
        return self.folder / BEST

    def save_last(self, learner: Learner, trainer: Mapping[str, Any]) -> Path:
        """Save all that resuming needs; ``trainer`` is JSON-ready."""

        def write(folder: Path) -> None:
            self._write_policy(folder, learner, {})
            write_tensors(folder / "raw.safetensors", learner.policy.state_dict())
            write_tensors(folder / "optimizer.safetensors", optimizer_tensors(learner))
            state = {"format": FORMAT, "step": learner.step_count, **trainer}
            (folder / "trainer.json").write_text(json.dumps(state, indent=1), encoding="utf-8")

        return publish(self.folder, LAST, learner.step_count, write)

    def save_best(self, learner: Learner, validation: Mapping[str, float]) -> Path:
        """Save the averaged weights alone, with the figures that made them the best."""
        write = lambda folder: self._write_policy(folder, learner, {"validation": dict(validation)})  # noqa: E731
        return publish(self.folder, BEST, learner.step_count, write)

    def load_last(self, learner: Learner) -> dict[str, Any]:
        """Put the newest checkpoint into ``learner`` and return what ``save_last`` was given as ``trainer``.

        Raises:
            CheckpointError: Missing, truncated, from a newer version, or of another policy or optimiser.
        """
        folder = self.last
        trainer = read_json(folder / "trainer.json")
        if trainer.get("format") != FORMAT or not isinstance(trainer.get("step"), int):
            raise CheckpointError(
                f"{folder / 'trainer.json'}: expected format {FORMAT}, got {trainer.get('format')!r}; "
                "resume with the version of robot-learning that wrote it"
            )
        raw = learner.policy.state_dict()
        new = read_tensors(folder / "raw.safetensors", raw)
        averaged = read_tensors(folder / "weights.safetensors", raw)
        moments = read_tensors(folder / "optimizer.safetensors", None)
        load_optimizer(learner, moments, folder / "optimizer.safetensors")
        if learner.ema is not None:
            learner.policy.load_state_dict(averaged)
            learner.ema.reset(learner.policy, updates=trainer["step"])
        learner.policy.load_state_dict(new)
        learner.step_count = trainer["step"]
        return trainer

    def _write_policy(self, folder: Path, learner: Learner, extra: Mapping[str, Any]) -> None:
        provenance = {**self._provenance, "step": learner.step_count, **extra}
        with learner.averaged() as policy:
            save_policy(folder, policy, self._policy_config, provenance)


def publish(folder: Path, name: str, step: int, write: Callable[[Path], None]) -> Path:
    """Write a checkpoint folder and make ``folder/name`` point to it, so that ``name`` is whole at every instant.

    Args:
        folder: Where the checkpoints of the run lie.
        name: ``last`` or ``best``.
        step: Updates made; part of the real folder's name.
        write: Fills an empty folder.

    Returns:
        The path ``folder/name``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / name
    names = (f"{name}-{step:08d}", f"{name}-{step:08d}b")  # two, for the same step saved again after a resume
    target = folder / next(item for item in names if not (link.is_symlink() and link.readlink().name == item))
    draft = folder / f".{name}.draft"
    for stale in (draft, target):
        shutil.rmtree(stale, ignore_errors=True)
    draft.mkdir()
    write(draft)
    for file in [*draft.iterdir(), draft]:
        _flush(file)
    draft.rename(target)
    new_link = folder / f".{name}.link"
    new_link.unlink(missing_ok=True)
    new_link.symlink_to(target.name, target_is_directory=True)
    new_link.replace(link)
    _flush(folder)
    for old in folder.glob(f"{name}-*"):
        if old.name != target.name:
            shutil.rmtree(old, ignore_errors=True)
    return link


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors; tensors that share memory are written apart."""
    save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, path)


def read_tensors(path: Path, like: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Return the tensors of a file, checked against the names and shapes of ``like``.

    Raises:
        CheckpointError: Missing or truncated file, or other names or shapes than ``like``.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: expected a file of tensors, found none; the checkpoint is incomplete") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated or not a safetensors file ({error})") from error
    if like is not None:
        check_tensors(path, tensors, like)
    return tensors


def check_tensors(path: Path, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> None:
    """Raise :class:`CheckpointError` unless both hold the same names with the same shapes and dtypes."""
    lines = [f"missing {name!r}" for name in like if name not in tensors]
    lines += [f"unexpected {name!r}" for name in tensors if name not in like]
    lines += [
        f"{name!r}: expected {_brief(like[name])}, got {_brief(tensors[name])}"
        for name in like
        if name in tensors and _brief(like[name]) != _brief(tensors[name])
    ]
    if lines:
        more = f" and {len(lines) - 5} more" if len(lines) > 5 else ""
        raise CheckpointError(f"{path}: does not fit this policy: {'; '.join(lines[:5])}{more}")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; raises :class:`CheckpointError` where there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: expected a JSON file, found none; the checkpoint is incomplete") from error
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: truncated or not JSON ({error})") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(data).__name__}")
    return data


def optimizer_tensors(learner: Learner) -> dict[str, Tensor]:
    """Return the optimiser's state as ``<parameter>/<moment>``."""
    return {
        f"{name}/{moment}": torch.as_tensor(value)
        for name, parameter in _trained(learner)
        for moment, value in learner.optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(learner: Learner, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put :func:`optimizer_tensors`' output back; the optimiser must be of the same kind."""
    trained = dict(_trained(learner))
    stepped = {key.rpartition("/")[0] for key in tensors} & set(trained)  # a parameter without gradient has no state
    like = {f"{name}/{moment}": trained[name] for name in stepped for moment in MOMENTS[1:]}
    check_tensors(path, tensors, like | {f"{name}/step": torch.zeros(()) for name in stepped})
    state: dict[int, dict[str, Tensor]] = {}
    for index, name in enumerate(trained):
        if name in stepped:
            # files know no memory order, and fused kernels take a moment's numbers in that of its weight
            ordered = {moment: torch.empty_like(trained[name]).copy_(tensors[f"{name}/{moment}"]) for moment in MOMENTS[1:]}
            state[index] = {"step": tensors[f"{name}/step"], **ordered}
    groups = learner.optimizer.state_dict()["param_groups"]
    learner.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _trained(learner: Learner) -> Iterator[tuple[str, nn.Parameter]]:
    """Return the optimised parameters with their names, in the order of the optimiser's own numbering."""
    names = {id(parameter): name for name, parameter in learner.policy.named_parameters()}
    for group in learner.optimizer.param_groups:
        for parameter in group["params"]:
            yield names[id(parameter)], parameter


def _brief(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _flush(path: Path) -> None:
    """Ask the system to bring a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
