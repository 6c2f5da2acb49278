"""The equations of HILP: distances, expectiles, and prompts from samples; functions of tensors alone."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robot_learning.core.errors import ConfigError

_LEAST = 1e-6
"""Squared distances are at least this, so that the root has a gradient (the authors' value)."""


def distance(one: Float[Tensor, "*n z"], other: Float[Tensor, "*n z"]) -> Float[Tensor, "*n"]:
    """Return ``||one - other||``, at least 1e-3."""
    squared: Tensor = (one - other).square().sum(-1)
    return squared.clamp(min=_LEAST).sqrt()


def toward(start: Float[Tensor, "b z"], end: Float[Tensor, "b z"], reach: float = 0.0) -> Float[Tensor, "b z"]:
    """Return the vectors from ``start`` to ``end``, of unit length where they are ``reach`` or more apart, else shorter."""
    return (end - start) / distance(start, end).clamp(min=reach).unsqueeze(-1)


def expectile_weight(error: Tensor, expectile: float) -> Tensor:
    """Return ``|expectile - 1(error < 0)|``, the weight of a squared error in expectile regression."""
    return torch.where(error < 0, 1.0 - expectile, expectile)


def temporal_difference(
    values: Sequence[Float[Tensor, " b"]],
    following: Sequence[Float[Tensor, " b"]],
    now: Sequence[Float[Tensor, " b"]],
    same: Bool[Tensor, " b"],
    *,
    discount: float,
    expectile: float,
) -> Float[Tensor, " b"]:
    """Return the loss of V(s, g) per sample, summed over the ensemble (Park et al., Eq. 4, as their code computes it).

    Args:
        values: V_i(s, g), with gradient.
        following: V_i(s', g) of the target networks.
        now: V_i(s, g) of the target networks; their mean tells on which side of the expectile a sample lies.
        same: The goal is the state itself: reward 0 and nothing follows, instead of -1 at every step.
        discount: gamma.
        expectile: tau.
    """
    reward, follows = same.float() - 1.0, discount * (~same).float()
    least = torch.stack(list(following)).amin(0)
    weight = expectile_weight(reward + follows * least - torch.stack(list(now)).mean(0), expectile)
    errors = [reward + follows * target - value for value, target in zip(values, following, strict=True)]
    return weight * torch.stack(errors).square().sum(0)


def solve_reward(change: Float[Tensor, "n z"], reward: Float[Tensor, " n"], ridge: float = 0.0) -> Float[Tensor, " z"]:
    """Return the unit vector along ``argmin_z mean (reward - <change, z>)^2 + ridge v |z|^2`` (Park et al., Sec. 5.2).

    Args:
        change: ``phi(s') - phi(s)`` of sampled transitions.
        reward: Their rewards.
        ridge: Weight of the penalty, as a share of the mean square v of a column of ``change``; 0 is the paper. Directions in
            which phi hardly ever changes explain a reward by huge factors, so that without it they may be nearly all of z.

    Raises:
        ConfigError: No linear reward fits: all rewards are zero, or nothing changed where they are not.
    """
    rows, wanted = change.double().cpu(), reward.double().cpu().unsqueeze(1)
    if ridge > 0.0:  # the penalty as rows more, one per column
        count = rows.shape[1]
        penalty = (ridge * rows.square().mean() * len(rows)).sqrt() * torch.eye(count, dtype=rows.dtype)
        rows, wanted = torch.cat([rows, penalty]), torch.cat([wanted, wanted.new_zeros(count, 1)])
    found = torch.linalg.lstsq(rows, wanted, driver="gelsd").solution.squeeze(1)
    length = found.norm()
    if not length > 1e-12:
        raise ConfigError(
            f"reward prompt: expected samples whose reward a latent explains, got {int((reward != 0).sum())} of "
            f"{len(reward)} with a reward; give more samples, or data in which the task happens"
        )
    unit: Tensor = found / length
    return unit.to(change)


def midpoint(
    start: Float[Tensor, "b z"], end: Float[Tensor, "b z"], known: Float[Tensor, "n z"], *, nearest: int, halvings: int
) -> Float[Tensor, "b z"]:
    """Return a sub-goal between start and end that was seen (Park et al., Sec. 5.3).

    The mean of the ``nearest`` known embeddings with the least ``max(||phi - start||, ||phi - end||)`` is the middle; it takes
    the place of the end, ``halvings`` times.
    """
    for _ in range(halvings):
        farthest = torch.maximum(torch.cdist(start, known), torch.cdist(end, known))
        chosen = farthest.topk(min(nearest, len(known)), dim=1, largest=False).indices
        end = known[chosen].mean(dim=1)
    return end
