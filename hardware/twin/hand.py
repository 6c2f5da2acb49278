"""A hand that moves a virtual arm as a person would: it pulls at the joints, softly, so motors that hold win."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import UnknownName

STIFFNESS, DAMPING, STRENGTH = 12.0, 0.8, 1.3
"""Of the hand: [Nm/rad], [Nms/rad], and its greatest torque on a joint [Nm]."""
SPEED = 2.5
"""How fast the hand moves a joint [rad/s]."""

REST = {"shoulder_lift": -1.65, "elbow_flex": 1.6, "wrist_flex": 1.0}
"""The arm folded on itself [rad]; joints left out are at zero."""
CLEAR = {
    "shoulder_lift": {"elbow_flex": -1.5},
    "elbow_flex": {"shoulder_lift": -1.4},
    "wrist_flex": {"shoulder_lift": -0.8},
}
"""Where the other joints are while one is moved from stop to stop, so that the bench is not in the way [rad]."""
GIVE_UP_S = 1.5
"""How long the hand pulls towards a pose that it does not reach [s]."""


class Hand:
    """Moves joints through poses, or leaves them alone.

    Args:
        joints: Names of the joints.
        limits: Their ranges ``[n, 2]`` [rad].
    """

    ACTIONS = ("middle", "sweep", "rest", "wave", "off")

    def __init__(self, joints: Sequence[str], limits: NDArray[np.float64]) -> None:
        """Begin with the arm left alone."""
        self._joints, self._limits = tuple(joints), limits
        self._poses: list[NDArray[np.float64]] = []
        self._wished: NDArray[np.float64] | None = None
        self._time = self._waited_s = 0.0
        self._waving = self._resting = False

    @property
    def busy(self) -> bool:
        """Return whether poses are left to go to."""
        return bool(self._poses)

    def do(self, action: str) -> None:
        """Begin to do something: hold the arm in the ``middle``, ``sweep`` each joint from stop to stop, or lay it to ``rest``.

        ``wave`` moves it slowly for ever; ``off`` lets go of it, as does ``rest`` once it lies there.
        """
        if action not in self.ACTIONS:
            raise UnknownName("action of the hand", action, self.ACTIONS)
        middle = self._limits.mean(axis=1)
        self._waving, self._resting = action == "wave", action == "rest"
        if action == "off":
            self._wished, self._poses = None, []
        elif action == "sweep":
            self._poses = [middle, *self._sweeps(middle), middle]
        elif action != "wave":
            self._poses = [middle if action == "middle" else self._pose(REST)]

    def pull(self, seconds: float, position: NDArray[np.float64], velocity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Let time pass and return the torque on each joint [Nm]."""
        self._time += seconds
        if self._waving:
            self._poses = [self._waved()]
        if self._poses:
            self._wished = position.copy() if self._wished is None else self._wished
            ahead = self._poses[0] - self._wished
            self._wished = self._wished + np.clip(ahead, -SPEED * seconds, SPEED * seconds)
            self._waited_s = self._waited_s + seconds if np.abs(ahead).max() < 1e-3 else 0.0
            there = self._waited_s > 0 and np.abs(self._poses[0] - position).max() < 0.1
            if len(self._poses) > 1 and (there or self._waited_s > GIVE_UP_S):
                self._poses.pop(0)
            elif self._resting and there:
                self._wished, self._poses, self._resting = None, [], False
        if self._wished is None:
            return np.zeros(len(self._joints))
        pulled: NDArray[np.float64] = STIFFNESS * (self._wished - position) - DAMPING * velocity
        return np.clip(pulled, -STRENGTH, STRENGTH)

    def _pose(self, joints: Mapping[str, float]) -> NDArray[np.float64]:
        return np.array([joints.get(name, 0.0) for name in self._joints])

    def _sweeps(self, middle: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        poses = []
        for index, name in enumerate(self._joints):
            clear = middle.copy()
            for other, angle in CLEAR.get(name, {}).items():
                clear[self._joints.index(other)] = angle
            for end, beyond in enumerate((-0.06, 0.06)):
                pose = clear.copy()
                pose[index] = self._limits[index, end] + beyond  # against the stop
                poses += [clear, pose]
        return poses

    def _waved(self) -> NDArray[np.float64]:
        """Return a pose of a slow motion that uses every joint and stays above the bench."""
        phase = self._time * np.array([0.7, 0.5, 0.6, 0.9, 0.8, 1.1])[: len(self._joints)]
        centre = self._pose({"shoulder_lift": -0.6, "gripper": 0.7})
        width = np.array([0.8, 0.3, 0.35, 0.5, 1.0, 0.6])[: len(self._joints)]
        pose: NDArray[np.float64] = np.clip(centre + width * np.sin(phase), self._limits[:, 0], self._limits[:, 1])
        return pose
