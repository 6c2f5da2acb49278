"""What a virtual servo drives: joints with a motion, pulled by controllers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass
class Drive:
    """What a servo's electronics do to its joint.

    Attributes:
        on: Whether the motor holds the joint at all.
        goal: Where it pulls the joint to [rad].
        torque: Largest torque, as a fraction of the motor's.
        velocity: Fastest approach [rad/s].
        acceleration: Of the approach [rad/s^2].
    """

    on: bool = False
    goal: float = 0.0
    torque: float = 1.0
    velocity: float = np.inf
    acceleration: float = np.inf


@dataclass(frozen=True)
class Motion:
    """What the joints do, one number per servo.

    Attributes:
        position: [rad].
        velocity: [rad/s].
        effort: Torque as a fraction of the motor's, signed.
    """

    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    effort: NDArray[np.float64]


class Hand(Protocol):
    """A hand that moves the joints when told to."""

    def do(self, action: str) -> None:
        """Begin to do something; raises :class:`UnknownName`."""
        ...


class Body(Protocol):
    """Joints that servos drive."""

    @property
    def hand(self) -> Hand:
        """Return the hand beside them."""
        ...

    @property
    def joints(self) -> Sequence[str]:
        """Return the names of the joints, in the order of the servos' ids."""
        ...

    def advance(self, seconds: float, drives: Sequence[Drive]) -> Motion:
        """Let time pass, with each joint driven as said, and return what the joints do then."""
        ...
