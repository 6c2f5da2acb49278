"""lerobot's side of ``benchmarks/train.py --lerobot``; runs in lerobot's environment.

    python lerobot_train.py act|diffusion BATCH DEVICE DOWN_DIMS THREADS

Trains lerobot's policy on one batch of random numbers that lies ready in memory, with the update of its own trainer (forward,
loss, backward, clipped gradient, AdamW). Answers ``parameters`` with their number and any other line, a number of seconds, with
samples per second.
"""

import sys
import time
from typing import Any

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy

STATE, SCENE, ACTION = 14, 45, 7
CAMERAS = ("observation.images.static", "observation.images.wrist")


def main() -> None:
    """Build, train, answer."""
    kind, batch_size, device = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if device == "cpu":
        torch.set_num_threads(int(sys.argv[5]))
    policy, batch = (act if kind == "act" else diffusion)(batch_size, sys.argv[4])
    policy.to(device).train()
    batch = {name: value.to(device) for name, value in batch.items()}
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-5, weight_decay=1e-4)

    def step() -> None:
        loss, _ = policy.forward(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 10.0)
        optimizer.step()
        optimizer.zero_grad()
        if device != "cpu":
            torch.cuda.synchronize()

    for _ in range(3):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "parameters":
            print("answer", sum(value.numel() for value in policy.parameters()), flush=True)
            continue
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < float(line):
            step()
            count += 1
        print("answer", count * batch_size / (time.perf_counter() - start), flush=True)


def act(batch_size: int, _: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """Return ACT with its default sizes, from two cameras and a state."""
    images = {name: PolicyFeature(FeatureType.VISUAL, (3, 96, 96)) for name in CAMERAS}
    config = ACTConfig(
        input_features={**images, "observation.state": PolicyFeature(FeatureType.STATE, (STATE,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (ACTION,))},
        pretrained_backbone_weights=None,
        device="cpu",
    )
    batch = {name: torch.randn(batch_size, 3, 96, 96) for name in CAMERAS}
    batch["observation.state"] = torch.randn(batch_size, STATE)
    return ACTPolicy(config), batch | actions(batch_size, config.chunk_size)


def diffusion(batch_size: int, down_dims: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """Return Diffusion Policy's U-Net from states: two observed steps, sixteen actions."""
    config = DiffusionConfig(
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (STATE,)),
            "observation.environment_state": PolicyFeature(FeatureType.ENV, (SCENE,)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (ACTION,))},
        horizon=16,
        n_action_steps=8,
        down_dims=tuple(int(size) for size in down_dims.split(",")),
        device="cpu",
    )
    batch = {"observation.state": torch.randn(batch_size, 2, STATE)}
    batch["observation.environment_state"] = torch.randn(batch_size, 2, SCENE)
    return DiffusionPolicy(config), batch | actions(batch_size, 16)


def actions(batch_size: int, steps: int) -> dict[str, torch.Tensor]:
    """Return actions of which none is padding."""
    return {
        "action": torch.rand(batch_size, steps, ACTION) * 2 - 1,
        "action_is_pad": torch.zeros(batch_size, steps, dtype=torch.bool),
    }


if __name__ == "__main__":
    main()
