"""Read a goal (or a start) from a store's frame, a state file, an image or a sentence.

store:runs/play.zarr:42@end     the last frame of episode 42 of a store
runs/play.zarr:42@17            frame 17; negative numbers count from the end
store:42@end                    of the store named by ``goal_store``
goal.npz, goal.json             observation keys and the values to reach
goal.png                        an image, for a policy that reads one image as its goal
text:open the drawer            an instruction
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import ConfigError, SpecMismatch, UnknownName
from robot_learning.core.language import INSTRUCTION
from robot_learning.core.protocols import Policy
from robot_learning.core.spec import RobotSpec
from robot_learning.datasets.store import DemoStore
from robot_learning.runtime.history import goal_batch

FORMS = "STORE:EPISODE@FRAME, store:EPISODE@FRAME with goal_store=STORE, FILE.npz, FILE.json, FILE.png or text:..."
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_FRAME = re.compile(r"(?:store:)?(?:(?P<path>.+):)?(?P<episode>-?\d+)@(?P<frame>end|-?\d+)")


def read_goal(
    text: str | None, *, spec: RobotSpec, keys: Iterable[str] = (), store: str | Path | None = None
) -> dict[str, Any]:
    """Return the goal that ``text`` names as observation keys with one frame each; empty for none.

    Args:
        text: One of the forms in the module's docstring, or None.
        spec: The robot's (or policy's) spec; shapes and dtypes are checked against it.
        keys: What the policy reads as its goal; tells which key an image file is meant for.
        store: The store that ``store:EPISODE@FRAME`` means.

    Raises:
        ConfigError: A form, file, episode or frame that does not exist.
        SpecMismatch: Another shape than the spec's.
        UnknownName: A key that the robot does not observe.
    """
    if not text:
        return {}
    if text.startswith("text:"):
        return {INSTRUCTION: text.removeprefix("text:").strip()}
    matched = _FRAME.fullmatch(text)
    if matched:
        goal = _from_store(matched["path"] or store, int(matched["episode"]), matched["frame"], text)
    else:
        goal = _from_file(Path(text), spec, keys)
    return _checked(goal, spec, text)


def check_goal(policy: Policy, goal: Mapping[str, Any]) -> None:
    """Raise :class:`SpecMismatch` where a policy would not do what it is told: it reads no such goal."""
    if goal and not policy.goal_keys:
        raise SpecMismatch(f"goal: expected none, the policy was trained without goals; got {sorted(goal)}")
    if INSTRUCTION in goal and len(goal) == 1 and INSTRUCTION not in policy.goal_keys:
        wanted = " or ".join(str(list(keys)) for keys in policy.goal_choices)
        raise SpecMismatch(f"instruction: the policy was trained without language; expected a goal with {wanted}")
    goal_batch(policy, goal)


def _from_store(path: str | Path | None, episode: int, frame: str, text: str) -> dict[str, Any]:
    if path is None:
        raise ConfigError(f"goal {text!r}: expected a store; set goal_store=PATH or write PATH:{episode}@{frame}")
    with DemoStore.open(path) as opened:
        if not -len(opened) <= episode < len(opened):
            raise ConfigError(f"goal {text!r}: expected an episode from 0 to {len(opened) - 1}, got {episode}")
        recorded = opened[episode % len(opened)]
    row = recorded.rows - 1 if frame == "end" else int(frame)
    if not -recorded.rows <= row < recorded.rows:
        raise ConfigError(f"goal {text!r}: expected a frame from 0 to {recorded.rows - 1} or `end`, got {frame}")
    goal: dict[str, Any] = {key: np.array(values[row]) for key, values in recorded.observation.items()}
    if recorded.instruction:
        goal[INSTRUCTION] = recorded.instruction
    return goal


def _from_file(path: Path, spec: RobotSpec, keys: Iterable[str]) -> dict[str, Any]:
    readers = {".npz": _from_npz, ".json": _from_json}
    if path.suffix not in (*readers, *IMAGE_SUFFIXES):
        raise ConfigError(f"goal {str(path)!r}: expected {FORMS}")
    if not path.is_file():
        raise ConfigError(f"goal {path}: expected a file, got none there")
    if path.suffix in readers:
        return readers[path.suffix](path)
    return _from_image(path, spec, keys)


def _from_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files if key != "time" and not key.startswith("time/")}
    except (ValueError, OSError) as error:
        raise ConfigError(f"goal {path}: expected plain arrays, got {error}") from error


def _from_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"goal {path}: expected JSON, got {error}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"goal {path}: expected observation keys with their values, got {type(content).__name__}")
    return {str(key): value if key == INSTRUCTION else np.asarray(value) for key, value in content.items()}


def _from_image(path: Path, spec: RobotSpec, keys: Iterable[str]) -> dict[str, Any]:
    images = [key for key in keys if key in spec.image_keys and not spec.observation[key].is_depth]
    if len(images) != 1:
        raise ConfigError(
            f"goal {path}: expected a policy with one goal image, got {images or 'none'}; name the keys in a .npz file instead"
        )
    read: NDArray[Any] | None = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if read is None:
        raise ConfigError(f"goal {path}: expected an image, got something else")
    rows, columns, _ = spec.observation[images[0]].shape
    resized = cv2.resize(read, (columns, rows), interpolation=cv2.INTER_AREA)
    return {images[0]: np.ascontiguousarray(resized[:, :, ::-1])}


def _checked(goal: Mapping[str, Any], spec: RobotSpec, text: str) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for key, value in goal.items():
        if key == INSTRUCTION:
            checked[key] = str(value)
        elif key not in spec.observation:
            raise UnknownName(f"observation key of goal {text!r}", key, spec.observation)
        else:
            checked[key] = spec.observation[key].validate(_cast(value, spec.observation[key].dtype), f"goal {key!r}")
    return checked


def _cast(value: Any, dtype: str) -> NDArray[Any]:
    """Return whole numbers of a JSON file as the floats they stand for."""
    array = np.asarray(value)
    return array.astype(dtype) if array.dtype.kind == "i" and np.dtype(dtype).kind in "fu" else array
