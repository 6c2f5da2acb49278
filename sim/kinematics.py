"""Forward and inverse kinematics of the arm, on a model of the arm alone (microseconds, independent of the scene)."""

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_learning.sim import panda

DAMPING = 1e-3
"""Damping of the least squares: dq = J^T (J J^T + DAMPING I)^-1 e (Nakamura and Hanafusa 1986)."""
POSTURE_GAIN = 0.05
"""Share of the way back to the home posture taken in the null space per solve."""
_NO_TURN = np.array([1.0, 0.0, 0.0, 0.0])


class ArmKinematics:
    """Tool pose and damped-least-squares inverse kinematics of the Panda."""

    def __init__(self) -> None:
        """Compile the arm-only model."""
        self._model = mujoco.MjModel.from_xml_string(panda.arm_only_xml())
        self._data = mujoco.MjData(self._model)
        self._site = self._model.site("tool").id
        self._jacobian = np.zeros((6, 7))
        self._damping = DAMPING * np.eye(6)
        self._error = np.zeros(6)
        self._gram = np.zeros((6, 6))
        self._weights = np.zeros(6)

    def forward(self, joints: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the tool's position [m] and rotation matrix (3 x 3) in the base frame for joints [rad]."""
        self._data.qpos[:] = joints
        mujoco.mj_kinematics(self._model, self._data)
        return self._data.site_xpos[self._site].copy(), self._data.site_xmat[self._site].reshape(3, 3).copy()

    def solve(
        self,
        joints: NDArray[np.float64],
        position: NDArray[np.float64],
        rotation: NDArray[np.float64],
        *,
        iterations: int = 1,
    ) -> NDArray[np.float64]:
        """Return joints [rad] whose tool pose is nearer the target, starting from ``joints``; limits are kept.

        Each iteration solves ``dq = n + J^T (J J^T + d I)^-1 (e - J n)`` with the pose error ``e`` and the posture step
        ``n`` toward home, which therefore acts in the null space only.
        """
        model, data, error, gram, weights = self._model, self._data, self._error, self._gram, self._weights
        result = joints
        for _ in range(iterations):
            data.qpos[:] = result
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_jacSite(model, data, self._jacobian[:3], self._jacobian[3:], self._site)
            error[:3] = position - data.site_xpos[self._site]
            error[3:] = rotation_vector(rotation @ data.site_xmat[self._site].reshape(3, 3).T)
            posture = POSTURE_GAIN * (panda.HOME - result)
            jacobian = self._jacobian
            mujoco.mju_cholFactor(np.add(jacobian @ jacobian.T, self._damping, out=gram), 0.0)
            mujoco.mju_cholSolve(weights, gram, error - jacobian @ posture)
            result = np.minimum(np.maximum(result + posture + jacobian.T @ weights, panda.JOINT_LOW), panda.JOINT_HIGH)
        return result

    def reach(self, position: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return joints [rad] that put the tool at a pose, solved from home to convergence."""
        return self.solve(panda.HOME.copy(), position, rotation, iterations=60)


def rotation_vector(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation vector [rad] of a rotation matrix, for angles below pi."""
    quaternion, vector = np.empty(4), np.empty(3)
    mujoco.mju_mat2Quat(quaternion, rotation.ravel())
    mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vector


def rotation_matrix(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation matrix of a rotation vector [rad] (the exponential map)."""
    quaternion, matrix = _NO_TURN.copy(), np.empty(9)
    mujoco.mju_quatIntegrate(quaternion, vector, 1.0)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)


def downward(yaw: float) -> NDArray[np.float64]:
    """Return the rotation of a tool that points down, turned by ``yaw`` [rad] about the vertical; 0 closes along y."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, sine, 0.0], [sine, -cosine, 0.0], [0.0, 0.0, -1.0]])
