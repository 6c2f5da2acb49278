"""Train a policy from demonstration stores."""

import shlex
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from robot_learning.cli.compose import run
from robot_learning.core.arguments import check_arguments
from robot_learning.learning.recipe import Recipe
from robot_learning.learning.trainer import TrainerSettings
from robot_learning.learning.training import DataSettings, train_policy

EXAMPLES = (
    "robot-learning train policy=beso_mlp 'data.stores=[runs/play.zarr]' out=runs/beso",
    "robot-learning train policy=gcbc_mlp 'data.stores=[runs/play.zarr]' steps=5000 seed=0,1,2 --multirun",
    "robot-learning train policy=beso_mlp 'data.stores=[runs/play.zarr]' out=runs/beso resume=true",
)


def main(argv: list[str]) -> int:
    """Run the command."""
    command = shlex.join(["robot-learning", "train", *argv])
    return run("train", argv, lambda cfg: _train(cfg, command), description=__doc__ or "", examples=EXAMPLES)


def _train(cfg: DictConfig, command: str) -> int:
    if cfg.threads is not None:
        torch.set_num_threads(int(cfg.threads))
    data = _section(cfg.data)
    for key in ("observation_keys", "goal_keys", "interchangeable"):  # the policy's, kept beside the data they name
        data.pop(key, None)
    result = train_policy(
        _section(cfg.policy),
        _settings(DataSettings, data, "data"),
        Path(cfg.out),
        steps=int(cfg.steps),
        max_seconds=cfg.max_seconds,
        seed=int(cfg.seed),
        device=str(cfg.device),
        resume=bool(cfg.resume),
        init_from=cfg.init_from,
        recipe=_settings(Recipe, _section(cfg.learner), "learner"),
        settings=_settings(TrainerSettings, _section(cfg.trainer), "trainer"),
        command=command,
        config=OmegaConf.to_yaml(cfg, resolve=True),
    )
    if not result.leads:
        return 130 if result.interrupted else 0
    loss = ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items() if name.endswith("/loss"))
    print(f"{result.checkpoint}: step {result.steps}, {result.seconds:.0f} s, {loss}")
    if result.interrupted:
        again = command if "resume=true" in command else f"{command} resume=true"
        print(f"stopped before step {cfg.steps}; go on with\n  {again}")
        return 130
    return 0


def _section(node: DictConfig) -> dict[str, Any]:
    """Return a part of the configuration as a plain dict."""
    section: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    return section


def _settings(kind: Any, values: dict[str, Any], what: str) -> Any:
    check_arguments(kind, values, what=what)
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
