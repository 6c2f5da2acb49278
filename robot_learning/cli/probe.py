"""Measure what a policy's frozen encoder knows of the states to come."""

import shlex
from dataclasses import fields
from pathlib import Path

import torch
from omegaconf import DictConfig

from robot_learning.cli.compose import run
from robot_learning.core.errors import ConfigError
from robot_learning.learning.probe import ProbeSettings, Score, probe_checkpoint, write_scores

EXAMPLES = (
    "robot-learning probe checkpoint=runs/act_jepa/checkpoints/last",
    "robot-learning probe checkpoint=runs/act/checkpoints/last,runs/act_jepa/checkpoints/last out=runs/probe --multirun",
    "robot-learning probe checkpoint=runs/images/checkpoints/last 'predict=[block_position]' 'stores=[runs/other.zarr]'",
)


def main(argv: list[str]) -> int:
    """Run the command."""
    command = shlex.join(["robot-learning", "probe", *argv])
    return run("probe", argv, lambda cfg: _probe(cfg, command), description=__doc__ or "", examples=EXAMPLES)


def _probe(cfg: DictConfig, command: str) -> int:
    if cfg.checkpoint is None:
        raise ConfigError("probe: expected checkpoint=FOLDER, e.g. checkpoint=runs/act_jepa/checkpoints/last, got none")
    if cfg.threads is not None:
        torch.set_num_threads(int(cfg.threads))
    scores = probe_checkpoint(
        str(cfg.checkpoint),
        stores=None if cfg.stores is None else list(cfg.stores),
        validation=cfg.validation,
        predict=None if cfg.predict is None else list(cfg.predict),
        horizon=cfg.horizon,
        settings=ProbeSettings(**{field.name: cfg[field.name] for field in fields(ProbeSettings)}),
        seed=int(cfg.seed),
        device=str(cfg.device),
    )
    write_scores(Path(cfg.out) / "probe.json", scores, command)
    show(scores)
    print(Path(cfg.out) / "probe.json")
    return 0


def show(scores: list[Score]) -> None:
    """Print a table of the errors, all keys together first."""
    width = max(len(score.name) for score in scores)
    print(f"{'':<{width}}  {'RMSE':>9}  {'ATE':>9}  unit")
    for score in scores:
        print(f"{score.name:<{width}}  {score.rmse:9.4f}  {score.ate:9.4f}  {score.unit}")
