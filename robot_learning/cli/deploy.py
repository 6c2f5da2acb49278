"""Run a checkpoint on a robot in real time towards a goal, guarded, measured and recorded."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from omegaconf import DictConfig, OmegaConf

from robot_learning.cli.compose import instantiate, run
from robot_learning.core.errors import ConfigError
from robot_learning.core.language import INSTRUCTION
from robot_learning.core.protocols import Policy, Robot, TaskSuite
from robot_learning.core.spec import RobotSpec, check_compatible
from robot_learning.core.types import Goal
from robot_learning.datasets.durable import write_atomic
from robot_learning.runtime.process import ProcessPolicy
from robot_learning.serving.backends import load_backend
from robot_learning.serving.deploy import DeployReport, deploy, open_record
from robot_learning.serving.goals import check_goal, read_goal
from robot_learning.serving.realtime import INFERENCE_PRIORITY, set_priority, set_torch_threads

EXAMPLES = (
    "robot-learning deploy checkpoint=runs/train/checkpoints/last goal=runs/play.zarr:42@end seconds=60",
    "robot-learning deploy checkpoint=runs/train/checkpoints/best goal=store:42@end goal_store=runs/play.zarr start=store:42@0",
    "robot-learning deploy checkpoint=runs/words/checkpoints/last instruction='open the drawer' seconds=20",
    "robot-learning deploy checkpoint=policy.onnx backend=onnx goal=runs/play.zarr:42@end seconds=60",
    "robot-learning deploy checkpoint=runs/cube/checkpoints/last robot=so101 robot.port=/dev/ttyACM0 seconds=30",
    "robot-learning deploy checkpoint=runs/pusht/checkpoints/last task=pusht execution.execute=8 seconds=30",
)


def main(argv: list[str]) -> int:
    """Run the command; 0 when it ran to its end, 1 when a guard stopped the robot."""
    chosen = {argument.partition("=")[0] for argument in argv}
    alone = ["task=none"] if "robot" in chosen and "task" not in chosen else []  # a robot of one's own has no task's guards
    return run("deploy", [*alone, *argv], _deploy, description=(__doc__ or "").strip(), examples=EXAMPLES)


def _deploy(cfg: DictConfig) -> int:
    if cfg.checkpoint is None:
        raise ConfigError("checkpoint: expected the folder of a policy, e.g. checkpoint=runs/train/checkpoints/last")
    with ExitStack() as stack:
        return _run(cfg, _policy(cfg, stack), stack)


def _policy(cfg: DictConfig, stack: ExitStack) -> Policy:
    overrides = {} if cfg.overrides is None else cast(dict[str, Any], OmegaConf.to_container(cfg.overrides))
    load = partial(load_backend, str(cfg.backend), Path(cfg.checkpoint), str(cfg.device), overrides)
    return stack.enter_context(ProcessPolicy(partial(_load_alone, load))) if cfg.process else load()


def _load_alone(load: Callable[[], Policy]) -> Policy:
    """Load a policy in a process of its own: one thread, and the priority of inference where allowed."""
    set_priority(INFERENCE_PRIORITY)
    policy = load()
    set_torch_threads(1)
    return policy


def _run(cfg: DictConfig, policy: Policy, stack: ExitStack) -> int:
    robot: Robot = instantiate(cfg.robot) if cfg.get("robot") else _simulated(cfg)
    check_compatible(policy.spec, robot.spec, what=f"{cfg.checkpoint} does not fit {robot.spec.name}")
    goal, start = _goals(cfg, policy, robot.spec)
    guard = instantiate(cfg.guard, spec=robot.spec) if cfg.get("guard") else None
    out = Path(cfg.out)
    meta = {"checkpoint": str(cfg.checkpoint), "goal": cfg.goal, "instruction": cfg.instruction, "start": cfg.start}
    store = stack.enter_context(open_record(out / "episodes.zarr", robot)) if cfg.record else None
    print(f"{robot.spec.name}: {cfg.seconds:g} s at {robot.spec.control_hz:g} Hz; Ctrl-C stops and saves")
    report = deploy(
        policy,
        robot,
        goal,
        seconds=cfg.seconds,
        execution=instantiate(cfg.execution),
        guard=guard,
        seed=cfg.seed,
        start=start,
        store=store,
        meta=meta,
    )
    print(report)
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "report.json", _json(report, meta))
    return int(report.outcome.reason.startswith("safety:"))


def _simulated(cfg: DictConfig) -> Robot:
    if not cfg.get("task"):
        raise ConfigError("deploy: expected a robot or a task, e.g. robot=so101 robot.port=/dev/ttyACM0, or task=play_table")
    suite: TaskSuite = instantiate(cfg.task)
    return suite.make_robot()


def _goals(cfg: DictConfig, policy: Policy, spec: RobotSpec) -> tuple[Goal, dict[str, np.ndarray[Any, Any]] | None]:
    goal = read_goal(cfg.goal, spec=spec, keys=policy.goal_keys, store=cfg.goal_store)
    if cfg.instruction is not None:
        goal[INSTRUCTION] = str(cfg.instruction)
    check_goal(policy, goal)
    start = read_goal(cfg.start, spec=spec, store=cfg.goal_store)
    start.pop(INSTRUCTION, None)
    return goal, start or None


def _json(report: DeployReport, meta: dict[str, Any]) -> bytes:
    return json.dumps({**meta, **report.to_json()}, indent=1).encode()
