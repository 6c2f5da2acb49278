"""Record demonstrations by teleoperation into a store."""

import getpass
import sys
from pathlib import Path

from omegaconf import DictConfig

from robot_learning.cli.compose import instantiate, run
from robot_learning.collection.keys import single_keys
from robot_learning.collection.record import Session
from robot_learning.serving.deploy import open_record

EXAMPLES = (
    "robot-learning record robot.port=/dev/ttyACM0 teleop.port=/dev/ttyACM1 instruction='lift the cube' episodes=50",
    "robot-learning record robot.port=/dev/ttyACM0 teleop.port=/dev/ttyACM1 out=runs/cube.zarr episode_seconds=30",
    "robot-learning record robot.port=~/.robot-learning/twin/so101-follower teleop.port=~/.robot-learning/twin/so101-leader "
    "episodes=2",
)


def main(argv: list[str]) -> int:
    """Run the command; 0 when it ran to its end, 1 when a guard stopped the robot."""
    return run("record", argv, _record, description=(__doc__ or "").strip(), examples=EXAMPLES)


def _record(cfg: DictConfig) -> int:
    robot, teleoperator = instantiate(cfg.robot), instantiate(cfg.teleop)
    guard = instantiate(cfg.guard, spec=robot.spec) if cfg.get("guard") else None
    Path(cfg.out).parent.mkdir(parents=True, exist_ok=True)
    store = open_record(Path(cfg.out), robot)
    with store, single_keys(sys.stdin) as keys:
        session = Session(
            robot,
            teleoperator,
            store,
            keys,
            instruction=str(cfg.instruction or ""),
            episode_seconds=cfg.episode_seconds,
            guard=guard,
        )
        report = session.run(cfg.episodes, operator=str(cfg.operator or getpass.getuser()))
        print(report)
    return int(report.safety)
