"""Mixture of discretised logistics: a likelihood of bounded actions with several modes ("PixelCNN++", Salimans et al., 2017).

An action in [-1, 1] falls into one of K bins of equal width, the first and the last one open to the outside. With h half the
width of a bin, component i gives the bin around a the probability

    P_i(a) = sigmoid((a + h - mu_i) / s_i) - sigmoid((a - h - mu_i) / s_i),   log s_i >= floor

and dimensions are independent given the network's output. The difference is taken in the log domain through

    sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)),

which is exact however far out a bin lies; the authors switch to the density at the bin's centre instead where it vanishes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

LOG_SCALE_FLOOR = -7.0
"""Smallest log-scale as published: about a quarter of a bin of 256; without one a repeated value's likelihood has no bound."""
_EDGE = 1e-5
"""Uniform noise is kept this far away from 0 and 1, where the logistic quantile is infinite."""


@dataclass(frozen=True)
class LogisticMixture:
    """The distribution over actions that a network put out.

    Attributes:
        logits: Unnormalised log-weights of the components, ``[*n, a, k]``.
        means: Their means, ``[*n, a, k]``.
        log_scales: Logarithms of their scales, ``[*n, a, k]``.
        bins: Number K of bins.
    """

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    bins: int = 256

    def log_prob(self, actions: Float[Tensor, "*n a"]) -> Float[Tensor, "*n"]:
        """Return the log-probability [nats] of the bins that actions fall into, summed over dimensions."""
        half = 1.0 / (self.bins - 1)
        centred = actions.unsqueeze(-1) - self.means
        rate = torch.exp(-self.log_scales)
        upper, lower = rate * (centred + half), rate * (centred - half)
        within = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half * rate))
        outside = actions.unsqueeze(-1)
        of_bin = torch.where(
            outside < -1 + half, F.logsigmoid(upper), torch.where(outside > 1 - half, F.logsigmoid(-lower), within)
        )
        return torch.logsumexp(self.logits.log_softmax(dim=-1) + of_bin, dim=-1).sum(dim=-1)

    def sample(self, uniform: Float[Tensor, "*n a d"], temperature: float = 1.0) -> Float[Tensor, "*n a"]:
        """Return actions drawn by the inverse distribution, clipped to [-1, 1].

        Args:
            uniform: Noise in [0, 1): the first k choose the component (Gumbel maximum), the last the value; d = k + 1.
            temperature: 1 draws from the mixture; towards 0 the likeliest component's mean is left.
        """
        noise = uniform.clamp(_EDGE, 1 - _EDGE)
        gumbel = -torch.log(-torch.log(noise[..., :-1]))
        chosen = (self.logits + temperature * gumbel).argmax(dim=-1, keepdim=True)
        mean, log_scale = (each.gather(-1, chosen).squeeze(-1) for each in (self.means, self.log_scales))
        value = mean + temperature * log_scale.exp() * torch.logit(noise[..., -1])
        return value.clamp(-1.0, 1.0)

    def mean(self) -> Float[Tensor, "*n a"]:
        """Return the mean of the mixture before bins and bounds."""
        return (self.logits.softmax(dim=-1) * self.means).sum(dim=-1)


class LogisticMixtureHead(nn.Module):
    """Linear read-outs of a mixture's weights, means and scales.

    Args:
        inputs: Size of the features.
        action_size: Number of action dimensions a.
        components: Components k per dimension; 10 in MCIL and HULC.
        bins: Number of bins.
        log_scale_floor: Smallest log-scale. A mean that is off by more than a bin is pulled with a gradient of up to 1 / s, so
            that a dimension of few exact values (a gripper) can drown all others in the network that they share: -7 allows a
            pull of 1,100, -4 one of 55.
    """

    def __init__(
        self, inputs: int, action_size: int, *, components: int = 10, bins: int = 256, log_scale_floor: float = LOG_SCALE_FLOOR
    ) -> None:
        """Make one layer for all three."""
        super().__init__()
        self.components, self.bins, self.action_size, self.log_scale_floor = components, bins, action_size, log_scale_floor
        self.read_out = nn.Linear(inputs, 3 * components * action_size)
        with torch.no_grad():  # spread the means over the range, so that components have something to divide among them
            means = torch.linspace(-1, 1, components).repeat(action_size)
            self.read_out.bias.view(3, -1)[1] += means
            self.read_out.bias.view(3, -1)[2] -= 1.0

    def forward(self, features: Float[Tensor, "*n f"]) -> LogisticMixture:
        """Return the mixture; computed in fp32, because bins are narrower than what bf16 resolves."""
        with torch.autocast(features.device.type, enabled=False):
            out = self.read_out(features.float()).unflatten(-1, (3, self.action_size, self.components))
        logits, means, log_scales = out.unbind(dim=-3)
        return LogisticMixture(logits, means, log_scales.clamp(min=self.log_scale_floor), self.bins)
