"""What a robot observes and accepts: shapes, dtypes, units and limits, known before it is connected.

Shape letters used in every docstring of the project:

    b batch   t observed steps   h chunk steps   a action dims   s state dims   g goal dims
    z latent  n rows or samples  y x c image rows, columns, channels

Units are SI: [m], [rad], [s], [rad/s]; quaternions are w x y z; images are uint8 y x c in RGB order. Depth images are
what depth cameras deliver: uint16 y x 1, whole millimetres along the optical axis, 0 where nothing was measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robot_learning.core.errors import ConfigError, SpecMismatch, UnknownName

TIME_KEY = "time"
"""Observation key of the row clock: monotonic seconds, float64, present in every observation."""


@dataclass(frozen=True, eq=False)
class ArraySpec:
    """Shape, dtype, unit, element names and bounds of one array.

    Attributes:
        shape: Shape of one sample, without batch or time axes.
        dtype: NumPy dtype name, e.g. ``float32``; ``uint8`` with three axes is an image (y x c), ``uint16`` a depth image.
        unit: Unit of every element, e.g. ``rad``; ``mixed`` when ``names`` says it per element.
        names: One name per element of the last axis, or empty.
        low: Smallest allowed value, broadcast to ``shape``; None is unbounded.
        high: Largest allowed value, broadcast to ``shape``; None is unbounded.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    unit: str = ""
    names: tuple[str, ...] = ()
    low: NDArray[Any] | None = None
    high: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        """Check the fields against each other and freeze the bounds."""
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        object.__setattr__(self, "names", tuple(self.names))
        if self.names and (not self.shape or len(self.names) != self.shape[-1]):
            raise SpecMismatch(f"ArraySpec: expected {self.shape[-1:]} names, got {len(self.names)}: {self.names}")
        for side in ("low", "high"):
            bound = getattr(self, side)
            if bound is not None:
                frozen = np.broadcast_to(np.asarray(bound, dtype=self.dtype), self.shape).copy()
                frozen.setflags(write=False)
                object.__setattr__(self, side, frozen)
        if self.low is not None and self.high is not None and np.any(self.low > self.high):
            raise SpecMismatch(f"ArraySpec: low {self.low} exceeds high {self.high}")

    @property
    def is_image(self) -> bool:
        """Tell whether a sample is an image: uint8 with three axes y x c, or a depth image."""
        return (self.dtype == "uint8" and len(self.shape) == 3) or self.is_depth

    @property
    def is_depth(self) -> bool:
        """Tell whether a sample is a depth image: uint16 y x 1 [mm]."""
        return self.dtype == "uint16" and len(self.shape) == 3 and self.shape[-1] == 1

    def __eq__(self, other: object) -> bool:
        """Compare all fields, bounds by value."""
        return isinstance(other, ArraySpec) and self.to_json() == other.to_json()

    def validate(self, value: ArrayLike, name: str = "array") -> NDArray[Any]:
        """Return ``value`` as an array of this dtype and shape.

        Raises:
            SpecMismatch: Wrong shape, or a dtype that cannot be cast without changing kind.
        """
        array = np.asarray(value)
        if array.shape != self.shape:
            raise SpecMismatch(f"{name}: expected shape {self.shape}, got {array.shape}")
        if not np.can_cast(array.dtype, self.dtype, casting="same_kind"):
            raise SpecMismatch(f"{name}: expected dtype {self.dtype}, got {array.dtype}")
        return array.astype(self.dtype, copy=False)

    def index(self, element: str | int) -> int:
        """Return the index of an element of the last axis, given by name or index."""
        if isinstance(element, str):
            if element not in self.names:
                raise UnknownName("element", element, self.names)
            return self.names.index(element)
        if not 0 <= element < self.shape[-1]:
            raise ConfigError(f"element: expected 0 to {self.shape[-1] - 1}, got {element}")
        return element

    def generate_value(self) -> NDArray[Any]:
        """Return a valid sample: zeros moved into the bounds (for tests and dry runs)."""
        value = np.zeros(self.shape, dtype=self.dtype)
        return np.clip(value, self.low, self.high) if self.low is not None or self.high is not None else value

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description; inverse of :meth:`from_json`."""
        return {
            "shape": list(self.shape),
            "dtype": self.dtype,
            "unit": self.unit,
            "names": list(self.names),
            "low": None if self.low is None else self.low.tolist(),
            "high": None if self.high is None else self.high.tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ArraySpec":
        """Build a spec from :meth:`to_json`'s output."""
        fields = dict(data)
        fields["shape"] = tuple(fields["shape"])
        fields["names"] = tuple(fields.get("names", ()))
        return cls(**fields)


