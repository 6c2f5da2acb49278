"""What simulated cameras observe: colours, depth where asked for, and when."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError
from robot_learning.core.spec import ArraySpec

Look = Callable[[str, int, int], mujoco.Renderer]
"""Returns a renderer that shows the present scene: camera, width, height."""


@dataclass(frozen=True)
class View:
    """A camera to observe from: ``<name>_rgb`` and, where asked for, ``<name>_depth``.

    Attributes:
        name: Which camera.
        width: Columns of the image.
        height: Rows of the image.
        depth: Also measure depth, uint16 [mm].
    """

    name: str
    width: int = 96
    height: int = 96
    depth: bool = False

    def __post_init__(self) -> None:
        """Check the size."""
        if min(self.width, self.height) < 1:
            raise ConfigError(f"camera {self.name!r}: expected at least 1 x 1 pixel, got {self.width} x {self.height}")


def view_specs(views: Iterable[View], unit: str = "rgb") -> dict[str, ArraySpec]:
    """Return what the images of some cameras look like; ``unit`` is that of colours."""
    found = {}
    for view in views:
        found[f"{view.name}_rgb"] = ArraySpec((view.height, view.width, 3), "uint8", unit)
        if view.depth:
            found[f"{view.name}_depth"] = ArraySpec((view.height, view.width, 1), "uint16", "mm")
    return found


def observed_views(views: Iterable[View], look: Look, now: float, upside_down: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Return the images of some cameras and the time of each.

    Args:
        views: The cameras.
        look: Shows the scene.
        now: Time of the images [s].
        upside_down: Cameras that hang upside down; their images are turned.
    """
    found: dict[str, NDArray[Any]] = {}
    for view in views:
        renderer = look(view.name, view.width, view.height)
        seen = {"rgb": np.asarray(renderer.render())}
        if view.depth:
            seen["depth"] = _depth(renderer)
        for kind, image in seen.items():
            turned = np.ascontiguousarray(image[::-1, ::-1]) if view.name in upside_down else image
            found |= {f"{view.name}_{kind}": turned, f"time/{view.name}_{kind}": np.asarray(np.float64(now))}
    return found


def _depth(renderer: mujoco.Renderer) -> NDArray[np.uint16]:
    """Return the depth of what a renderer shows, uint16 ``[height, width, 1]`` [mm] along the camera's axis."""
    renderer.enable_depth_rendering()
    try:
        metres = np.asarray(renderer.render())
    finally:
        renderer.disable_depth_rendering()
    return np.clip(np.rint(1000.0 * metres), 0, np.iinfo(np.uint16).max).astype(np.uint16)[..., None]
