"""A jointed arm in MuJoCo as virtual servos drive it: with gravity, friction, backlash, delay and things to grasp."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import UnknownName
from robot_learning.hardware.twin.body import Drive, Motion
from robot_learning.hardware.twin.hand import Hand

MODELS = ("so101",)
"""Arms that there is a model of."""


class ArmBody:
    """An arm of MuJoCo joints, one motor each, on a bench with a cube.

    Args:
        model: One of :data:`MODELS`.
        backlash: Play between motor and joint [rad].
        delay_s: From a goal's reaching the servo to the motor's pulling at it [s].

    Attributes:
        model: The compiled model.
        data: Its state.
        push: Torque from outside on joints by name [Nm].
        hand: A hand that moves the arm when told to.
    """

    def __init__(self, model: str = "so101", *, backlash: float = 0.008, delay_s: float = 0.004) -> None:
        """Compile the model, the arm limp at zero."""
        if model not in MODELS:
            raise UnknownName("arm", model, MODELS)
        text = resources.files("robot_learning.hardware.twin").joinpath(f"assets/{model}.xml").read_text(encoding="utf-8")
        self.model: Any = mujoco.MjModel.from_xml_string(text)
        self.data: Any = mujoco.MjData(self.model)
        self.joints: tuple[str, ...] = tuple(self.model.actuator(index).name for index in range(self.model.nu))
        ids = [self.model.joint(name).id for name in self.joints]
        self.range: NDArray[np.float64] = self.model.jnt_range[ids].copy()
        self.push: dict[str, float] = {}
        self.hand = Hand(self.joints, self.range)
        self._qpos, self._qvel = self.model.jnt_qposadr[ids], self.model.jnt_dofadr[ids]
        self._gain = self.model.actuator_gainprm[:, 0].copy()
        self._stall = self.model.actuator_forcerange[:, 1].copy()
        self._slack = 0.5 * backlash
        self._queue: deque[Sequence[Drive]] = deque(maxlen=1 + round(delay_s / self.model.opt.timestep))
        self._goal: NDArray[np.float64] = self.data.qpos[self._qpos].copy()
        self._speed: NDArray[np.float64] = np.zeros(len(ids))
        self._left_s = 0.0
        mujoco.mj_forward(self.model, self.data)

    def place(self, positions: Mapping[str, float]) -> None:
        """Put joints where they shall be [rad], at rest."""
        for name, position in positions.items():
            index = self.joints.index(name)
            self.data.qpos[self._qpos[index]] = self._goal[index] = position
        self.data.qvel[:] = 0.0
        self._speed[:] = 0.0
        mujoco.mj_forward(self.model, self.data)

    def advance(self, seconds: float, drives: Sequence[Drive]) -> Motion:
        """Let time pass, as whole steps of the simulation; what is left over is made up the next time."""
        step = self.model.opt.timestep
        self._left_s += seconds
        while self._left_s >= step - 1e-9:
            self._left_s -= step
            self._queue.append(drives)
            self._pull(self._queue[0], step)
            outside = self.hand.pull(step, self.data.qpos[self._qpos], self.data.qvel[self._qvel])
            for name, torque in self.push.items():
                outside[self.joints.index(name)] += torque
            self.data.qfrc_applied[self._qvel] = outside
            mujoco.mj_step(self.model, self.data)
        return self.motion()

    def motion(self) -> Motion:
        """Return what the joints do now."""
        return Motion(
            position=self.data.qpos[self._qpos].copy(),
            velocity=self.data.qvel[self._qvel].copy(),
            effort=self.data.actuator_force / self._stall,
        )

    def _pull(self, drives: Sequence[Drive], step: float) -> None:
        """Move each motor's own goal along its profile, and pull at the joint once the play is used up."""
        for index, drive in enumerate(drives):
            gain = self._gain[index] if drive.on else 0.0
            self.model.actuator_gainprm[index, 0] = gain
            self.model.actuator_biasprm[index, 1] = -gain
            self.model.actuator_forcerange[index] = np.array([-1.0, 1.0]) * self._stall[index] * drive.torque
            position = self.data.qpos[self._qpos[index]]
            if not drive.on:
                self._goal[index], self._speed[index] = position, 0.0
                continue
            self._approach(index, drive, step)
            ahead = self._goal[index] - position
            self.data.ctrl[index] = position + np.sign(ahead) * max(abs(ahead) - self._slack, 0.0)

    def _approach(self, index: int, drive: Drive, step: float) -> None:
        """Move the goal that a motor really follows: no faster than its velocity, braking in time."""
        ahead = drive.goal - self._goal[index]
        fastest = min(drive.velocity, abs(ahead) / step)
        if math.isfinite(drive.acceleration):
            fastest = min(fastest, math.sqrt(2 * drive.acceleration * abs(ahead)))
        most = drive.acceleration * step
        change = math.copysign(fastest, ahead) - self._speed[index]
        self._speed[index] += min(max(change, -most), most)
        self._goal[index] += self._speed[index] * step
