"""Move a robot by hand through a leader arm, in real time, guarded and measured."""

from omegaconf import DictConfig

from robot_learning.cli.compose import instantiate, run
from robot_learning.collection.teleoperate import teleoperate

EXAMPLES = (
    "robot-learning teleoperate robot.port=/dev/ttyACM0 teleop.port=/dev/ttyACM1",
    "robot-learning teleoperate robot.port=/dev/ttyACM0 robot.name=left teleop.port=/dev/ttyACM1 teleop.name=left_leader",
    "robot-learning teleoperate robot.port=~/.robot-learning/twin/so101-follower "
    "teleop.port=~/.robot-learning/twin/so101-leader seconds=20",
)


def main(argv: list[str]) -> int:
    """Run the command; 0 when it ran to its end, 1 when a guard stopped the robot."""
    return run("teleoperate", argv, _teleoperate, description=(__doc__ or "").strip(), examples=EXAMPLES)


def _teleoperate(cfg: DictConfig) -> int:
    robot, teleoperator = instantiate(cfg.robot), instantiate(cfg.teleop)
    guard = instantiate(cfg.guard, spec=robot.spec) if cfg.get("guard") else None
    print(f"{robot.spec.name}: the follower comes to the leader slowly, then follows; Ctrl-C stops")
    report = teleoperate(robot, teleoperator, seconds=cfg.seconds, guard=guard)
    print(report)
    return int(report.outcome.reason.startswith("safety:"))
