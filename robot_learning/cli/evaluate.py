"""Evaluate policies on a suite's tasks, on the same trials."""

import shlex
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robot_learning.cli.compose import instantiate, run
from robot_learning.core.errors import ConfigError
from robot_learning.evaluation.evaluate import Evaluation, evaluate
from robot_learning.evaluation.pages import evaluation_report
from robot_learning.evaluation.prompts import Prompt
from robot_learning.evaluation.rollout import Contender

EXAMPLES = (
    "robot-learning evaluate checkpoint=runs/beso/checkpoints/last",
    "robot-learning evaluate 'checkpoints={beso: runs/beso/checkpoints/last, gcbc: runs/gcbc/checkpoints/last}' random=true",
    "robot-learning evaluate task=pusht checkpoint=runs/pusht/checkpoints/last per_task=50 execute=8",
    "robot-learning evaluate checkpoint=runs/words/checkpoints/last goal=instruction task.wordings=[4]",
    "robot-learning evaluate checkpoint=runs/hilp/checkpoints/last prompt=reward 'prompt_stores=[runs/play.zarr]'",
)


def main(argv: list[str]) -> int:
    """Run the command."""
    command = shlex.join(["robot-learning", "evaluate", *argv])
    return run("evaluate", argv, lambda cfg: _evaluate(cfg, command), description=__doc__ or "", examples=EXAMPLES)


def _evaluate(cfg: DictConfig, command: str) -> int:
    out = Path(cfg.out)
    result = evaluate(
        partial(instantiate, cfg.task),
        contenders(cfg),
        per_task=int(cfg.per_task),
        seed=int(cfg.seed),
        workers=None if cfg.workers is None else int(cfg.workers),
    )
    result.write(out / "results.json", command)
    page = evaluation_report(result, out, partial(instantiate, cfg.task), videos=int(cfg.videos), command=command)
    show(result)
    print(f"{out / 'results.json'}\n{page}")
    return 0


def contenders(cfg: DictConfig) -> dict[str, Contender]:
    """Return who is evaluated, from the configuration."""
    settings: dict[str, Any] = {
        "execute": cfg.execute,
        "ensemble": cfg.ensemble,
        "use_goal": bool(cfg.use_goal),
        "goal": None if cfg.goal is None else (cfg.goal,) if isinstance(cfg.goal, str) else tuple(cfg.goal),
        "overrides": {} if cfg.overrides is None else OmegaConf.to_container(cfg.overrides),
    }
    if cfg.prompt is not None:
        settings["prompt"] = Prompt(str(cfg.prompt), list(cfg.prompt_stores), int(cfg.prompt_samples), int(cfg.prompt_steps))
    named = dict(cfg.checkpoints or {})
    if cfg.checkpoint is not None:
        named = {_name(str(cfg.checkpoint)): cfg.checkpoint, **named}
    found = {str(name): Contender(str(path), **settings) for name, path in named.items()}
    if cfg.random:
        found["random"] = Contender(None)
    if not found:
        raise ConfigError("evaluate: expected checkpoint=FOLDER or checkpoints={name: FOLDER, ...}, got neither")
    return found


def _name(checkpoint: str) -> str:
    """Return the run's name for ``runs/NAME/checkpoints/last``, else the folder's."""
    parts = Path(checkpoint).parts
    return parts[-3] if len(parts) > 2 and parts[-2] == "checkpoints" else parts[-1]


def show(result: Evaluation) -> None:
    """Print a table of success by task and policy."""
    summaries = {name: result.summary(name) for name in result.contenders}
    width = max(len(task) for task in (*next(iter(summaries.values()))["tasks"], "mean score"))
    print(" " * width + "".join(f"  {name:>22}" for name in summaries))
    for task in next(iter(summaries.values()))["tasks"]:
        cells = (f"{s['tasks'][task]['success']:6.1%} [{_span(s['tasks'][task]['interval'])}]" for s in summaries.values())
        print(f"{task:<{width}}" + "".join(f"  {cell:>22}" for cell in cells))
    for label, key in (("mean success", "success"), ("mean score", "score")):
        cells = (f"{s[key]:6.1%} [{_span(s[key + '_interval'])}]" for s in summaries.values())
        print(f"{label:<{width}}" + "".join(f"  {cell:>22}" for cell in cells))


def _span(interval: list[float]) -> str:
    return f"{interval[0]:.0%}, {interval[1]:.0%}"
