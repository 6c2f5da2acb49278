"""What a policy's encoder knows of the future: a small network is trained to read it out of the frozen encoder.

As in ACT-JEPA (Vujinovic and Kovacevic, arXiv 2501.14622): learned queries look at the encoder's tokens and regress the states
of the next h steps; how well they do on episodes that neither encoder nor probe was trained on measures the encoder.
"""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.datasets.stores import open_stores
from robot_learning.learning.learner import Batch
from robot_learning.learning.randomness import keyed_randomness
from robot_learning.learning.recipe import Recipe
from robot_learning.learning.team import Team, pick_device
from robot_learning.learning.training import DataSettings, window_loaders
from robot_learning.nn.attention import SequencePredictor
from robot_learning.nn.denoiser import masked_mean
from robot_learning.nn.normalizer import Standardize
from robot_learning.policies.policy import LearnedPolicy, load_policy, read_header
from robot_learning.policies.window import fitting


@runtime_checkable
class Represents(Protocol):
    """A policy whose encoder can be looked into."""

    def represent(self, observation: Mapping[str, Tensor], goal: Mapping[str, Tensor]) -> Float[Tensor, "b k w"]:
        """Return what the encoder knows of a window, as tokens."""
        ...


@dataclass(frozen=True)
class ProbeSettings:
    """The probe and its training; the defaults are ACT-JEPA's.

    Attributes:
        steps: Updates.
        batch_size: Windows per update.
        lr: Peak learning rate.
        width: Size of a token.
        layers: Decoder layers.
        heads: Attention heads.
        feedforward: Hidden features of the perceptrons.
    """

    steps: int = 250
    batch_size: int = 512
    lr: float = 6e-4
    width: int = 512
    layers: int = 4
    heads: int = 8
    feedforward: int = 2048

    def __post_init__(self) -> None:
        """Check that there is something to train with."""
        if self.steps < 1 or self.lr <= 0:
            raise ConfigError(f"probe: expected at least one step and a positive lr, got {self.steps} and {self.lr}")


@dataclass(frozen=True)
class Score:
    """How far predicted states lie from the real ones, over steps that are no padding.

    Attributes:
        name: Key of the observation; ``all`` is all of them together.
        unit: Unit of both figures; ``std`` is standardised by the training data: knowing nothing scores an RMSE of about 1.
        rmse: Root of the mean squared error, over elements.
        ate: Absolute trajectory error: mean over steps of the Euclidean norm of the error.
    """

    name: str
    unit: str
    rmse: float
    ate: float


class _States(nn.Module):
    """The keys to predict, standardised and joined."""

    def __init__(self, policy: LearnedPolicy, keys: Sequence[str]) -> None:
        super().__init__()
        known = {key: spec for key, spec in policy.robot_spec.observation.items() if not spec.is_image}
        for key in keys:
            if key not in known:
                raise UnknownName("key to predict", key, known)
        self.units = {key: known[key].unit for key in keys}
        self.scales = nn.ModuleDict({key: Standardize(fitting(policy.statistics, key, known[key])) for key in keys})

    def forward(self, future: Mapping[str, Tensor]) -> Float[Tensor, "b h s"]:
        """Return the standardised states of raw ones."""
        return torch.cat(
            [scale(future[key].reshape(*future[key].shape[:2], -1).float()) for key, scale in self.scales.items()], dim=-1
        )

    def errors(self, difference: Float[Tensor, "b h s"]) -> dict[str, Float[Tensor, "b h _"]]:
        """Return the difference of standardised states as a whole and, in its own unit, that of every key."""
        errors, start = {"all": difference}, 0
        for key, scale in self.scales.items():
            spread = cast(Standardize, scale).scale
            errors[key] = difference[..., start : start + len(spread)] * spread
            start += len(spread)
        return errors


