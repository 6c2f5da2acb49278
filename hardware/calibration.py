"""Calibration of an arm: which servo is which, where zero is, how far each joint goes, and a pose to tell it by.

A calibration is a JSON file that a person can read. Each calibration of an arm is kept beside those before it:
``FOLDER/ARM/2026-11-21T18-30-00.json``; the newest is used. Source of what goes wrong without: homing offsets that no longer
match the file, two arms swapped, a servo replaced, a joint that wrapped around a turn.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from robot_learning.core.errors import ConfigError

FORMAT = 1
_STAMP = "%Y-%m-%dT%H-%M-%S"
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class JointCalibration:
    """One servo and its joint.

    Attributes:
        id: The servo's id.
        model: Its model number.
        firmware: Its firmware, e.g. ``3.10``.
        homing_offset: What its register of this name holds.
        low: Lowest position [steps].
        high: Highest position [steps].
        zero: Position [steps] at which the joint's angle is zero.
        sign: 1 where steps grow with the angle, -1 where they fall.
        rest: Position [steps] in the resting pose, in which the arm may be let go.
    """

    id: int
    model: int
    firmware: str
    homing_offset: int
    low: int
    high: int
    zero: int
    sign: int
    rest: int

    def __post_init__(self) -> None:
        """Check that the numbers make sense together."""
        if not (self.low < self.high and self.low <= self.rest <= self.high and self.sign in (1, -1)):
            raise ConfigError(f"joint: expected low < high, rest between them and a sign of 1 or -1, got {self}")


@dataclass(frozen=True)
class Calibration:
    """What is known about one arm.

    Attributes:
        arm: Kind and role, e.g. ``so101_follower``.
        name: Which one of them, chosen by its owner.
        joints: By name, in the order of the arm's joints.
        made: When, ISO 8601 in UTC.
        operator: Who made it.
        adapter: Lasting name of the serial adapter, where there is one.
    """

    arm: str
    name: str
    joints: Mapping[str, JointCalibration]
    made: str
    operator: str = ""
    adapter: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description; inverse of :meth:`from_json`."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Calibration":
        """Build a calibration from :meth:`to_json`'s output. Raises :class:`ConfigError` for anything else."""
        try:
            if data["format"] != FORMAT:
                raise ConfigError(f"calibration: expected format {FORMAT}, got {data['format']}; calibrate again")
            joints = {name: JointCalibration(**joint) for name, joint in data["joints"].items()}
            rest = {key: data[key] for key in ("arm", "name", "made", "operator", "adapter")}
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"calibration: expected the file that `robot-learning calibrate` writes, got {error!r}"
            ) from error
        return cls(joints=joints, **rest)

    def save(self, folder: Path) -> Path:
        """Write it beside the arm's earlier ones and return where."""
        place = _place(folder, self.name)
        place.mkdir(parents=True, exist_ok=True)
        stamp = datetime.fromisoformat(self.made).strftime(_STAMP)
        path = place / f"{stamp}.json"
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        draft.replace(path)
        return path


def now() -> str:
    """Return the present time for ``Calibration.made``."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def history(folder: Path, name: str) -> list[Path]:
    """Return the files of an arm's calibrations, the newest first."""
    return sorted(_place(folder, name).glob("*.json"), reverse=True)


def load(path: Path, name: str) -> Calibration:
    """Return a calibration from its file, or the newest of the arm ``name`` below a folder.

    Raises:
        ConfigError: There is none, or the file is no calibration.
    """
    file = path
    if path.suffix != ".json":
        found = history(path, name)
        if not found:
            others = ", ".join(sorted(entry.name for entry in path.glob("*") if entry.is_dir())) or "none"
            raise ConfigError(
                f"{path / name}: expected a calibration, got none; calibrated arms there: {others}; "
                f"run `robot-learning calibrate ... --name {name}`"
            )
        file = found[0]
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: expected a calibration, got {error}") from error
    return Calibration.from_json(data)


def _place(folder: Path, name: str) -> Path:
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise ConfigError(f"name of an arm: expected letters, digits, '-', '_' and '.', got {name!r}")
    return folder / name
