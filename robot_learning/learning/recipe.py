"""How a policy's weights are updated: optimiser, learning rate, average, precision.

The learning rate is a pure function of the step, so that a resumed run needs no scheduler state.
"""

import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import nn

from robot_learning.core.errors import ConfigError, UnknownName

Schedule = Literal["constant", "cosine", "beso"]
Precision = Literal["auto", "bf16", "fp32"]
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@dataclass(frozen=True)
class Recipe:
    """Settings of the learner; what is good for one policy is often good for all.

    Attributes:
        optimizer: ``adamw`` or ``adam``.
        lr: Peak learning rate.
        betas: Decay of the first and second moment.
        weight_decay: Decoupled decay (AdamW) or L2 penalty (Adam), on tensors of two or more axes only.
        schedule: ``constant``; ``cosine`` to zero at the last step; ``beso``: times 0.99 every 100 steps, as in
            Reuss et al. 2023 (their code steps ``StepLR(100, 0.99)`` at every gradient step).
        warmup: Steps of linear warm-up before the schedule.
        ema: Decay of the exponential moving average of the weights; None keeps none.
        clip: Largest norm of the gradient; None does not clip.
        precision: ``bf16`` autocast, ``fp32``, or ``auto``: bf16 where the hardware multiplies it
            (CUDA since Ampere, CPUs with AMX), else fp32.
        compile: Compile the loss with ``torch.compile``.
        accumulate: Pieces that a process splits its batch into; their gradients are averaged before one update.
        channels_last: Keep the weights of convolutions with the channels last in memory, as images come and as the matrix units
            of GPUs want them, so that nothing is reordered on the way; ``auto``: on CUDA. Results differ by rounding alone.
    """

    optimizer: str = "adamw"
    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    schedule: Schedule = "cosine"
    warmup: int = 500
    ema: float | None = 0.999
    clip: float | None = 1.0
    precision: Precision = "auto"
    compile: bool = False
    accumulate: int = 1
    channels_last: bool | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        """Check names and ranges."""
        object.__setattr__(self, "betas", (float(self.betas[0]), float(self.betas[1])))
        _check_choice("optimizer", self.optimizer, OPTIMIZERS)
        _check_choice("schedule", self.schedule, get_args(Schedule))
        _check_choice("precision", self.precision, get_args(Precision))
        _check_choice("channels_last", self.channels_last, (True, False, "auto"))
        if self.lr <= 0:
            raise ConfigError(f"learner.lr: expected a positive number, got {self.lr}")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ConfigError(f"learner.ema: expected a decay in [0, 1) or null, got {self.ema}")
        if self.accumulate < 1 or self.warmup < 0:
            raise ConfigError(f"learner: expected accumulate >= 1 and warmup >= 0, got {self.accumulate}, {self.warmup}")

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of update number ``step`` (0 is the first) out of ``steps``."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.schedule == "beso":
            return self.lr * float(0.99 ** (step // 100))
        if self.schedule == "cosine":
            done = (step - self.warmup) / max(steps - self.warmup, 1)
            return self.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return self.lr

    def build_optimizer(self, policy: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser over all trainable parameters, fused where the device has such kernels."""
        parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        kind = cast(Any, OPTIMIZERS[self.optimizer])
        fused = "fused" in inspect.signature(kind).parameters and all(p.device.type in ("cuda", "cpu") for p in parameters)
        optimizer: torch.optim.Optimizer = kind(groups, lr=self.lr, betas=self.betas, fused=fused)
        return optimizer

    def autocasts(self, device: torch.device) -> bool:
        """Tell whether the loss is computed under bf16 autocast on ``device``."""
        if self.precision == "auto":
            return torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_multiplies_bf16(device)
        return self.precision == "bf16"

    def orders_channels_last(self, device: torch.device) -> bool:
        """Tell whether the weights of convolutions are kept with the channels last on ``device``."""
        return device.type == "cuda" if self.channels_last == "auto" else self.channels_last


def _cpu_multiplies_bf16(device: torch.device) -> bool:
    """Tell whether a CPU has matrix units for bf16; without them bf16 is slower than fp32."""
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


def _check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    if value not in choices:
        raise UnknownName(f"learner.{name}", str(value), map(str, choices))