def probe_checkpoint(
    checkpoint: Path | str,
    *,
    stores: Sequence[str] | None = None,
    validation: float | None = None,
    predict: Sequence[str] | None = None,
    horizon: int | None = None,
    settings: ProbeSettings | None = None,
    seed: int = 0,
    device: str = "auto",
) -> list[Score]:
    """Train a probe on the frozen encoder of a checkpoint and return its scores on held-out episodes.

    Args:
        checkpoint: Folder of a policy with ``represent``, such as ACT and ACT-JEPA.
        stores: Demonstration stores; None are those the policy was trained on. Its held-out episodes are the probe's.
        validation: Share of the episodes held out; None is the policy's.
        predict: Observation keys to predict; None are the policy's that are no images.
        horizon: Steps to predict; None is the length of the policy's chunks.
        settings: The probe and its training.
        seed: Of the probe's weights and dropout.
        device: ``auto`` (cuda when there is one) or a torch device.

    Raises:
        ConfigError: The policy's encoder cannot be looked into, or no episodes are held out.
        UnknownName: A key that is no low-dimensional observation.
    """
    settings = settings or ProbeSettings()
    place = torch.device(pick_device(device))
    policy = load_policy(checkpoint, str(place))
    if not isinstance(policy, Represents):
        raise ConfigError(f"probe: expected a policy with represent(), such as ACT or ACTJEPA, got {type(policy).__name__}")
    own = [key for key in policy.observation_keys if not policy.spec.observation[key].is_image]
    states = _States(policy, own if predict is None else predict).to(place)
    policy.n_future, policy.future_keys = policy.horizon if horizon is None else horizon, tuple(states.units)
    if policy.n_future < 1 or not states.units:
        raise ConfigError(
            f"probe: expected at least one step and one key to predict, got {policy.n_future}, {list(states.units)}"
        )
    data, split_seed = _data(checkpoint, stores, validation, settings)
    with open_stores(data.stores) as opened:
        loader, held_out = window_loaders(policy, opened, data, split_seed, Team(place))
        if not held_out:
            raise ConfigError("probe: expected episodes held out to score on, got none; set validation, e.g. validation=0.1")
        try:
            with keyed_randomness(place, seed, "probe"):
                probe = _new_probe(policy, states, held_out[0], settings).to(place)
                _train(policy, states, probe, loader, settings)
        finally:
            loader.close()
    return _scores(policy, states, probe, held_out)


def write_scores(path: Path, scores: Sequence[Score], command: str) -> None:
    """Write scores as JSON, with the command that made them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"command": command, "scores": [asdict(score) for score in scores]}, indent=1), encoding="utf-8")


def _data(
    checkpoint: Path | str, stores: Sequence[str] | None, validation: float | None, settings: ProbeSettings
) -> tuple[DataSettings, int]:
    """Return the windows that a policy was trained on, with what is to differ, and the seed that split the episodes."""
    provenance = read_header(checkpoint).get("provenance", {})
    made: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in provenance.get("data", {}).items()
    }
    made |= {"stores": tuple(made.get("stores", ()) if stores is None else stores), "batch_size": settings.batch_size}
    data = DataSettings(**made)
    if not data.stores:
        raise ConfigError(
            f"probe: {checkpoint} names no stores that it was trained on; give some, e.g. stores=[runs/play.zarr]"
        )
    return data if validation is None else replace(data, validation=validation), int(provenance.get("seed", 0))


def _new_probe(policy: LearnedPolicy, states: _States, batch: Batch, settings: ProbeSettings) -> SequencePredictor:
    sizes = {"width": settings.width, "layers": settings.layers, "heads": settings.heads, "feedforward": settings.feedforward}
    tokens, wanted = _tokens(policy, batch), states(batch["future"])
    return SequencePredictor(tokens.shape[-1], wanted.shape[-1], policy.n_future, **sizes)


def _train(
    policy: LearnedPolicy, states: _States, probe: SequencePredictor, batches: Iterable[Batch], settings: ProbeSettings
) -> None:
    """Train the probe, and nothing else, on the mean squared error of standardised states."""
    recipe = Recipe(lr=settings.lr, warmup=settings.steps // 25)
    optimizer = recipe.build_optimizer(probe)
    for step, batch in enumerate(itertools.islice(batches, settings.steps)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, settings.steps)
        difference, mask = _difference(policy, states, probe, batch)
        optimizer.zero_grad()
        masked_mean(difference**2, mask).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    probe.eval()


@torch.no_grad()
def _scores(policy: LearnedPolicy, states: _States, probe: SequencePredictor, batches: Iterable[Batch]) -> list[Score]:
    units = {"all": "std", **states.units}
    squares, norms, elements, steps = (dict.fromkeys(units, 0.0) for _ in range(4))
    for batch in batches:
        difference, mask = _difference(policy, states, probe, batch)
        for name, error in states.errors(difference).items():
            counted = error[mask].double()
            squares[name] += float((counted**2).sum())
            norms[name] += float(counted.norm(dim=-1).sum())
            elements[name] += counted.numel()
            steps[name] += len(counted)
    return [
        Score(name, unit, (squares[name] / max(elements[name], 1)) ** 0.5, norms[name] / max(steps[name], 1))
        for name, unit in units.items()
    ]


def _difference(
    policy: LearnedPolicy, states: _States, probe: SequencePredictor, batch: Batch
) -> tuple[Float[Tensor, "b h s"], Bool[Tensor, "b h"]]:
    """Return predicted minus real standardised states, and which steps count."""
    mask = batch["future_mask"]
    return probe(_tokens(policy, batch), mask) - states(batch["future"]), mask


@torch.no_grad()
def _tokens(policy: Any, batch: Batch) -> Float[Tensor, "b k w"]:
    tokens: Tensor = policy.represent(batch["observation"], batch.get("goal", {}))
    return tokens
