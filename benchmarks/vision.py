"""Time and memory of the image encoders, for a batch as training sees it and for one image as acting does.

    python benchmarks/vision.py [--device cuda] [--size 96] [--batch 32] [--only conv resnet] [--json FILE]

Random weights: published models are built from their sizes, so that nothing is downloaded. A step of training is the random
shift, forward, backward and an AdamW update; frozen models train their projection alone. All encoders take turns; figures are
medians. Memory is what the GPU held at most during a step (on a CPU it is left out).
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from inference import machine

from robot_learning.nn.pretrained import PretrainedEncoder
from robot_learning.nn.resnet import ResNetEncoder
from robot_learning.nn.vision import ConvEncoder, ImageEncoder

VIT = {"model_type": "dinov2", "patch_size": 14, "image_size": 518}
SIZES = {
    "dinov2-small": {**VIT, "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6},
    "dinov2-base": {**VIT, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
}
IMAGENET = {"size": [224, 224], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "resampling": "bicubic"}


def published(name: str, **settings: Any) -> Callable[[], ImageEncoder]:
    """Return what makes a published model with random weights."""
    return lambda: PretrainedEncoder(source=name, architecture=SIZES[name], preprocessing=IMAGENET, **settings)


ENCODERS: dict[str, Callable[[], ImageEncoder]] = {
    "conv": ConvEncoder,
    "resnet": ResNetEncoder,
    "dinov2-small frozen, 224": published("dinov2-small"),
    "dinov2-small frozen, 98": published("dinov2-small", resolution=98),
    "dinov2-small lora, 98": published("dinov2-small", resolution=98, mode="lora"),
    "dinov2-small finetuned, 98": published("dinov2-small", resolution=98, mode="finetuned"),
    "dinov2-base frozen, 224": published("dinov2-base"),
}


def main(argv: list[str] | None = None) -> None:
    """Measure, print a table, and write everything as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--size", type=int, default=96, help="rows and columns of the camera's images")
    parser.add_argument("--batch", type=int, default=32, help="images of a training step")
    parser.add_argument("--rounds", type=int, default=5, help="turns that every encoder takes")
    parser.add_argument("--only", nargs="*", default=list(ENCODERS), choices=list(ENCODERS), help="encoders to measure")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    device = torch.device(options.device)
    cases = {name: Case(ENCODERS[name]().to(device), options.batch, options.size, device) for name in options.only}
    for index in range(options.rounds + 1):
        for case in cases.values():
            case.take(keep=index > 0)
    report = {"machine": machine(options.device), "encoders": {name: case.figures() for name, case in cases.items()}}
    print(f"| encoder | parameters | trained | training step, {options.batch} images | one image | memory |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, one in report["encoders"].items():
        memory = f"{one['memory_mb']:.0f} MB" if device.type == "cuda" else ""
        sizes = f"{one['parameters'] / 1e6:.2f} M | {one['trained'] / 1e6:.2f} M"
        print(f"| {name} | {sizes} | {one['train_ms']:.0f} ms | {one['act_ms']:.1f} ms | {memory} |")
    print(f"\n{report['machine']}, images of {options.size} x {options.size}")
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


class Case:
    """One encoder and its figures."""

    def __init__(self, encoder: ImageEncoder, batch: int, size: int, device: torch.device) -> None:
        """Make images and an optimiser."""
        self.encoder, self.device = encoder, device
        self.images = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device=device)
        self.weights = [weight for weight in encoder.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights)
        self.generator = torch.Generator(device).manual_seed(0)
        self.taken: dict[str, list[float]] = {"train_ms": [], "act_ms": []}
        self.memory = 0.0

    def take(self, *, keep: bool) -> None:
        """Train one step and encode one image."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for name, function in (("train_ms", self._step), ("act_ms", self._act)):
            taken = self._timed(function)
            if keep:
                self.taken[name].append(taken)
        if self.device.type == "cuda":
            self.memory = torch.cuda.max_memory_allocated() / 2**20

    def figures(self) -> dict[str, float]:
        """Return medians [ms], memory [MB] and numbers of parameters."""
        counts = {"parameters": self.encoder.parameters(), "trained": self.weights}
        found = {name: float(sum(weight.numel() for weight in some)) for name, some in counts.items()}
        return {**found, **{name: statistics.median(each) for name, each in self.taken.items()}, "memory_mb": self.memory}

    def _step(self) -> None:
        self.encoder.train()
        self.encoder(self.images, self.generator).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.inference_mode()
    def _act(self) -> None:
        self.encoder.eval()(self.images[:1])

    def _timed(self, function: Callable[[], None]) -> float:
        start = time.perf_counter()
        function()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
