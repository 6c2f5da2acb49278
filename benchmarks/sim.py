"""Speed of the play table: control steps against bare physics steps of the same model, and rendered frames.

    python benchmarks/sim.py --json FILE

Both sides run the same stretch of scripted play in alternating blocks: the robot (inverse kinematics, limits, physics,
buttons, observation) and bare ``mj_step`` with the same servo commands and number of substeps, which ends in the same
state. The ratio is the median over the blocks. All rates are per second of this process's CPU time, so that other load
on the machine counts little and rendering threads count in full.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.types import Action, End
from robot_learning.sim.operator.operators import PlayOperator
from robot_learning.sim.robot import CAMERAS, CONTROL_HZ, PlayTableRobot
from robot_learning.sim.world import RAMP, SUBSTEPS

_TARGETS = {"ratio_to_bare_mj_step": 0.8, "frames_per_s_96x96": 500.0}


def main(argv: list[str] | None = None) -> None:
    """Measure, print the ratios first, and write them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--steps", type=int, default=400, help="control steps per block")
    parser.add_argument("--blocks", type=int, default=9, help="alternating blocks per side")
    options = parser.parse_args(argv)
    result = measure(options.steps, options.blocks)
    for key, value in result.items():
        target = f"  (target {_TARGETS[key]:g})" if key in _TARGETS else ""
        print(f"{key:34s} {value if isinstance(value, str) else f'{value:.3g}'}{target}")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(steps: int, blocks: int) -> dict[str, Any]:
    """Return the figures, ratios first."""
    robot = PlayTableRobot()
    robot.connect()
    actions = _play(robot, steps)
    commands = _commands(robot, actions)
    pairs = [(_robot_rate(robot, actions), _bare_rate(robot, commands)) for _ in range(blocks)]
    frames = {camera: _frame_rate(robot, camera, steps) for camera in CAMERAS}
    robot.close()
    return {
        "ratio_to_bare_mj_step": statistics.median(ours / bare for ours, bare in pairs),
        "frames_per_s_96x96": frames["static"],
        **{f"frames_per_s_96x96_{camera}": rate for camera, rate in frames.items() if camera != "static"},
        "control_steps_per_s": statistics.median(ours for ours, _ in pairs),
        "bare_control_steps_per_s": statistics.median(bare for _, bare in pairs),
        "times_real_time": statistics.median(ours for ours, _ in pairs) / CONTROL_HZ,
        "substeps": SUBSTEPS,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": f"mujoco {mujoco.__version__}, numpy {np.__version__}, MUJOCO_GL={os.environ['MUJOCO_GL']}",
    }


def _play(robot: PlayTableRobot, steps: int) -> list[Action]:
    """Return the actions of a stretch of scripted play from seed 0."""
    operator = PlayOperator()
    operator.reset(seed=0)
    observation = robot.reset(seed=0)
    actions: list[Action] = []
    while len(actions) < steps:
        action = operator.act(observation)
        if isinstance(action, End):
            break
        robot.apply(action)
        observation = robot.observe()
        actions.append(action)
    return actions


def _commands(robot: PlayTableRobot, actions: list[Action]) -> NDArray[np.float64]:
    """Return the servo commands that the actions lead to, one row per stretch of physics steps between two commands."""
    robot.reset(seed=0)
    data = robot.world.data
    rows, before = [], data.ctrl.copy()
    for action in actions:
        robot.apply(action)
        after = data.ctrl.copy()
        rows += [before + (after - before) * part / RAMP for part in range(1, RAMP + 1)]
        before = after
    return np.array(rows)


def _robot_rate(robot: PlayTableRobot, actions: list[Action]) -> float:
    robot.reset(seed=0)
    start = time.process_time()
    for action in actions:
        robot.apply(action)
        robot.observe()
    return len(actions) / (time.process_time() - start)


def _bare_rate(robot: PlayTableRobot, commands: NDArray[np.float64]) -> float:
    robot.reset(seed=0)
    model, data = robot.world.model, robot.world.data
    start = time.process_time()
    for command in commands:
        data.ctrl[:] = command
        mujoco.mj_step(model, data, nstep=SUBSTEPS // RAMP)
    return len(commands) / RAMP / (time.process_time() - start)


def _frame_rate(robot: PlayTableRobot, camera: str, frames: int) -> float:
    robot.reset(seed=0)
    robot.render(camera, 96, 96)
    start = time.process_time()
    for _ in range(frames):
        robot.render(camera, 96, 96)
    return frames / (time.process_time() - start)


if __name__ == "__main__":
    main()
