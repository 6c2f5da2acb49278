"""Train a policy from stores: what ``robot-learning train`` does, as a function."""

import itertools
import json
import logging
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from robot_learning import __version__
from robot_learning.core.errors import CheckpointError, ConfigError
from robot_learning.core.language import INSTRUCTION
from robot_learning.datasets.loader import Residence, WindowLoader
from robot_learning.datasets.stores import DemoStores, open_stores
from robot_learning.datasets.windows import Windows, WindowSpec, split_episodes
from robot_learning.learning.checkpoint import Checkpoints
from robot_learning.learning.learner import Batch, Learner
from robot_learning.learning.metrics import MetricsLog
from robot_learning.learning.randomness import keyed_randomness
from robot_learning.learning.recipe import Recipe
from robot_learning.learning.team import Team, join_team
from robot_learning.learning.trainer import Trainer, TrainerSettings
from robot_learning.nn.parts import settle
from robot_learning.policies.policy import LearnedPolicy, build_policy, read_header, start_from

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataSettings:
    """What windows a policy is trained on.

    Attributes:
        stores: Paths of demonstration stores; several are trained on as one.
        goal: ``none``, ``final``, ``future`` or ``n_step``, see :class:`robot_learning.datasets.windows.WindowSpec`.
        goal_range: Fewest and most steps ahead of the newest observed step that a future goal lies.
        goal_sampling: ``uniform`` or ``geometric``.
        final_probability: Share of future goals that are the episode's last frame instead.
        batch_size: Windows per step, shared by the processes where several train together.
        validation: Share of the episodes held out.
        num_workers: Threads that read ahead; the data do not depend on it.
        resident: Keep the data on the training device: true, false, or ``auto``: on CUDA, where they take at most half of
            the free memory. The data do not depend on it.
    """

    stores: Sequence[str]
    goal: str = "future"
    goal_range: tuple[int, int] = (1, 50)
    goal_sampling: str = "uniform"
    final_probability: float = 0.0
    batch_size: int = 256
    validation: float = 0.05
    num_workers: int = 0
    resident: Residence = "auto"


@dataclass(frozen=True)
class TrainResult:
    """How training ended.

    Attributes:
        checkpoint: Folder of the newest checkpoint.
        seconds: Training time, former attempts included [s].
        steps: Updates made.
        interrupted: Whether a signal stopped it early.
        metrics: The newest figures.
        leads: Whether this process wrote figures and checkpoints: of several, one does.
    """

    checkpoint: Path
    seconds: float
    steps: int
    interrupted: bool
    metrics: dict[str, float]
    leads: bool = True


def train_policy(
    policy_config: Mapping[str, Any],
    data: DataSettings,
    out: Path | str,
    *,
    steps: int,
    max_seconds: float | None = None,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    init_from: Path | str | None = None,
    recipe: Recipe | None = None,
    settings: TrainerSettings | None = None,
    command: str = "",
    config: str = "",
) -> TrainResult:
    """Train a policy and return where its checkpoint is.

    Args:
        policy_config: ``_target_`` and keyword arguments of the policy.
        data: Stores and windows.
        out: Run folder: configuration, figures, checkpoints.
        steps: Updates in all.
        max_seconds: Training time in all [s]; None does not limit it.
        seed: Of the weights, the batches and the noise.
        device: ``auto`` (cuda when there is one) or a torch device; where a launcher started several processes, ``auto``,
            ``cpu`` or ``cuda``, see :mod:`robot_learning.learning.team`.
        resume: Go on where the run in ``out`` stopped.
        init_from: Checkpoint of an equal policy whose weights to begin with.
        recipe: Settings of the update.
        settings: How often to log, validate and save.
        command: The command line, noted in the checkpoints.
        config: The whole configuration as YAML, written to ``config.yaml`` before training starts.

    Raises:
        ConfigError: ``out`` holds a run and ``resume`` is false, or there is nothing to train on.
        CheckpointError: The checkpoint to resume or begin from is damaged or of another policy.
    """
    out, recipe, settings = Path(out), recipe or Recipe(), settings or TrainerSettings()
    team = join_team(device)
    with team.together():
        if not data.stores:
            raise ConfigError("data.stores: expected at least one store, got none; e.g. data.stores=[runs/play.zarr]")
        with open_stores(data.stores) as stores:
            prepare_run_folder(out, resume, config, writes=team.leads)
            settled = settle(policy_config, read_header(out / "checkpoints" / "last")["policy"] if resume else None)
            policy = _new_policy(settled if resume else policy_config, stores, seed, None if resume else init_from)
            loader, validation = window_loaders(policy, stores, data, seed, team)
            checkpoints = Checkpoints(out / "checkpoints", settled, _provenance(stores, data, seed, recipe, command))
    learner = Learner(policy.to(team.device), recipe, steps=steps, seed=seed, team=team)
    with team.together():
        saved = checkpoints.load_last(learner) if resume else None
    with closing(loader), _opened_log(out, settings, learner) as log:
        trainer = Trainer(learner, loader, checkpoints, log, settings=settings, validation=validation)
        if saved is not None:
            trainer.resume(saved)
        state = trainer.fit(steps, max_seconds)
    return TrainResult(checkpoints.last, state.seconds, learner.step_count, state.interrupted, state.metrics, team.leads)


