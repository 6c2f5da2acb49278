"""One step of learning: batch in, better policy out."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from robot_learning.learning.randomness import keyed_randomness
from robot_learning.learning.recipe import Recipe
from robot_learning.learning.team import Team
from robot_learning.nn.ema import EMA
from robot_learning.policies.policy import LearnedPolicy

Batch = Mapping[str, Any]
"""What a ``WindowLoader`` yields: tensors, and mappings of tensors, batch first."""


class Learner:
    """A policy, its optimiser and the moving average of its weights.

    All randomness of step n is keyed by (seed, n, piece of the batch): the state below is all that a resumed run needs, and
    after every step it is the same in all processes of a team.

    Attributes:
        policy: The policy, holding the raw (not averaged) weights.
        recipe: The settings of the update.
        optimizer: The torch optimiser.
        ema: The moving average, None without one.
        step_count: Updates made so far.
        team: The processes that train together.
    """

    def __init__(self, policy: LearnedPolicy, recipe: Recipe, *, steps: int, seed: int = 0, team: Team | None = None) -> None:
        """Prepare the updates.

        Args:
            policy: A module with ``loss(batch, generator)``, on the device it trains on.
            recipe: The settings of the update.
            steps: Updates in all: the length of the learning-rate schedule and of what ``after_step`` schedules.
            seed: Key of noise and dropout.
            team: The processes that train together; default this one alone.
        """
        self.policy = policy
        self.recipe = recipe
        self.device = next(policy.parameters()).device
        if recipe.orders_channels_last(self.device):
            policy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = recipe.build_optimizer(policy)
        self.ema = None if recipe.ema is None else EMA(policy, decay=recipe.ema)
        self.step_count = 0
        self.team = team or Team(self.device)
        self._steps = steps
        self._seed = seed
        self._loss = torch.compile(policy.loss) if recipe.compile else policy.loss
        self._shared_loss = self.team.prepare(_Loss(policy, self._loss))
        self._autocasts = recipe.autocasts(self.device)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Update the weights once and return the step's metrics, detached and still on the device."""
        rate = self.recipe.rate(self.step_count, self._steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.policy.train()
        metrics = self._backward(batch)
        if self.recipe.clip is not None:
            norm = nn.utils.clip_grad_norm_(self.policy.parameters(), self.recipe.clip)
            metrics["gradient_norm"] = norm.detach()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update(self.policy)
        self.step_count += 1
        self.policy.after_step(self.step_count, self._steps)
        return metrics

    @torch.no_grad()
    def evaluate(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Return the metrics of the averaged weights on a validation batch, with the noise that belongs to ``index``."""
        self.policy.eval()
        with self.averaged(), keyed_randomness(self.device, self._seed, "validation", index) as generator:
            return self._metrics(self._loss, batch, generator)[1]

    @contextmanager
    def averaged(self) -> Iterator[LearnedPolicy]:
        """Put the averaged weights into the policy until the block ends."""
        if self.ema is None:
            yield self.policy
        else:
            with self.ema.applied(self.policy):
                yield self.policy

    def _backward(self, batch: Batch) -> dict[str, Tensor]:
        """Average the gradients of the batch's pieces, the team's included, and return the mean metrics of the own ones."""
        pieces = split_batch(batch, self.recipe.accumulate)
        total: dict[str, Tensor] = {}
        for number, piece in enumerate(pieces):
            joint = self.team.rank * len(pieces) + number  # its number in the joint batch
            last = number == len(pieces) - 1
            with (
                keyed_randomness(self.device, self._seed, "train", self.step_count, joint) as generator,
                nullcontext() if last else self.team.keep_apart(self._shared_loss),
            ):
                loss, metrics = self._metrics(self._shared_loss, piece, generator)
                (loss / len(pieces)).backward()  # type: ignore[no-untyped-call]
            for name, value in metrics.items():
                total[name] = total.get(name, torch.zeros((), device=value.device)) + value / len(pieces)
        return total

    def _metrics(
        self, function: Callable[..., Any], batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocasts):
            loss, metrics = function(batch, generator)
        return loss, {"loss": loss.detach()} | {name: value.detach() for name, value in metrics.items()}


class _Loss(nn.Module):
    """The loss as the ``forward`` of a module, which is what ``DistributedDataParallel`` wraps."""

    def __init__(self, policy: LearnedPolicy, loss: Callable[..., tuple[Tensor, dict[str, Tensor]]]) -> None:
        super().__init__()
        self.policy, self._loss = policy, loss

    def forward(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss(batch, generator)


def split_batch(batch: Batch, pieces: int) -> list[Batch]:
    """Return ``pieces`` parts of a batch, of nearly equal size, cut along the first axis."""
    if pieces == 1:
        return [batch]
    return [_map(batch, lambda tensor, i=i: tensor.tensor_split(pieces)[i]) for i in range(pieces)]


def _map(tree: Any, function: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _map(value, function) for key, value in tree.items()}
    return function(tree)
