"""The training loop: steps until a budget is spent, figures, validation, checkpoints, resume."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from robot_learning.core.errors import ConfigError, Diverged
from robot_learning.learning.checkpoint import Checkpoints
from robot_learning.learning.interrupt import Interrupt
from robot_learning.learning.learner import Batch, Learner
from robot_learning.learning.metrics import Display, MetricsLog, Progress


@dataclass(frozen=True)
class TrainerSettings:
    """How often the loop does what is not a step.

    Attributes:
        log_every: Steps between two lines of figures, each the mean since the last.
        validate_every: Steps between two validations.
        save_every: Steps between two ``last`` checkpoints.
        tensorboard: Also write TensorBoard events.
        progress: ``auto`` (a bar in a terminal, else lines), ``bar``, ``lines`` or ``none``.
    """

    log_every: int = 50
    validate_every: int = 1000
    save_every: int = 1000
    tensorboard: bool = True
    progress: Display = "auto"

    def __post_init__(self) -> None:
        """Check the intervals."""
        for name in ("log_every", "validate_every", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"trainer.{name}: expected at least 1, got {getattr(self, name)}")


class Loader(Protocol):
    """An endless source of batches whose position can be saved."""

    def __iter__(self) -> Iterator[Batch]:
        """Return the batches from the present position on."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the position, JSON-ready."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a saved position."""
        ...


@dataclass
class Fit:
    """Where a training run stands.

    Attributes:
        seconds: Training time so far, former attempts included [s].
        interrupted: Whether a signal ended it.
        metrics: The newest figures.
        best: Lowest validation loss so far and its step; empty before the first validation.
    """

    seconds: float = 0.0
    interrupted: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)


class Trainer:
    """Runs a learner over a loader.

    Attributes:
        learner: What is trained.
        team: The processes that train together. They agree on when to stop, and only the leading one writes anything.
        state: Where the run stands.
    """

    def __init__(
        self,
        learner: Learner,
        loader: Loader,
        checkpoints: Checkpoints,
        log: MetricsLog | None,
        *,
        settings: TrainerSettings | None = None,
        validation: Sequence[Batch] = (),
    ) -> None:
        """Connect the parts.

        Args:
            learner: Policy and optimiser.
            loader: Training batches on the learner's device.
            checkpoints: Where ``last`` and ``best`` are kept.
            log: Where figures go; None in processes that do not lead.
            settings: How often the loop logs, validates and saves.
            validation: Batches of held-out episodes; without any, no ``best`` is kept.
        """
        self.learner, self.team = learner, learner.team
        self.state = Fit()
        self._loader = loader
        self._checkpoints = checkpoints
        self._log = log
        self._settings = settings or TrainerSettings()
        self._validation = validation
        self._pending: list[_Step] = []
        self._waited = 0.0
        self._mark = 0.0
        self._validated = self._saved = -1

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`Checkpoints.load_last` returned."""
        self._loader.load_state_dict(saved["loader"])
        self.state = Fit(seconds=saved["seconds"], best=dict(saved["best"]))
        self._saved = self.learner.step_count

    def fit(self, steps: int, max_seconds: float | None = None) -> Fit:
        """Train until ``steps`` updates are made, the time is spent or a signal comes, then save ``last``.

        Args:
            steps: Updates in all, those before a resume included.
            max_seconds: Training time in all [s]; None does not limit it.

        Raises:
            Diverged: The loss or the weights are not finite any more; ``last`` is still the last good checkpoint.
        """
        batches = iter(self._loader)
        before, started = self.state.seconds, time.monotonic()
        self._mark = started
        limit = float("inf") if max_seconds is None else max_seconds
        launched, leads = self.team.size > 1, self.team.leads
        display = Progress(steps, self.learner.step_count, display=self._settings.progress if leads else "none")
        with Interrupt(launched=launched, quiet=not leads) as interrupt, display as progress:
            while self.learner.step_count < steps and not self.team.any(self.state.seconds >= limit or interrupt.requested):
                self._step(batches)
                self.state.seconds = before + time.monotonic() - started
                progress.advance()
                self._after_step(progress)
            self.state.interrupted = self.team.any(interrupt.requested) and self.learner.step_count < steps
            self._end(progress)
        return self.state

    def _step(self, batches: Iterator[Batch]) -> None:
        asked = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - asked
        metrics = self.learner.step(batch)
        self._pending.append(_Step(self.learner.step_count, metrics, batch.get("index")))
        if self.learner.device.type == "cpu":  # elsewhere asking would make the host wait; see _check_pending
            with self.team.together():
                if not bool(metrics["loss"].isfinite()):
                    raise self._diverged(self._pending[-1], batch)

    def _after_step(self, progress: Progress) -> None:
        step, settings = self.learner.step_count, self._settings
        if step % settings.log_every == 0:
            self._write_figures(progress)
        if step % settings.validate_every == 0:
            self._validate()
        if step % settings.save_every == 0:
            self._save()

    def _end(self, progress: Progress) -> None:
        """Log what is pending, validate unless somebody waits for the prompt, and save."""
        self._write_figures(progress)
        if not self.state.interrupted and self._validated != self.learner.step_count:
            self._validate()
        if self._saved != self.learner.step_count:
            self._save()

    def _write_figures(self, progress: Progress) -> None:
        """Write the means since the last call; on CUDA this is where the host waits for the device."""
        if not self._pending:
            return
        self._check_pending()
        names = self._pending[0].metrics
        own = torch.stack([_average(name, [step.metrics for step in self._pending]) for name in names])
        means = self.team.mean(own)
        now = time.monotonic()
        elapsed = max(now - self._mark, 1e-9)
        figures = {f"train/{name}": value for name, value in zip(names, means.tolist(), strict=True)}
        figures["train/lr"] = self.learner.optimizer.param_groups[0]["lr"]
        figures["speed/steps_per_s"] = len(self._pending) / elapsed
        figures["speed/wait_share"] = self._waited / elapsed
        figures["seconds"] = self.state.seconds
        self._write(figures)
        progress.note({"loss": figures["train/loss"]} | _only(self.state.metrics, "validation/loss"))
        self._pending, self._waited, self._mark = [], 0.0, now

    def _validate(self) -> None:
        """Average the metrics of the averaged weights over the fixed batches; keep the weights if they are the best."""
        self._validated = self.learner.step_count
        self._check_pending()
        if not self._validation:
            return
        rows = [self.learner.evaluate(batch, index) for index, batch in enumerate(self._validation)]
        figures = {f"validation/{name}": float(_average(name, rows)) for name in rows[0]}
        self._write(figures)
        loss = figures["validation/loss"]
        if loss < self.state.best.get("loss", float("inf")):
            self.state.best = {"loss": loss, "step": self.learner.step_count}
            self._checkpoints.save_best(self.learner, self.state.best)

    def _write(self, figures: Mapping[str, float]) -> None:
        figures = {name: value for name, value in figures.items() if not math.isnan(value)}  # there was nothing of the kind
        self.state.metrics |= figures
        if self._log is not None:
            self._log.write(self.learner.step_count, figures)

    def _save(self) -> None:
        self._check_pending()
        self._check_weights()
        if self.team.leads:
            trainer = {"loader": self._loader.state_dict(), "seconds": self.state.seconds, "best": self.state.best}
            self._checkpoints.save_last(self.learner, trainer)
        self._saved = self.learner.step_count

    def _check_pending(self) -> None:
        """Raise at the first step since the last check whose loss was not finite."""
        if not self._pending:
            return
        finite = torch.stack([step.metrics["loss"].isfinite() for step in self._pending]).tolist()
        with self.team.together():
            if not all(finite):
                raise self._diverged(self._pending[finite.index(False)], None)

    def _check_weights(self) -> None:
        broken = [name for name, weight in self.learner.policy.named_parameters() if not bool(weight.isfinite().all())]
        with self.team.together():
            if broken:
                raise Diverged(f"step {self.learner.step_count}: weights are not finite in {broken[0]!r}; {self._advice()}")

    def _diverged(self, step: "_Step", batch: Batch | None) -> Diverged:
        rows = [] if step.index is None else step.index.tolist()
        shown = f"{rows[:6]}{' ...' if len(rows) > 6 else ''}"
        broken = [] if batch is None else list(_not_finite(batch))
        reason = f"the batch is not finite in {', '.join(broken)}; " if broken else ""
        return Diverged(
            f"step {step.number}: expected a finite loss, got {float(step.metrics['loss'])} on the windows {shown}; "
            f"{reason}{self._advice()}"
        )

    def _advice(self) -> str:
        if self._saved < 0:
            return "no checkpoint was saved yet; check the data (`robot-learning data verify`), lower learner.lr"
        where = self._checkpoints.last
        return f"the last good checkpoint is {where} (step {self._saved}); lower learner.lr or set learner.clip"


@dataclass(frozen=True)
class _Step:
    """What is kept of a step until its figures are written."""

    number: int
    metrics: Mapping[str, Tensor]
    index: Tensor | None


def _average(name: str, rows: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Return the mean of a metric over batches; but for the loss, NaN says that a batch had nothing of the kind."""
    values = torch.stack([row[name].float() for row in rows])
    return values.mean() if name == "loss" else values.nanmean()


def _not_finite(batch: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in batch.items():
        if isinstance(value, Mapping):
            yield from _not_finite(value, f"{prefix}{name}.")
        elif value.is_floating_point() and not bool(value.isfinite().all()):
            yield f"{prefix}{name}"


def _only(figures: Mapping[str, float], name: str) -> dict[str, float]:
    return {name: figures[name]} if name in figures else {}
