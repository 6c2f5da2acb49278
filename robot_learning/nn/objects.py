"""Attention over like objects: which of them matters now, and where is it?

A goal says what to do by what differs between now and then, and mostly one object differs. A plain network must learn for every
object anew to look at it when its part of the goal changes. Here one small network, shared by all objects, sees each object's
state, goal and their difference, and attention decides whose features go on: the answer does not depend on the objects' order
(a set encoder in the manner of Zaheer et al., "Deep Sets", NeurIPS 2017, pooled by attention as in Lee et al., "Set
Transformer", ICML 2019).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ObjectPool(nn.Module):
    """Replace the objects' columns of state and goal vectors by attention-pooled features.

    Args:
        state_columns: Columns of the state vector that belong to each object, ``k`` lists of equal length.
        goal_columns: Columns of the goal vector that belong to each object, ``k`` lists of equal length, maybe empty.
        paired: Pairs (place in an object's state columns, place in its goal columns) that mean the same.
        state_size: Size of the state vector.
        goal_size: Size of the goal vector.
        width: Features per object and of the pooled vector.
        heads: Attention heads; divide ``width``.
    """

    _state_columns: Tensor
    _goal_columns: Tensor
    _paired: Tensor
    _rest: Tensor
    _goal_rest: Tensor

    def __init__(
        self,
        state_columns: list[list[int]],
        goal_columns: list[list[int]],
        paired: list[tuple[int, int]],
        *,
        state_size: int,
        goal_size: int,
        width: int = 256,
        heads: int = 4,
    ) -> None:
        """Make the shared network and remember whose column is whose."""
        super().__init__()
        self.heads = heads
        owned, owned_goal = set(sum(state_columns, [])), set(sum(goal_columns, []))  # noqa: RUF017 - a handful
        columns = {
            "_state_columns": state_columns,
            "_goal_columns": goal_columns,
            "_paired": [[state for state, _ in paired], [goal for _, goal in paired]],
            "_rest": [i for i in range(state_size) if i not in owned],
            "_goal_rest": [i for i in range(goal_size) if i not in owned_goal],
        }
        for name, values in columns.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.long), persistent=False)
        self.state_size, self.goal_size = len(self._rest) + width, len(self._goal_rest)
        own = self._state_columns.shape[1] + self._goal_columns.shape[1] + len(paired)
        self.embed = nn.Linear(own, width)
        self.embed_rest = nn.Linear(len(self._rest) + len(self._goal_rest), width, bias=False)
        self.deepen = nn.Linear(width, width)
        self.score = nn.Linear(width, heads)
        self.value = nn.Linear(width, width)

    def forward(
        self, states: Float[Tensor, "b t s"], goal: Float[Tensor, "b g"]
    ) -> tuple[Float[Tensor, "b t p"], Float[Tensor, "b q"]]:
        """Return state vectors with the pooled features in place of the objects, and the goal without them."""
        steps = states.shape[1]
        rest, goal_rest = states[..., self._rest], goal[..., self._goal_rest]
        of_state = states[..., self._state_columns]
        of_goal = goal[..., self._goal_columns].unsqueeze(1).expand(-1, steps, -1, -1)
        difference = of_goal[..., self._paired[1]] - of_state[..., self._paired[0]]
        around = self.embed_rest(torch.cat([rest, goal_rest.unsqueeze(1).expand(-1, steps, -1)], dim=-1)).unsqueeze(2)
        hidden = F.gelu(self.embed(torch.cat([of_state, of_goal, difference], dim=-1)) + around)
        hidden = hidden + F.gelu(self.deepen(hidden))
        weights = self.score(hidden).softmax(dim=2)
        values = self.value(hidden).unflatten(-1, (self.heads, -1))
        pooled = (weights.unsqueeze(-1) * values).sum(dim=2).flatten(-2)
        return torch.cat([rest, pooled.to(rest)], dim=-1), goal_rest
