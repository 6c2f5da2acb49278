"""A small real robot for the tests of the loop: a point mass on a plane, pushed by velocity commands."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import NotConnected, SafetyStop
from robot_learning.core.spec import TIME_KEY, ArraySpec, RobotSpec
from robot_learning.core.types import Action, Observation

SPEC = RobotSpec(
    observation={
        "position": ArraySpec((2,), "float32", "m", ("x", "y"), -10.0, 10.0),
        "velocity": ArraySpec((2,), "float32", "m/s", ("x", "y")),
    },
    action=ArraySpec((2,), "float32", "m/s", ("x", "y"), -1.0, 1.0),
    control_hz=20.0,
    name="point mass",
)


class PointMass:
    """Integrates the commanded velocity over one control period per ``apply``."""

    def __init__(self) -> None:
        self.spec = SPEC
        self.connected = False
        self.stops = 0
        self._position = np.zeros(2)
        self._velocity = np.zeros(2)
        self._steps = 0

    def connect(self) -> None:
        self.connected = True

    def reset(self, *, seed: int | None = None, start: Mapping[str, NDArray[Any]] | None = None) -> Observation:
        self._check_connected()
        self._position = np.random.default_rng(seed).uniform(-1, 1, 2)
        self._velocity = np.zeros(2)
        self._steps = 0
        if start is not None and "position" in start:
            self._position = np.array(start["position"], dtype=np.float64)
        return self.observe()

    def observe(self) -> Observation:
        self._check_connected()
        return {
            "position": self._position.astype(np.float32),
            "velocity": self._velocity.astype(np.float32),
            TIME_KEY: np.asarray(self._steps * self.spec.dt),
        }

    def apply(self, action: Action) -> Action:
        self._check_connected()
        command = self.spec.validate_action(action)
        if not np.all(np.isfinite(command)):
            raise SafetyStop(f"point mass action: expected finite values, got {command}")
        sent = np.clip(command, self.spec.action.low, self.spec.action.high)
        self._velocity = sent.astype(np.float64)
        self._position = self._position + self._velocity * self.spec.dt
        self._steps += 1
        return sent.copy()

    def stop(self) -> None:
        self.stops += 1
        self._velocity = np.zeros(2)

    def close(self) -> None:
        self.connected = False

    def _check_connected(self) -> None:
        if not self.connected:
            raise NotConnected("point mass: expected connect() first; call connect()")
