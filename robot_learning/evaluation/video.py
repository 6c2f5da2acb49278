"""Film rollouts: frames rendered from the simulator while a trial is attempted again, written as MP4.

A trial fixes the start, the goal and the generator of the policy, so attempting it again shows what was counted.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError
from robot_learning.core.protocols import Actor, TaskSuite
from robot_learning.core.types import Goal, Observation, Outcome, Step, Trial
from robot_learning.evaluation.rollout import Rollout, attempt

Frame = NDArray[np.uint8]
"""RGB, uint8 ``[y, x, 3]``."""
CAMERA = "front"
"""Camera of suites that name none in ``film_camera``."""
_INSET = 0.3
"""Width of the inset goal, as a share of the frame's."""
_QUALITY = {"crf": "24", "preset": "veryfast", "movflags": "+faststart"}
"""Constant rate factor of x264: 23 is its default, higher is smaller; faststart lets a browser play while it loads."""


def write_video(path: Path | str, frames: Iterable[Frame], fps: float) -> Path:
    """Write frames as an H.264 MP4 that browsers play (4:2:0; a last odd row or column is left out).

    Args:
        path: Its folder is made when it is not there.
        frames: All of one shape.
        fps: Frames per second.

    Raises:
        ConfigError: There is no frame.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    images = iter(frames)
    first = next(images, None)
    if first is None:
        raise ConfigError(f"{path}: expected at least one frame, got none")
    height, width = (size // 2 * 2 for size in first.shape[:2])
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options=dict(_QUALITY))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in (first, *images):
            even = np.ascontiguousarray(image[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())
    return path


class Film:
    """A StepObserver that keeps a rendered frame of every observation.

    Args:
        robot: Renders; see ``render`` of the simulated robots.
        camera: Name of the camera.
        width: Width of a frame [px].
        height: Height of a frame [px].
        inset: Picture for the upper right corner, e.g. the goal.

    Attributes:
        frames: The film so far.
    """

    def __init__(self, robot: Any, camera: str, width: int, height: int, inset: Frame | None = None) -> None:
        """Start with no frame."""
        self._view = (robot, camera, width, height)
        self._inset = inset
        self.frames: list[Frame] = []

    def on_reset(self, observation: Observation, *, goal: Goal | None, seed: int | None) -> None:  # noqa: ARG002 - protocol
        """Begin a new film."""
        self.frames = [self._shoot()]

    def on_step(self, step: Step) -> None:  # noqa: ARG002 - protocol
        """Add a frame."""
        self.frames.append(self._shoot())

    def on_end(self, outcome: Outcome) -> None:
        """Do nothing; the frames stay."""

    def _shoot(self) -> Frame:
        robot, camera, width, height = self._view
        frame: Frame = np.array(robot.render(camera, width, height))
        if self._inset is not None:
            y, x = self._inset.shape[:2]
            frame[: y + 2, width - x - 2 :] = 255
            frame[:y, width - x :] = self._inset
        return frame


def film_rollout(
    suite: TaskSuite,
    robot: Any,
    actor: Actor,
    trial: Trial,
    path: Path | str,
    *,
    goal: Goal | None,
    size: tuple[int, int] = (384, 288),
) -> Rollout:
    """Attempt a trial again, write its film at the robot's own speed, and return how it went.

    Suites with ``film_goal`` show the goal in a corner.

    Args:
        suite: Judges; ``film_camera`` names the camera.
        robot: The suite's, connected, able to render.
        actor: Whose rollout it is.
        trial: What to attempt.
        path: The MP4 file.
        goal: What the actor is told, as in the evaluation.
        size: Width and height [px].
    """
    camera = str(getattr(suite, "film_camera", CAMERA))
    film = Film(robot, camera, *size, inset=_goal_frame(suite, robot, camera, trial, size))
    rollout = attempt(suite, robot, actor, trial, name="film", number=0, goal=goal, observers=(film,))
    write_video(path, film.frames, robot.spec.control_hz)
    return rollout


def _goal_frame(suite: TaskSuite, robot: Any, camera: str, trial: Trial, size: tuple[int, int]) -> Frame | None:
    """Return the goal as the camera would see it; None for suites whose picture shows the goal anyway."""
    if not getattr(suite, "film_goal", False) or not trial.goal:
        return None
    robot.reset(seed=trial.seed, start=trial.goal)
    width, height = (int(side * _INSET) // 2 * 2 for side in size)
    picture: Frame = robot.render(camera, width, height)
    return picture
