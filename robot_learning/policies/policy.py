"""Build, save and load policies. A saved policy is ``policy.json`` and ``weights.safetensors``: data, never code.

``policy.json`` holds the class' name and keyword arguments, the robot's spec and the statistics the policy was built from, the
digest of the weights, and where they came from. Loading imports the named class, which must be a policy of ours or of an
installed extension (and its parts networks of theirs: a function is never called), and fills in the weights.
"""

import hashlib
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from robot_learning.core.arguments import check_arguments
from robot_learning.core.errors import CheckpointError, ConfigError, RobotLearningError, SpecMismatch, UnknownName
from robot_learning.core.language import INSTRUCTION_SPEC, goal_spec
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.parts import build_part, part_class, settle, unsettled
from robot_learning.policies.window import checked_tensors

FORMAT = 1
"""Version of the layout; a higher one in a file is from a newer release."""


Tensors = dict[str, Tensor]


class LearnedPolicy(nn.Module, ABC):
    """A policy whose weights are learned; satisfies :class:`robot_learning.core.protocols.Policy`.

    A subclass writes ``__init__``, ``loss`` and ``forward``. The latter knows tensors alone, so that it can be compiled,
    captured and exported; ``act`` does the rest.

    Args:
        spec: The robot.
        observation_keys: Observation keys to condition on.
        goal_keys: Goal keys to condition on; empty for none.
        n_obs: Observed steps t.
        horizon: Steps h in a chunk.

    Attributes:
        spec: The robot, narrowed to the keys used.
        observation_keys: Observation keys it reads.
        goal_keys: Goal keys it reads: observation keys, and ``instruction`` for one that reads.
        n_obs: Observed steps t.
        horizon: Steps h in a chunk.
        n_action: Actions from the newest observed step on that a training window holds; ``horizon`` unless a loss wants more.
        n_future: Observed steps after the newest one that a training window holds; 0 unless a loss wants some.
        future_keys: Observation keys of those steps.
        untrained: Its parts (attributes) that training leaves as they began; :func:`start_from` takes none of them over.
        n_past: Actions applied between the observed steps that acting wants, too: ``n_obs - 1`` or 0.
        noise_shape: Shape, without the batch, of the standard normal numbers that one answer takes.
        asked_goal_keys: Goal keys that acting wants: ``goal_keys`` unless it knows some of them itself.
        goal_optional: Act without a goal, too, though there are goal keys.
        repeatable: ``forward`` draws nothing from the policy's generator: equal inputs give equal answers.
        robot_spec: The whole robot it was built for.
        statistics: Statistics of its training data.
    """

    robot_spec: RobotSpec
    statistics: dict[str, Stats]

    def __init__(
        self, spec: RobotSpec, observation_keys: Sequence[str], goal_keys: Sequence[str], n_obs: int, horizon: int
    ) -> None:
        """Keep what the protocol promises; raises :class:`UnknownName` or :class:`ConfigError` where it cannot be kept."""
        super().__init__()
        if n_obs < 1 or horizon < 1 or not observation_keys:
            raise ConfigError(
                f"{type(self).__name__}: expected n_obs and horizon of at least 1 and an observation key, "
                f"got {n_obs}, {horizon} and {list(observation_keys)}"
            )
        for key in observation_keys:
            if key not in spec.observation:
                raise UnknownName("observation key", key, spec.observation)
        goals = [key for key in goal_keys if goal_spec(spec, key) is not INSTRUCTION_SPEC]
        used = tuple(dict.fromkeys((*observation_keys, *goals)))
        self.spec = RobotSpec({key: spec.observation[key] for key in used}, spec.action, spec.control_hz, spec.name)
        self.observation_keys, self.goal_keys = tuple(observation_keys), tuple(goal_keys)
        self.n_obs, self.horizon = n_obs, horizon
        self.n_action, self.n_future = horizon, 0
        self.future_keys: tuple[str, ...] = ()
        self.untrained: tuple[str, ...] = ()
        self.n_past, self.goal_optional, self.repeatable = 0, False, True
        self.noise_shape: tuple[int, ...] = (0,)
        self.asked_goal_keys = self.goal_keys
        self.reset()

    @property
    def goal_choices(self) -> tuple[tuple[str, ...], ...]:
        """Return the ways to give a goal, the preferred one first; a policy with several says so, by default there is one."""
        return (self.asked_goal_keys,) if self.asked_goal_keys else ()

    @abstractmethod
    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch of windows and figures worth logging; the batch is left as it was."""

    def after_step(self, step: int, steps: int) -> None:  # noqa: ARG002 - for those that override it
        """Do what follows an update of the weights, such as moving target networks; by default nothing.

        What it moves must be a buffer or need no gradient: such tensors are saved and resumed with the weights, and neither the
        optimiser nor the average of the weights touches them.

        Args:
            step: Updates made so far, this one included.
            steps: Updates in all.
        """
        return

    @abstractmethod
    def forward(self, seen: Tensors, goal: Tensors, noise: Tensor, memory: Tensors) -> tuple[Tensor, Tensors]:
        """Return a chunk ``[b, h, a]`` in raw units and the memory for the next call.

        Args:
            seen: Observations ``[b, n_obs, ...]`` in raw units; with ``n_past`` also ``action`` ``[b, n_past, a]``.
            goal: Goals ``[b, ...]`` in raw units; empty for none.
            noise: Standard normal numbers, ``[b, *noise_shape]``.
            memory: What the last call returned, or :meth:`blank`.
        """

    def trace(self, seen: Tensors, goal: Tensors, noise: Tensor) -> list[tuple[str, Tensor]]:  # noqa: ARG002
        """Return how an answer comes about, as labelled chunks ``[b, h, a]`` in raw units; by default empty.

        Takes what :meth:`forward` takes.
        """
        return []

    def embed(self, batch: Mapping[str, Any]) -> Tensor | None:  # noqa: ARG002 - for those that override it
        """Return one vector per training window that tells what happens in it, ``[b, z]``, for maps; by default None."""
        return None

    def draw_noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """Return the random numbers that answers to a batch take, on the CPU."""
        return torch.randn((batch, *self.noise_shape), generator=generator)

    def blank(self, batch: int) -> Tensors:  # noqa: ARG002 - for those that override it
        """Return the memory that an episode begins with, each tensor batch first; empty for a policy that has none."""
        return {}

    def reset(self, *, seed: int | None = None) -> None:
        """Start an episode: memory is blank, and noise is drawn from ``seed``."""
        self._generator = torch.Generator().manual_seed(0 if seed is None else seed)
        self._memory: tuple[int, Tensors] | None = None

    @torch.inference_mode()
    def act(
        self,
        window: Mapping[str, NDArray[Any]],
        goal: Mapping[str, NDArray[Any]] | None = None,
        *,
        noise: Tensor | None = None,
    ) -> NDArray[np.float32]:
        """Return a chunk ``[b, h, a]`` in raw units; see :class:`robot_learning.core.protocols.Policy`.

        ``noise`` replaces the generator's. A policy with memory wants one call per control step.
        """
        device = next(self.parameters()).device
        seen = checked_tensors(
            window, {key: self.spec.observation[key] for key in self.observation_keys}, self.n_obs, None, device
        )
        batch = len(seen[self.observation_keys[0]])
        if self.n_past:
            seen |= checked_tensors(window, {"action": self.spec.action}, self.n_past, batch, device)
        aimed: Tensors = {}
        if goal is not None:
            told = (keys for keys in self.goal_choices if all(key in goal for key in keys))
            asked = {key: goal_spec(self.spec, key) for key in next(told, self.asked_goal_keys)}
            aimed = checked_tensors(goal, asked, None, batch, device)
        elif self.asked_goal_keys and not self.goal_optional:
            raise SpecMismatch(f"goal: expected {list(self.asked_goal_keys)}, got none")
        noise = self.draw_noise(batch, self._generator) if noise is None else noise
        if self._memory is None or self._memory[0] != batch:
            self._memory = batch, {name: value.to(device) for name, value in self.blank(batch).items()}
        chunk, memory = self(seen, aimed, noise.to(device), self._memory[1])
        self._memory = batch, memory
        array: NDArray[np.float32] = chunk.float().cpu().numpy()
        return array


def build_policy(config: Mapping[str, Any], spec: RobotSpec, statistics: Mapping[str, Stats]) -> LearnedPolicy:
    """Return a new policy for a robot, its normalisers set from the statistics of the training data."""
    policy: LearnedPolicy = build_part(config, LearnedPolicy, spec=spec, statistics=statistics)
    policy.statistics = dict(statistics)
    policy.robot_spec = spec
    return policy


def save_policy(folder: Path | str, policy: LearnedPolicy, config: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Write a policy into ``folder``; files of other names in it stay.

    Both files are complete before either takes its name, and the digest in ``policy.json`` ties them together: should the
    machine stop between the two renames, loading says so instead of mixing two policies.

    Args:
        folder: Made when it is not there.
        policy: Built by :func:`build_policy`.
        config: ``_target_`` and keyword arguments it was built with; what must be is settled (:mod:`robot_learning.nn.parts`).
        provenance: Where it comes from: stores and fingerprints, step, version; JSON-ready.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".draft-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()}
        safetensors.torch.save_file(weights, draft / "weights.safetensors")
        header = {
            "format": FORMAT,
            "policy": settle(config),
            "spec": policy.robot_spec.to_json(),
            "statistics": {key: stats.to_json() for key, stats in policy.statistics.items()},
            "sha256": hashlib.sha256((draft / "weights.safetensors").read_bytes()).hexdigest(),
            "provenance": dict(provenance),
        }
        (draft / "policy.json").write_text(json.dumps(header, indent=1), encoding="utf-8")
        for name in ("weights.safetensors", "policy.json"):
            os.replace(draft / name, folder / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load_policy(folder: Path | str, device: str = "cpu", **overrides: Any) -> LearnedPolicy:
    """Return the policy saved in ``folder``, in evaluation mode.

    Args:
        folder: Written by :func:`save_policy`.
        device: Where to put it.
        overrides: Keyword arguments that replace saved ones, e.g. ``steps=10, guidance=1.5``; none may change the weights.

    Raises:
        CheckpointError: Missing, truncated, from a newer version, or not a policy of ours; nothing was executed from it.
        UnknownName: An override that the policy does not take.
    """
    folder = Path(folder)
    header = read_header(folder)
    try:
        target = part_class(header["policy"], LearnedPolicy)
    except ConfigError as error:
        raise CheckpointError(f"{folder / 'policy.json'}: {error}") from error
    check_arguments(target, overrides, what=f"policy {target.__name__}", complete=False)
    policy = _rebuild(header, overrides, folder / "policy.json")
    _fill(policy, _read_weights(folder / "weights.safetensors", header.get("sha256")), folder)
    return policy.to(device).eval()


def start_from(policy: LearnedPolicy, folder: Path | str) -> None:
    """Give a new policy the weights and normalisers of the one saved in ``folder``, but for parts that were never trained.

    Raises:
        CheckpointError: Missing or damaged, or its weights do not fit: of another class, other keys or other sizes.
    """
    trained = load_policy(folder)
    own = {name: value for name, value in policy.state_dict().items() if name.partition(".")[0] in trained.untrained}
    _fill(policy, trained.state_dict() | own, Path(folder))


def read_header(folder: Path | str) -> dict[str, Any]:
    """Return the content of ``policy.json``, checked for version and shape."""
    path = Path(folder) / "policy.json"
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; expected a checkpoint folder such as runs/x/checkpoints/last") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: truncated or not JSON ({error})") from error
    version = header.get("format") if isinstance(header, dict) else None
    if type(version) is not int or version < 1:
        raise CheckpointError(f"{path}: expected an object with a format number, got {json.dumps(header)[:80]}")
    if version > FORMAT:
        raise CheckpointError(f"{path}: format {version} is newer than this version's {FORMAT}; update robot-learning")
    wrong = [name for name in ("policy", "spec", "statistics") if not isinstance(header.get(name), dict)]
    if wrong:
        raise CheckpointError(
            f"{path}: expected objects named policy, spec and statistics; missing or of another type: {wrong}"
        )
    return dict(header)


_UNBUILDABLE = (
    RobotLearningError,
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What building a policy raises from a header that does not fit it."""


def _rebuild(header: Mapping[str, Any], overrides: Mapping[str, Any], path: Path) -> LearnedPolicy:
    """Return the policy that a header describes; whatever in it does not fit becomes one kind of error."""
    try:
        config = {**header["policy"], **overrides}
        if outside := unsettled(config):
            raise ConfigError(f"expected parts that look nothing up outside, got {outside} with arguments missing")
        statistics = {key: Stats.from_json(value) for key, value in header["statistics"].items()}
        return build_policy(config, RobotSpec.from_json(header["spec"]), statistics)
    except _UNBUILDABLE as error:
        changed = f" with {', '.join(f'{key}={value!r}' for key, value in overrides.items())}" if overrides else ""
        raise CheckpointError(f"{path}: cannot be built{changed}: {error}") from error


def _read_weights(path: Path, digest: str | None) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
        weights: dict[str, Tensor] = safetensors.torch.load(content)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: missing or truncated ({error})") from error
    if digest not in (None, hashlib.sha256(content).hexdigest()):
        raise CheckpointError(f"{path}: not what policy.json was saved with: expected sha256 {digest}; use another checkpoint")
    return weights


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
