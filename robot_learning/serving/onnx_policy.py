"""A policy from an ONNX file, run by onnxruntime: for machines without torch.

What it draws at random comes from NumPy: the same seed gives the same actions again, but not those that PyTorch would give.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import CheckpointError, MissingExtra, RobotLearningError, SpecMismatch
from robot_learning.core.spec import RobotSpec

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(bool)": np.bool_,
}
_PIXELS = (np.uint8, np.uint16)
"""Colours and millimetres: numbers of another kind would have another meaning."""


class OnnxPolicy:
    """Satisfies :class:`robot_learning.core.protocols.Policy`, one observation at a time.

    Args:
        path: A file that ``robot-learning export`` wrote, or the folder that it lies in as ``policy.onnx``.
        threads: Threads of onnxruntime.

    Attributes:
        spec: The robot, narrowed to the keys used.
        observation_keys: Observation keys it reads.
        goal_keys: Goal keys it reads.
        goal_choices: One way to give a goal: all of them.
        n_obs: Observed steps t.
        horizon: Steps h in a chunk.

    Raises:
        CheckpointError: Missing, damaged, of a newer version, or not an export of ours.
        MissingExtra: onnxruntime is not installed.
    """

    def __init__(self, path: Path | str, *, threads: int = 1) -> None:
        """Read the file."""
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtra("onnxruntime", "onnx") from error
        path = Path(path)
        path = path / "policy.onnx" if path.is_dir() else path
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; make it with robot-learning export checkpoint={path.parent}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = 3  # errors, which are raised, too
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has one class per status code and no common base but Exception
            raise CheckpointError(f"{path}: not a readable ONNX file ({error})") from error
        header = _header(path, self._session.get_modelmeta().custom_metadata_map)
        self.spec = RobotSpec.from_json(header["spec"])
        self.observation_keys, self.goal_keys = tuple(header["observation_keys"]), tuple(header["goal_keys"])
        self.goal_choices = (self.goal_keys,) if self.goal_keys else ()
        self.n_obs, self.horizon = int(header["n_obs"]), int(header["horizon"])
        self._noise_shape = tuple(header["noise_shape"])
        self.provenance: dict[str, Any] = header["provenance"]
        self._inputs = {value.name: (_TYPES[value.type], tuple(value.shape)) for value in self._session.get_inputs()}
        self._outputs = [value.name for value in self._session.get_outputs()]
        self._memory_shapes = {f"memory/{name}": tuple(shape) for name, shape in header["memory"].items()}
        self.reset()

    def reset(self, *, seed: int | None = None) -> None:
        """Start an episode."""
        self._rng = np.random.default_rng(0 if seed is None else seed)
        self._memory: dict[str, NDArray[Any]] = {
            name: np.zeros(shape, self._inputs[name][0]) for name, shape in self._memory_shapes.items() if name in self._inputs
        }

    def act(
        self,
        window: Mapping[str, NDArray[Any]],
        goal: Mapping[str, NDArray[Any]] | None = None,
        *,
        noise: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return a chunk ``[1, h, a]`` in raw units; see :class:`robot_learning.core.protocols.Policy`."""
        if noise is None:
            noise = self._rng.standard_normal((1, *self._noise_shape), np.float32)
        given = {"noise": noise, **self._memory}
        given |= {f"seen/{key}": value for key, value in window.items()}
        given |= {f"goal/{key}": value for key, value in (goal or {}).items()}
        feed = {name: self._fitting(name, given) for name in self._inputs}
        try:
            answers = dict(zip(self._outputs, self._session.run(self._outputs, feed), strict=True))
        except Exception as error:  # as above
            raise RobotLearningError(f"onnxruntime: {error}") from error
        self._memory = {name: answers[f"next/{name.partition('/')[2]}"] for name in self._memory}
        chunk: NDArray[np.float32] = answers["chunk"]
        return chunk

    def _fitting(self, name: str, given: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Return an input as the graph takes it; raises :class:`SpecMismatch` where that would guess."""
        dtype, shape = self._inputs[name]
        if name not in given:
            raise SpecMismatch(f"{name}: missing; given: {', '.join(sorted(given))}")
        value = np.asarray(given[name])
        if value.shape != shape or (dtype != value.dtype and (dtype in _PIXELS or value.dtype in _PIXELS)):
            raise SpecMismatch(f"{name}: expected {np.dtype(dtype).name} {shape}, got {value.dtype} {value.shape}")
        return np.ascontiguousarray(value, dtype)


def _header(path: Path, properties: Mapping[str, str]) -> dict[str, Any]:
    if "robot_learning" not in properties:
        raise CheckpointError(f"{path}: not an export of robot-learning; make one with robot-learning export")
    header: dict[str, Any] = json.loads(properties["robot_learning"])
    if header.get("format") != 1:
        raise CheckpointError(f"{path}: format {header.get('format')} is newer than this version's 1; update robot-learning")
    return header
