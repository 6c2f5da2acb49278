"""lerobot's side of ``benchmarks/loader.py --lerobot``; runs in lerobot's environment.

    python lerobot_loader.py FRAMES.npz FOLDER WORKERS

Writes the frames as a data set with lerobot's own recorder (images, not video, unless it is there already) and reads windows of
two frames and sixteen actions in batches of 64 through a shuffling torch DataLoader. For every line with a number of seconds it
answers with windows per second.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

FPS = 10
BATCH = 64


def main() -> None:
    """Write, read, answer."""
    frames, folder, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    if not folder.exists():
        write(frames, folder)
    delta = {
        "observation.image": [-1 / FPS, 0.0],
        "observation.state": [-1 / FPS, 0.0],
        "action": [(step - 1) / FPS for step in range(16)],
    }
    dataset = LeRobotDataset("local/pusht", root=folder, delta_timestamps=delta, return_uint8=True)
    loader = torch.utils.data.DataLoader(dataset, BATCH, shuffle=True, drop_last=True, num_workers=workers)
    batches = forever(loader)
    next(batches)
    print("ready", flush=True)
    for line in sys.stdin:
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < float(line):
            next(batches)
            count += 1
        print("answer", count * BATCH / (time.perf_counter() - start), flush=True)


def write(frames: Path, folder: Path) -> None:
    """Record the episodes of ``frames``: arrays ``image``, ``state``, ``action`` and ``ends``."""
    arrays = np.load(frames)
    image, state, action, ends = (arrays[name] for name in ("image", "state", "action", "ends"))
    features = {
        "observation.image": {"dtype": "image", "shape": image.shape[1:], "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": state.shape[1:], "names": None},
        "action": {"dtype": "float32", "shape": action.shape[1:], "names": None},
    }
    dataset = LeRobotDataset.create("local/pusht", FPS, features, root=folder, use_videos=False, image_writer_threads=4)
    start = 0
    for end in ends:
        for row in range(start, end):
            frame = {"observation.image": image[row], "observation.state": state[row], "action": action[row], "task": "push"}
            dataset.add_frame(frame)
        dataset.save_episode()
        start = end
    dataset.finalize()


def forever(loader: "torch.utils.data.DataLoader[object]") -> "object":
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


if __name__ == "__main__":
    main()
