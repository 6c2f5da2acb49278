"""Write a checkpoint as one ONNX file, sampler and scaling inside, checked against PyTorch; deploy runs it without torch."""

from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from robot_learning.cli.compose import run
from robot_learning.core.errors import ConfigError
from robot_learning.policies.policy import load_policy, read_header
from robot_learning.serving.onnx_export import export_onnx

EXAMPLES = (
    "robot-learning export checkpoint=runs/train/checkpoints/last out=policy.onnx",
    "robot-learning export checkpoint=runs/train/checkpoints/best out=fast.onnx 'overrides={steps: 1}'",
    "robot-learning deploy checkpoint=policy.onnx backend=onnx goal=runs/play.zarr:42@end seconds=60",
)


def main(argv: list[str]) -> int:
    """Run the command."""
    return run("export", argv, _export, description=(__doc__ or "").strip(), examples=EXAMPLES)


def _export(cfg: DictConfig) -> int:
    if cfg.checkpoint is None:
        raise ConfigError("checkpoint: expected the folder of a policy, e.g. checkpoint=runs/train/checkpoints/last")
    overrides = {} if cfg.overrides is None else cast(dict[str, Any], OmegaConf.to_container(cfg.overrides))
    folder, out = Path(cfg.checkpoint), Path(cfg.out)
    policy = load_policy(folder, **overrides)
    difference = export_onnx(policy, out, {**read_header(folder)["provenance"], "overrides": overrides})
    print(
        f"{out}: {out.stat().st_size / 2**20:.1f} MiB; answers differ from PyTorch's by {difference:.1e} of the largest action"
    )
    return 0
