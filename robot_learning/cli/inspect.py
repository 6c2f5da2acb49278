"""Show what is in a checkpoint as one page: parts, inputs and outputs with units, training data, how one answer comes about."""

from pathlib import Path

from omegaconf import DictConfig

from robot_learning.cli.compose import run
from robot_learning.core.errors import ConfigError
from robot_learning.evaluation.inspection import inspect_checkpoint

EXAMPLES = (
    "robot-learning inspect checkpoint=runs/train/checkpoints/last",
    "robot-learning inspect checkpoint=runs/train/checkpoints/best 'stores=[runs/other.zarr]' out=runs/what",
)


def main(argv: list[str]) -> int:
    """Run the command."""
    return run("inspect", argv, _inspect, description=(__doc__ or "").strip(), examples=EXAMPLES)


def _inspect(cfg: DictConfig) -> int:
    if cfg.checkpoint is None:
        raise ConfigError("checkpoint: expected the folder of a policy, e.g. checkpoint=runs/train/checkpoints/last")
    stores = None if cfg.stores is None else [str(store) for store in cfg.stores]
    print(inspect_checkpoint(Path(cfg.checkpoint), stores, seed=int(cfg.seed)).write(Path(cfg.out)))
    return 0
