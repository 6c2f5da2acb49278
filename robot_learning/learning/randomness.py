"""Random numbers that depend on (seed, stream, step, piece) alone, so that resuming needs no generator state.

Noise levels and noise are drawn from a generator handed to ``policy.loss``; dropout draws from torch's global
generator, which is borrowed for the length of a step and given back as it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch

Stream = Literal["initial", "train", "validation", "probe"]
_STREAMS: dict[Stream, int] = {"initial": 0, "train": 1, "validation": 2, "probe": 3}


@contextmanager
def keyed_randomness(
    device: torch.device, seed: int, stream: Stream, step: int = 0, piece: int = 0
) -> Iterator[torch.Generator]:
    """Give a generator for one piece of one step and seed the global ones by the same key until the block ends.

    Args:
        device: Where the generator draws.
        seed: Seed of the run.
        stream: What the numbers are for; streams are independent.
        step: Which step or batch they are for.
        piece: Which piece of the batch.
    """
    key = np.random.SeedSequence([seed, _STREAMS[stream], step, piece]).generate_state(2, np.uint64) >> np.uint64(1)
    generator = torch.Generator(device).manual_seed(int(key[0]))
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng([device] if on_cuda else []):
        torch.default_generator.manual_seed(int(key[1]))
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(int(key[1]))
        yield generator
