"""The play table's physics: one MuJoCo model, its state, its buttons' logic and its cameras."""

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import UnknownName
from robot_learning.sim import panda, playroom

SUBSTEPS = 25
"""Physics steps of 2 ms per control step: 20 Hz."""
RAMP = 5
"""Joint targets are ramped in this many pieces per control step, as a real controller interpolates."""


class World:
    """The simulated room. Everything is in SI units and in the arm's base frame."""

    def __init__(self) -> None:
        """Compile the model; nothing is rendered until asked for."""
        self.model = mujoco.MjModel.from_xml_string(playroom.model_xml())
        self.data = mujoco.MjData(self.model)
        self.arm = slice(0, 7)
        self.fingers = slice(7, 9)
        qpos = {name: int(self.model.joint(name).qposadr[0]) for name in self._joint_names()}
        self._slides = np.array([qpos[name] for name in ("drawer", "door")])
        self._buttons = np.array([qpos[f"button_{name}"] for name in playroom.BUTTON_NAMES])
        self._blocks = np.array([np.arange(7) + qpos[f"block_{name}"] for name in playroom.BLOCK_NAMES])
        self._lamps = [self.model.geom(f"light_{name}").id for name in playroom.BUTTON_NAMES]
        self.lights = np.zeros(3)
        self._armed = np.ones(3, dtype=bool)
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}

    @property
    def cameras(self) -> tuple[str, ...]:
        """Return the names of the cameras."""
        return tuple(self.model.camera(index).name for index in range(self.model.ncam))

    @property
    def has_rendered(self) -> bool:
        """Tell whether an image was ever asked for; until then no rendering context exists."""
        return bool(self._renderers)

    @property
    def slides(self) -> NDArray[np.float64]:
        """Return how far the drawer and the door are open [m]."""
        return np.asarray(self.data.qpos[self._slides])

    @property
    def buttons(self) -> NDArray[np.float64]:
        """Return the depression of each button [m]."""
        return np.asarray(self.data.qpos[self._buttons])

    @property
    def blocks(self) -> NDArray[np.float64]:
        """Return one row ``x y z w x y z`` per block."""
        return np.asarray(self.data.qpos[self._blocks])

    def clear(self, lights: NDArray[np.float64]) -> None:
        """Put time and velocities to zero and switch the lights as given."""
        mujoco.mj_resetData(self.model, self.data)
        self.lights = np.array(lights, dtype=np.float64)
        self._armed[:] = True

    def place(
        self,
        *,
        joints: NDArray[np.float64],
        width: float,
        slides: NDArray[np.float64],
        blocks: NDArray[np.float64],
        buttons: NDArray[np.float64] | None = None,
    ) -> None:
        """Put arm, gripper, furniture and blocks where given, at rest, servos holding."""
        qpos = self.data.qpos
        qpos[self.arm], qpos[self.fingers] = joints, width / 2
        qpos[self._slides], qpos[self._blocks] = slides, blocks
        if buttons is not None:
            qpos[self._buttons] = buttons
            self._armed = buttons < playroom.BUTTON_OFF
        self.data.ctrl[:7], self.data.ctrl[7:] = joints, width / 2
        mujoco.mj_forward(self.model, self.data)

    def settle(self, seconds: float) -> None:
        """Let physics run with the servos holding."""
        mujoco.mj_step(self.model, self.data, nstep=round(seconds / self.model.opt.timestep))

    def step(self, joints: NDArray[np.float64], width: float) -> None:
        """Advance one control period, ramping the servos' targets to ``joints`` [rad] and ``width`` [m]."""
        ctrl = self.data.ctrl
        change = (joints - ctrl[:7]) / RAMP
        squeeze = (width / 2 - ctrl[7]) / RAMP
        for _ in range(RAMP):
            ctrl[:7] += change
            ctrl[7:] += squeeze
            mujoco.mj_step(self.model, self.data, nstep=SUBSTEPS // RAMP)
        self.press()

    def press(self) -> None:
        """Toggle the light of each button that was pressed and had been released before; every step ends with this."""
        depression = self.data.qpos[self._buttons]
        deepest = depression.max()
        if deepest < playroom.BUTTON_OFF:
            self._armed[:] = True
            return
        pressed = self._armed & (depression > playroom.BUTTON_ON)
        self.lights[pressed] = 1.0 - self.lights[pressed]
        self._armed = (self._armed & ~pressed) | (depression < playroom.BUTTON_OFF)

    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """Return an RGB image, uint8 ``[height, width, 3]``, from a named camera."""
        image: NDArray[np.uint8] = self.look(camera, width, height).render()
        return image

    def look(self, camera: str, width: int, height: int) -> mujoco.Renderer:
        """Return a renderer that shows the present scene from a named camera."""
        if camera not in self.cameras:
            raise UnknownName("camera", camera, self.cameras)
        renderer = self._renderers.get((width, height))
        if renderer is None:
            renderer = self._renderers[width, height] = mujoco.Renderer(self.model, height, width)
        for lamp, lit, on, off in zip(self._lamps, self.lights, playroom.LIGHT_ON, playroom.LIGHT_OFF, strict=True):
            self.model.geom_rgba[lamp] = on if lit else off
        renderer.update_scene(self.data, camera)
        return renderer

    def close(self) -> None:
        """Free the renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    @staticmethod
    def _joint_names() -> list[str]:
        buttons = [f"button_{name}" for name in playroom.BUTTON_NAMES]
        blocks = [f"block_{name}" for name in playroom.BLOCK_NAMES]
        return [*panda.JOINT_NAMES, *panda.FINGER_NAMES, "drawer", "door", *buttons, *blocks]


def block_axis_products(quaternions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return xx yy zz xy xz yz of each block's long axis, flat: an orientation without a sign to jump.

    A block looks the same turned by half a turn, so its long axis has no sign; the products of the axis' components are
    the same for both signs and change smoothly, which quaternions and angles do not.
    """
    products: list[float] = []
    for w, x, y, z in quaternions.tolist():  # plain floats: three rows are too few for NumPy to pay off
        a, b, c = 1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)
        products += (a * a, b * b, c * c, a * b, a * c, b * c)
    return np.array(products)


def start_arrays(observation: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return :meth:`World.place` arguments (and ``lights``) that restore an observation of the play table."""
    get = {key: np.asarray(value, dtype=np.float64) for key, value in observation.items() if np.ndim(value) == 1}
    blocks = np.concatenate([get["block_position"].reshape(3, 3), get["block_quaternion"].reshape(3, 4)], axis=1)
    furniture = get["furniture"]
    return {
        "joints": get["joint_position"],
        "slides": furniture[:2],
        "buttons": furniture[2:5],
        "blocks": blocks,
        "lights": (furniture[5:8] > 0.5).astype(np.float64),
    }
