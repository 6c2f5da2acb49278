"""From windows and goals in raw units to the vectors that networks see; shared by all policies."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from robot_learning.core.arguments import check_arguments
from robot_learning.core.errors import ConfigError, SpecMismatch, UnknownName
from robot_learning.core.language import INSTRUCTION, goal_spec
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.cameras import Cameras
from robot_learning.nn.normalizer import Standardize
from robot_learning.nn.objects import ObjectPool
from robot_learning.nn.parts import build_part

_REACH = 10.0
"""Standardised inputs are clamped to this many standard deviations: far outside the data nothing was learned anyway."""
LANGUAGE = {"_target_": "robot_learning.nn.language.InstructionEncoder"}
"""Reads instructions unless a policy's ``language`` names another encoder."""


class WindowEncoder(nn.Module):
    """Standardise and join low-dimensional keys; encode images.

    A goal goes through the normaliser and the image encoder of the observation of the same name; an instruction has an encoder
    of its own.

    Args:
        spec: The robot.
        statistics: Statistics of every observation key.
        observation_keys: Keys of the observation to use, in order.
        goal_keys: Keys of the goal to use, in order; empty for no goal.
        vision: Settings of :class:`robot_learning.nn.cameras.Cameras`; None: a small encoder for each camera.
        interchangeable: Keys that hold several like objects one after the other, with their number, e.g.
            ``{"block_position": 3}``. They are pooled by attention, so that like things are treated alike whatever their order.
        language: ``_target_`` and settings of the encoder of instructions, see :mod:`robot_learning.nn.language`; None is
            :data:`LANGUAGE`.
        goal_space: Size of goals that a policy makes of :meth:`aim`'s vectors before :meth:`relate`; None for none of its own.
        pools: Make the pool of :meth:`relate`; False for policies that pool :meth:`object_columns` in networks of their own.

    Attributes:
        sizes: Columns that each key takes in the joined vectors.
    """

    def __init__(
        self,
        spec: RobotSpec,
        statistics: Mapping[str, Stats],
        observation_keys: Sequence[str],
        goal_keys: Sequence[str],
        vision: Mapping[str, Any] | None = None,
        interchangeable: Mapping[str, int] | None = None,
        *,
        language: Mapping[str, Any] | None = None,
        goal_space: int | None = None,
        pools: bool = True,
    ) -> None:
        """Make normalisers and encoders for the keys used."""
        super().__init__()
        self.observation_keys, self.goal_keys = tuple(observation_keys), tuple(goal_keys)
        used = tuple(dict.fromkeys(self.observation_keys + self.goal_keys))
        self._specs = {key: goal_spec(spec, key) for key in used}
        self._objects = dict(interchangeable or {})
        for key, count in self._objects.items():
            if key not in used:
                raise UnknownName("interchangeable key", key, used)
            if self._specs[key].shape[0] % count:
                raise ConfigError(
                    f"interchangeable {key!r}: expected a multiple of {count} elements, got {self._specs[key].shape[0]}"
                )
        if len(set(self._objects.values())) > 1:
            raise ConfigError(f"interchangeable: expected one number of objects for all keys, got {self._objects}")
        check_arguments(Cameras, ("specs", "observation_keys", "goal_keys", *(vision or {})), what="vision")
        self.images = Cameras(self._specs, self.observation_keys, self.goal_keys, **(vision or {}))
        self.language = build_part(language or LANGUAGE) if INSTRUCTION in self.goal_keys else None
        low = [key for key in used if key not in (*self.images.sizes, INSTRUCTION)]
        self.scales = nn.ModuleDict({key: Standardize(fitting(statistics, key, self._specs[key])) for key in low})
        self.sizes = {key: int(np.prod(self._specs[key].shape)) for key in low} | self.images.sizes
        if self.language is not None:
            self.sizes[INSTRUCTION] = self.language.size
        self.observation_size = sum(self.sizes[key] for key in self.observation_keys)
        self.goal_size = sum(self.sizes[key] for key in self.goal_keys) if goal_space is None else goal_space
        paired_keys = self.goal_keys if goal_space is None else ()
        self.pool = self._object_pool(paired_keys) if self._objects and pools else None

    @property
    def related_sizes(self) -> dict[str, int]:
        """Return the sizes of what :meth:`relate` returns: ``state_size`` and ``goal_size``."""
        if self.pool is None:
            return {"state_size": self.observation_size, "goal_size": self.goal_size}
        return {"state_size": self.pool.state_size, "goal_size": self.pool.goal_size}

    def relate(self, states: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Return states ``[b, t, s]`` and goal ``[b, g]`` as networks take them: like objects pooled, if there are any."""
        return (states, goal) if self.pool is None else self.pool(states, goal)

    def observe(self, observation: Mapping[str, Tensor], generator: torch.Generator | None = None) -> Float[Tensor, "b t s"]:
        """Return one vector per observed step; a generator switches image augmentation on."""
        return torch.cat([self._encode(key, observation, generator) for key in self.observation_keys], dim=-1)

    def see(
        self, observation: Mapping[str, Tensor], goal: Mapping[str, Tensor] | None, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "b t s"], Float[Tensor, "b g"]]:
        """Return one vector per observed step and one per goal, which is empty for a policy without goals.

        Raises:
            SpecMismatch: There are goal keys and no goal.
        """
        states = self.observe(observation, generator)
        if not self.goal_keys:
            return states, states.new_zeros(len(states), 0)
        if not goal:
            wanted = list(self.goal_keys)
            raise SpecMismatch(f"goal: expected {wanted}, got none; in training set data.goal to future or final")
        return states, self.aim(goal, generator)

    def aim(
        self, goal: Mapping[str, Tensor], generator: torch.Generator | None = None, keys: Sequence[str] | None = None
    ) -> Float[Tensor, "b g"]:
        """Return one vector per goal, of all goal keys or some."""
        once = {key: goal[key].unsqueeze(1) for key in keys or self.goal_keys}
        return torch.cat([self._encode(key, once, generator) for key in once], dim=-1).squeeze(1)

    def object_columns(self, keys: Sequence[str]) -> list[list[int]]:
        """Return which columns of the joined vector of ``keys`` belong to each like object; empty where there are none."""
        if not any(key in self._objects for key in keys):
            return []
        return _columns_of_objects(keys, self.sizes, self._objects, next(iter(self._objects.values())))[0]

    def _object_pool(self, goal_keys: Sequence[str]) -> ObjectPool:
        count = next(iter(self._objects.values()))
        columns, places = {}, {}
        for name, keys in (("state", self.observation_keys), ("goal", goal_keys)):
            columns[name], places[name] = _columns_of_objects(keys, self.sizes, self._objects, count)
        shared = [key for key in places["state"] if key in places["goal"]]
        paired = [pair for key in shared for pair in zip(places["state"][key], places["goal"][key], strict=True)]
        return ObjectPool(columns["state"], columns["goal"], paired, state_size=self.observation_size, goal_size=self.goal_size)

    def _encode(self, key: str, values: Mapping[str, Tensor], generator: torch.Generator | None) -> Float[Tensor, "b t f"]:
        if key in self.images.sizes:
            encoded: Tensor = self.images(key, values, generator)
            return encoded
        if key == INSTRUCTION and self.language is not None:
            read: Tensor = self.language(values[key][:, 0]).unsqueeze(1)
            return read
        scaled: Tensor = self.scales[key](values[key].flatten(2).float())
        return scaled.clamp(-_REACH, _REACH)


def _columns_of_objects(
    keys: Sequence[str], sizes: Mapping[str, int], objects: Mapping[str, int], count: int
) -> tuple[list[list[int]], dict[str, range]]:
    """Return each object's columns in the joined vector, and where each key's part lies among an object's columns."""
    columns: list[list[int]] = [[] for _ in range(count)]
    places: dict[str, range] = {}
    start = 0
    for key in keys:
        if key in objects:
            size = sizes[key] // count
            places[key] = range(len(columns[0]), len(columns[0]) + size)
            for index, own in enumerate(columns):
                own.extend(range(start + index * size, start + (index + 1) * size))
        start += sizes[key]
    return columns, places


def checked_tensors(
    arrays: Mapping[str, NDArray[Any]],
    specs: Mapping[str, ArraySpec],
    steps: int | None,
    batch: int | None,
    device: torch.device,
) -> dict[str, Tensor]:
    """Return the arrays that ``specs`` name as tensors on ``device``, shapes and kinds checked.

    Args:
        arrays: Batch first; with ``steps``, time second.
        specs: What one step of each key looks like.
        steps: Number of time steps wanted; None for goals, which have no time axis.
        batch: Batch size wanted; None for that of the first key.
        device: Where to put the tensors.

    Raises:
        SpecMismatch: A key is missing, or has another shape or kind; all of them are named.
    """
    wrong: list[str] = []
    for key, spec in specs.items():
        axes = spec.shape if steps is None else (steps, *spec.shape)
        wrong += mismatches(arrays, key, axes, batch, image=spec.dtype if spec.is_image else None)
        if batch is None and key in arrays:
            batch = next(iter(np.shape(arrays[key])), None)
    if wrong:
        raise SpecMismatch(f"{'goal' if steps is None else 'window'}: " + "; ".join(wrong))
    return {key: torch.as_tensor(np.asarray(arrays[key]), device=device) for key in specs}


def mismatches(
    arrays: Mapping[str, NDArray[Any]], key: str, axes: Sequence[int], batch: int | None, *, image: str | None = None
) -> list[str]:
    """Return what is wrong with ``arrays[key]``, in at most one line.

    Args:
        arrays: Where the key should be.
        key: Its name.
        axes: Sizes wanted of all axes but the first.
        batch: Size wanted of the first; None for any.
        image: Whole numbers of this dtype are wanted, as cameras give them, not numbers of any kind.
    """
    if key not in arrays:
        return [f"{key!r}: missing; available: {', '.join(arrays) or 'none'}"]
    array = np.asarray(arrays[key])
    if array.shape[1:] != tuple(axes) or array.ndim == 0 or batch not in (None, len(array)):
        wanted = ", ".join(map(str, ("b" if batch is None else batch, *axes)))
        return [f"{key!r}: expected shape ({wanted}), got {array.shape}"]
    if image and array.dtype != image:
        wanted = "uint8 pixels from 0 to 255" if image == "uint8" else f"{image} millimetres"
        return [f"{key!r}: expected {wanted}, got {array.dtype}"]
    return [] if array.dtype.kind in "biuf" else [f"{key!r}: expected numbers, got {array.dtype}"]


def fitting(statistics: Mapping[str, Stats], key: str, spec: ArraySpec) -> Stats:
    """Return the statistics of ``key``; raises :class:`SpecMismatch` when there are none or they have another size."""
    size = int(np.prod(spec.shape))
    if key not in statistics or statistics[key].mean.size != size:
        got = f"those of {statistics[key].mean.size}" if key in statistics else f"none; available: {', '.join(statistics)}"
        raise SpecMismatch(f"statistics of {key!r}: expected those of {size} elements, got {got}")
    return statistics[key]