@dataclass(frozen=True)
class RobotSpec:
    """What a robot observes, what it accepts, and how often.

    Attributes:
        observation: One :class:`ArraySpec` per observation key (the clock ``time`` is implied).
        action: Shape, names, units and limits of an action.
        control_hz: Rate of the control loop [1/s].
        name: Which robot this is, for messages and records.
    """

    observation: Mapping[str, ArraySpec]
    action: ArraySpec
    control_hz: float
    name: str = field(default="robot", compare=False)

    @property
    def dt(self) -> float:
        """Return the control period [s]."""
        return 1.0 / self.control_hz

    @property
    def image_keys(self) -> tuple[str, ...]:
        """Return the observation keys that hold images, of colour or of depth."""
        return tuple(key for key, spec in self.observation.items() if spec.is_image)

    def validate_action(self, action: ArrayLike) -> NDArray[Any]:
        """Return ``action`` with this spec's dtype; raises :class:`SpecMismatch` on a wrong shape."""
        return self.action.validate(action, f"{self.name} action")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description; inverse of :meth:`from_json`."""
        return {
            "name": self.name,
            "control_hz": self.control_hz,
            "action": self.action.to_json(),
            "observation": {key: spec.to_json() for key, spec in self.observation.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RobotSpec":
        """Build a spec from :meth:`to_json`'s output."""
        return cls(
            observation={key: ArraySpec.from_json(spec) for key, spec in data["observation"].items()},
            action=ArraySpec.from_json(data["action"]),
            control_hz=float(data["control_hz"]),
            name=data.get("name", "robot"),
        )


def spec_differences(expected: RobotSpec, actual: RobotSpec, *, keys: tuple[str, ...] | None = None) -> list[str]:
    """Return one line per way in which ``actual`` cannot stand in for ``expected``; empty when it can.

    Bounds may differ (they belong to the robot); keys, shapes, dtypes, units, names and the rate may not.
    Observation keys that only ``actual`` has are allowed. ``keys`` narrows the observations compared.
    """
    lines = []
    for key in expected.observation if keys is None else keys:
        if key not in actual.observation:
            lines.append(f"observation {key!r}: missing; available: {', '.join(actual.observation) or 'none'}")
        elif key in expected.observation:
            lines += _array_differences(f"observation {key!r}", expected.observation[key], actual.observation[key])
    lines += _array_differences("action", expected.action, actual.action)
    if not np.isclose(expected.control_hz, actual.control_hz):
        lines.append(f"control_hz: expected {expected.control_hz:g}, got {actual.control_hz:g}")
    return lines


def check_compatible(
    expected: RobotSpec,
    actual: RobotSpec,
    *,
    keys: tuple[str, ...] | None = None,
    what: str = "spec",
) -> None:
    """Raise :class:`SpecMismatch` listing every difference found by :func:`spec_differences`."""
    lines = spec_differences(expected, actual, keys=keys)
    if lines:
        raise SpecMismatch(f"{what}: {len(lines)} difference(s)\n  " + "\n  ".join(lines))


def _array_differences(name: str, expected: ArraySpec, actual: ArraySpec) -> list[str]:
    return [
        f"{name}: expected {attribute} {getattr(expected, attribute)!r}, got {getattr(actual, attribute)!r}"
        for attribute in ("shape", "dtype", "unit", "names")
        if getattr(expected, attribute) != getattr(actual, attribute)
    ]
