"""Decode a stretch of a video file, frame by frame, and insist that every frame is there."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import StoreCorrupt


def video_frames(path: Path, start_s: float, count: int, fps: float) -> Iterator[NDArray[np.uint8]]:
    """Yield ``count`` RGB frames ``[y, x, 3]`` that begin at ``start_s``.

    Frames are told apart by their number ``round(time * fps)``, never by nearness in time, so a gap is an error instead
    of a shifted recording.

    Raises:
        StoreCorrupt: A frame is missing.
    """
    first = round(start_s * fps)
    expected = first
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        container.seek(max(0, int((start_s - 1.0 / fps) / stream.time_base)), stream=stream)
        for frame in container.decode(stream):
            number = round(float(frame.time) * fps)
            if number < first:
                continue
            if number != expected or expected == first + count:
                break
            yield frame.to_ndarray(format="rgb24")
            expected += 1
    if expected != first + count:
        got = expected - first
        raise StoreCorrupt(f"{path}: expected {count} frames from {start_s:.3f} s at {fps:g} Hz, got {got} in a row")
