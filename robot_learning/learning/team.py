"""The processes that train one policy together, each on its share of every batch: data parallelism, by Hugging Face Accelerate.

A launcher (``torchrun``, ``accelerate launch``) starts n equal processes and tells each its rank r. Of every joint batch
process r gathers the r-th of n parts; ``DistributedDataParallel`` averages the gradients, so that all make the same update.
Noise is keyed by the part: n processes do what one process does that splits the batch into n times as many pieces
(``learner.accumulate``), but for the order of sums.
"""

import atexit
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn

from robot_learning.core.errors import ConfigError, MissingExtra, RobotLearningError


class Team:
    """One process alone: nothing to agree on.

    Args:
        device: Where it computes.

    Attributes:
        device: Where this process computes.
        rank: Its number; 0 is the one that writes figures and checkpoints.
        size: How many processes there are.
    """

    rank, size = 0, 1

    def __init__(self, device: torch.device) -> None:
        """Keep the device."""
        self.device = device

    @property
    def leads(self) -> bool:
        """Tell whether this process is the one that writes figures and checkpoints."""
        return self.rank == 0

    def prepare(self, module: nn.Module) -> nn.Module:
        """Return ``module`` so that its gradients are averaged over the processes; all begin with the first one's weights."""
        return module

    def keep_apart(self, module: nn.Module) -> AbstractContextManager[Any]:  # noqa: ARG002 - for those that are many
        """Return a context in which gradients of a prepared module add up without being averaged."""
        return nullcontext()

    def any(self, flag: bool) -> bool:
        """Tell whether ``flag`` is true in any process."""
        return flag

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of ``values`` over the processes."""
        return values

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let an error in the block of one process end all of them; the first process reports it, the others end silently."""
        yield


class LaunchedTeam(Team):
    """One of several processes that a launcher started.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``; of several GPUs each process takes the one of its local rank.
    """

    def __init__(self, device: str) -> None:
        """Meet the other processes."""
        try:
            from accelerate import Accelerator, DistributedDataParallelKwargs
        except ImportError as error:
            raise MissingExtra("accelerate", "distributed") from error
        settings = DistributedDataParallelKwargs(gradient_as_bucket_view=True)  # gradients lie where they are sent from
        on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
        self._accelerator = Accelerator(cpu=on_cpu, mixed_precision="no", kwargs_handlers=[settings])
        self.rank, self.size = self._accelerator.process_index, self._accelerator.num_processes
        super().__init__(self._accelerator.device)
        kind = self._accelerator.distributed_type.value
        if device not in ("auto", self.device.type) or not kind.startswith("MULTI_"):
            raise ConfigError(
                f"device: expected plain data parallelism on {device}, but the launcher provides {kind} on {self.device.type}; "
                "use device=auto, and no FSDP or DeepSpeed in `accelerate config`"
            )
        self._hosts = distributed.new_group(backend="gloo")  # questions between hosts must not wait for a GPU
        atexit.register(_leave)

    def prepare(self, module: nn.Module) -> nn.Module:
        """Wrap the module in ``DistributedDataParallel``."""
        prepared: nn.Module = self._accelerator.prepare_model(module)
        return prepared

    def keep_apart(self, module: nn.Module) -> AbstractContextManager[Any]:
        """Return a context in which gradients of a prepared module add up without being averaged."""
        context: AbstractContextManager[Any] = self._accelerator.no_sync(module)
        return context

    def any(self, flag: bool) -> bool:
        """Tell whether ``flag`` is true in any process; every process has to ask."""
        answer = torch.tensor([flag], dtype=torch.uint8)
        distributed.all_reduce(answer, distributed.ReduceOp.MAX, group=self._hosts)
        return bool(answer)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of ``values`` over the processes; every process has to ask."""
        mean: Tensor = self._accelerator.reduce(values, "mean")
        return mean

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let an error in the block of one process end all of them; the first process reports it, the others end silently."""
        failed: RobotLearningError | None = None
        try:
            yield
        except RobotLearningError as error:
            failed = error
        if not self.any(failed is not None):
            return
        messages: list[str | None] = [None] * self.size
        distributed.all_gather_object(messages, None if failed is None else str(failed), group=self._hosts)
        if not self.leads:
            raise SystemExit(2)
        raise failed or RobotLearningError(next(message for message in messages if message is not None))


def join_team(device: str) -> Team:
    """Return the processes that train together: those of the launcher, or this one alone.

    Args:
        device: ``auto`` (cuda where there is one) or a torch device.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1 and ":" in device:
        raise ConfigError(f"device: expected auto, cpu or cuda with {count} processes, got {device!r}; each takes its own GPU")
    if count > 1:
        return LaunchedTeam(device)
    return Team(torch.device(pick_device(device)))


def pick_device(name: str) -> str:
    """Return ``name``, or for ``auto`` the fastest device there is."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _leave() -> None:
    """Take leave of the other processes at the end, as NCCL wants it."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
