"""Denoiser, averages, normalisers and transformer against numbers worked out by hand or by SciPy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robot_learning.core.types import Stats
from robot_learning.nn.denoiser import denoise, denoising_loss, karras_scalings, masked_mean, truncated_loglogistic
from robot_learning.nn.ema import EMA
from robot_learning.nn.normalizer import MinMax, Standardize
from robot_learning.nn.transformer import CausalTransformer


def stats(low, high, mean=None, std=None):
    low, high = np.asarray(low, float), np.asarray(high, float)
    mean = (low + high) / 2 if mean is None else np.asarray(mean, float)
    std = (high - low) / 4 if std is None else np.asarray(std, float)
    return Stats(10, mean, std, low, high, low, high)


def test_karras_scalings_by_hand():
    scale = karras_scalings(torch.tensor([0.5, 1.2], dtype=torch.float64), 0.5)
    torch.testing.assert_close(scale.skip, torch.tensor([0.5, 0.25 / 1.69], dtype=torch.float64))
    torch.testing.assert_close(scale.out, torch.tensor([0.25 / math.sqrt(0.5), 0.6 / 1.3], dtype=torch.float64))
    torch.testing.assert_close(scale.in_, torch.tensor([1 / math.sqrt(0.5), 1 / 1.3], dtype=torch.float64))
    torch.testing.assert_close(scale.noise, torch.tensor([math.log(0.5) / 4, math.log(1.2) / 4], dtype=torch.float64))


def test_a_perfect_network_has_no_loss_and_denoises():
    """For data that is always c, F = (c - c_skip x) / c_out is perfect: the loss is 0 and D is c."""
    constant, sigma = 0.3, torch.tensor([0.1, 2.0], dtype=torch.float64)
    scale = karras_scalings(sigma, 0.5)

    def network(scaled, _):
        noisy = scaled / scale.in_.view(-1, 1, 1)
        return (constant - scale.skip.view(-1, 1, 1) * noisy) / scale.out.view(-1, 1, 1)

    clean = torch.full((2, 3, 1), constant, dtype=torch.float64)
    noise = torch.randn(2, 3, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(denoising_loss(network, clean, sigma, noise, 0.5)) == pytest.approx(0.0, abs=1e-20)
    torch.testing.assert_close(denoise(network, clean + sigma.view(-1, 1, 1) * noise, sigma, 0.5), clean)


def test_the_loss_is_the_weighted_denoising_error():
    """mean (F - target)^2 equals (D - a)^2 / c_out^2, the loss of Karras et al. with weight 1 / c_out^2."""
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(4, 2, 3, dtype=torch.float64, generator=generator) for _ in range(2))
    sigma = torch.tensor([0.05, 0.4, 1.0, 3.0], dtype=torch.float64)
    network = lambda x, level: x.sin() + level.view(-1, 1, 1)  # noqa: E731
    value = denoising_loss(network, clean, sigma, noise, 0.5)
    estimate = denoise(network, clean + sigma.view(-1, 1, 1) * noise, sigma, 0.5)
    weight = 1 / karras_scalings(sigma, 0.5).out ** 2
    torch.testing.assert_close(value, (weight.view(-1, 1, 1) * (estimate - clean) ** 2).mean())


def test_padding_does_not_count():
    error = torch.tensor([[[1.0, 3.0], [100.0, 100.0]], [[2.0, 2.0], [4.0, 0.0]]])
    mask = torch.tensor([[True, False], [True, True]])
    assert float(masked_mean(error, mask)) == pytest.approx(12.0 / 6)


def test_noise_levels_follow_the_truncated_log_logistic():
    low, high = 0.05, 1.0
    drawn = truncated_loglogistic(
        20000, loc=math.log(0.5), scale=0.5, low=low, high=high, generator=torch.Generator().manual_seed(0)
    ).numpy()
    assert drawn.min() >= low
    assert drawn.max() <= high
    whole = scipy.stats.fisk(c=2.0, scale=0.5)
    first, last = whole.cdf(low), whole.cdf(high)
    test = scipy.stats.kstest(drawn, lambda x: (whole.cdf(x) - first) / (last - first))
    assert test.pvalue > 0.01


def test_the_average_by_hand():
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(1.0)
    ema = EMA(module, decay=0.5)
    for value, wanted in ((2.0, 1.9), (3.0, 1.9 * 2 / 11 + 3.0 * 9 / 11)):  # decay 1/10, then 2/11
        with torch.no_grad():
            module.weight.fill_(value)
        ema.update(module)
        assert float(ema.weights["weight"]) == pytest.approx(wanted)
    with ema.applied(module):
        assert module.weight.item() == pytest.approx(wanted)
    assert module.weight.item() == 3.0


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_normalisers_come_back(values):
    x = torch.tensor([values])
    for kind in (Standardize, MinMax):
        norm = kind(stats([-1.0, 0.0, 5.0], [1.0, 10.0, 6.0]))
        torch.testing.assert_close(norm.inverse(norm(x)), x, atol=1e-4, rtol=1e-5)


def test_min_max_by_hand():
    norm = MinMax(stats([-1.0, 0.0], [1.0, 10.0]))
    torch.testing.assert_close(norm(torch.tensor([[0.5, 2.5]])), torch.tensor([[0.5, -0.5]]))


def test_what_never_changed_comes_back_as_it_was():
    norm = MinMax(stats([-1.0, 0.3], [1.0, 0.3]))
    torch.testing.assert_close(norm.inverse(torch.tensor([[0.5, 0.9]])), torch.tensor([[0.5, 0.3]]))


def test_the_transformer_sees_no_later_token():
    torch.manual_seed(0)
    trunk = CausalTransformer(16, layers=2, heads=2).eval()
    tokens = torch.randn(1, 6, 16)
    changed = tokens.clone()
    changed[:, 4] = torch.randn(16)
    before, after = trunk(tokens), trunk(changed)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])
