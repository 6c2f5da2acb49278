"""Networks of HILP: the Hilbert representation phi, and networks of a state and a latent; all of them plain perceptrons."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError
from robot_learning.nn.objects import ObjectPool


def perceptron(inputs: int, outputs: int, *, width: int, layers: int) -> nn.Sequential:
    """Return ``layers`` times linear, GELU, LayerNorm, and a linear read-out: the authors' ``LayerNormMLP``."""
    sizes = [inputs, *[width] * layers]
    hidden = [part for size in sizes[:-1] for part in (nn.Linear(size, width), nn.GELU(), nn.LayerNorm(width))]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], outputs))


class Embedding(nn.Module):
    """phi: scenes to a space in which distances are steps.

    Where the scene holds k like objects, one network embeds each of them and another the rest; the embedding is ``[rest,
    object 1, ..., object k]``, in equal parts. Squared distances then add up over the parts, and what is learned of one object
    holds for all.

    Args:
        inputs: Size of the scene vector.
        objects: Columns of each like object in it; empty for none.
        size: Size of the embedding.
        width: Features inside.
        layers: Hidden layers.
    """

    _objects: Tensor
    _rest: Tensor

    def __init__(self, inputs: int, objects: list[list[int]], *, size: int, width: int, layers: int) -> None:
        """Make the networks."""
        super().__init__()
        owned = {column for columns in objects for column in columns}
        rest = [column for column in range(inputs) if column not in owned]
        parts = len(objects) + bool(rest)
        if size < 1 or size % parts:
            raise ConfigError(f"latent size: expected a multiple of {parts} (the objects and the rest), got {size}")
        self.register_buffer("_objects", torch.tensor(objects, dtype=torch.long), persistent=False)
        self.register_buffer("_rest", torch.tensor(rest, dtype=torch.long), persistent=False)
        part = size // parts
        self.of_rest = perceptron(len(rest), part, width=width, layers=layers) if rest else None
        self.of_object = perceptron(len(objects[0]), part, width=width, layers=layers) if objects else None
        first = part if rest else 0
        self.object_columns = [list(range(first + i * part, first + (i + 1) * part)) for i in range(len(objects))]

    def forward(self, scene: Float[Tensor, "b g"]) -> Float[Tensor, "b z"]:
        """Return the embedding."""
        parts = [] if self.of_rest is None else [self.of_rest(scene[:, self._rest])]
        if self.of_object is not None:
            parts.append(self.of_object(scene[:, self._objects]).flatten(1))
        return torch.cat(parts, dim=1)


class Joined(nn.Module):
    """A state and a latent side by side; like objects are pooled, each with its part of the latent.

    Args:
        state_size: Size of the state vector.
        state_objects: Columns of each like object in the state; empty for none.
        latent_size: Size of the latent.
        latent_objects: Columns of each like object in the latent; empty for none.
        pool: Features of the pooled objects.

    Attributes:
        joined_size: Size of both together.
    """

    def __init__(
        self,
        *,
        state_size: int,
        state_objects: list[list[int]],
        latent_size: int,
        latent_objects: list[list[int]],
        pool: int = 256,
    ) -> None:
        """Make the pool."""
        super().__init__()
        self.pool: ObjectPool | None = None
        if state_objects:
            per_object = latent_objects or [[] for _ in state_objects]
            self.pool = ObjectPool(state_objects, per_object, [], state_size=state_size, goal_size=latent_size, width=pool)
            state_size, latent_size = self.pool.state_size, self.pool.goal_size
        self.joined_size = state_size + latent_size

    def join(self, state: Float[Tensor, "b s"], latent: Float[Tensor, "b z"]) -> Float[Tensor, "b j"]:
        """Return both in one vector."""
        if self.pool is not None:
            pooled, latent = self.pool(state.unsqueeze(1), latent)
            state = pooled.squeeze(1)
        return torch.cat([state, latent], dim=1)


class Conditioned(Joined):
    """A perceptron over a state, a latent and possibly an action.

    Args:
        extra: Size of what else it sees, such as an action.
        outputs: Size of the output.
        width: Features inside.
        layers: Hidden layers.
        given: Of :class:`Joined`.
    """

    def __init__(self, *, extra: int = 0, outputs: int, width: int, layers: int, **given: Any) -> None:
        """Make the layers."""
        super().__init__(**given)
        self.layers = perceptron(self.joined_size + extra, outputs, width=width, layers=layers)

    def forward(
        self, state: Float[Tensor, "b s"], latent: Float[Tensor, "b z"], *extra: Float[Tensor, "b a"]
    ) -> Float[Tensor, "b o"]:
        """Return the outputs."""
        out: Tensor = self.layers(torch.cat([self.join(state, latent), *extra], dim=1))
        return out