def _new_policy(policy_config: Mapping[str, Any], stores: DemoStores, seed: int, init_from: Path | str | None) -> LearnedPolicy:
    with keyed_randomness(torch.device("cpu"), seed, "initial"):
        policy = build_policy(policy_config, stores.spec, stores.statistics())
    if init_from is not None:
        start_from(policy, init_from)
    return policy


@contextmanager
def _opened_log(out: Path, settings: TrainerSettings, learner: Learner) -> Iterator[MetricsLog | None]:
    """Open the log of the run's figures; None in a process that does not lead."""
    if not learner.team.leads:
        yield None
        return
    path = out / "metrics.jsonl"
    with closing(MetricsLog(path, tensorboard=settings.tensorboard, resume_step=learner.step_count)) as log:
        yield log


def prepare_run_folder(out: Path, resume: bool, config: str = "", *, writes: bool = True) -> None:
    """Make the run folder with its configuration; refuse to train over a former run unless it is resumed.

    Without ``writes`` another process makes it.
    """
    last = out / "checkpoints" / "last"
    if resume and not last.exists():
        raise CheckpointError(f"{last}: nothing to resume from; leave resume=true away to start a new run")
    if not resume and last.exists():
        raise ConfigError(f"{out}: holds a run already; add resume=true to go on, or choose another out=")
    if not writes:
        return
    if not resume:
        shutil.rmtree(out / "tensorboard", ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    if config:
        (out / "config.yaml").write_text(config, encoding="utf-8")


def window_loaders(
    policy: LearnedPolicy, stores: DemoStores, data: DataSettings, seed: int, team: Team
) -> tuple[WindowLoader, list[Batch]]:
    """Return this process' training loader and the fixed validation batches (of episodes that are never trained on).

    The leading process alone validates.
    """
    goal_keys: tuple[str, ...] = policy.goal_keys
    spec = WindowSpec(
        n_obs=policy.n_obs,
        n_action=policy.n_action,
        n_future=policy.n_future,
        goal=data.goal if goal_keys else "none",
        goal_range=data.goal_range,
        goal_sampling=data.goal_sampling,
        final_probability=data.final_probability,
    )
    usable = usable_episodes(policy, stores)
    train, held_out = ([usable[index] for index in part] for part in split_episodes(len(usable), data.validation, seed))

    def windows(episodes: list[int]) -> Windows:
        return Windows(stores, spec, policy.observation_keys, goal_keys, episodes, future_keys=policy.future_keys)

    loader = WindowLoader(
        windows(train),
        data.batch_size,
        seed=seed,
        device=team.device,
        num_workers=data.num_workers,
        resident=data.resident,
        part=(team.rank, team.size),
    )
    if not held_out or not team.leads:
        return loader, []
    fixed = WindowLoader(windows(held_out), data.batch_size, seed=seed + 1, device=team.device, drop_last=False)
    count = min(_VALIDATION_BATCHES, fixed.epoch_steps)
    return loader, list(itertools.islice(fixed, count))


_VALIDATION_BATCHES = 8


def usable_episodes(policy: LearnedPolicy, stores: DemoStores) -> list[int]:
    """Return the episodes that a policy can learn from: for one that takes no other goals than instructions those with one.

    Raises:
        ConfigError: It reads instructions and there are none.
    """
    instructions = stores.table["instruction"]
    if INSTRUCTION not in policy.goal_keys:
        return list(range(len(instructions)))
    usable = [index for index, text in enumerate(instructions) if text.strip()]
    if not usable:
        raise ConfigError(
            f"goal_keys: {INSTRUCTION!r} wants episodes with instructions, got {len(instructions)} without, as play has none; "
            "collect demonstrations (operator=expert), or choose other goal_keys"
        )
    if not all(INSTRUCTION in keys for keys in policy.goal_choices):
        return list(range(len(instructions)))
    if len(usable) < len(instructions):
        _LOG.warning(
            "%d of %d episodes have no instruction and are left out", len(instructions) - len(usable), len(instructions)
        )
    return usable


def _provenance(stores: DemoStores, data: DataSettings, seed: int, recipe: Recipe, command: str) -> dict[str, Any]:
    return {
        "stores": {str(path): stores.fingerprint() for path in [", ".join(map(str, data.stores))]},
        "episodes": len(stores),
        "steps_of_data": stores.n_steps,
        "data": json.loads(json.dumps(asdict(data), default=list)),
        "recipe": asdict(recipe),
        "seed": seed,
        "version": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {platform.processor() or platform.system()}",
        "command": command,
        "wall_time": time.time(),
    }
