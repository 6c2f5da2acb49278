"""The discretised logistic mixture against its definition in float64, its analytic mean, and its own samples."""

import numpy as np
import pytest
import torch

from robot_learning.nn.logistic_mixture import LogisticMixture, LogisticMixtureHead


def mixture(bins=256, scale=0.1, seed=0, count=1, dims=2, components=3):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, dims, components)
    means = 0.6 * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    return LogisticMixture(logits, means, torch.full(shape, float(np.log(scale)), dtype=torch.float64), bins)


def centres(bins):
    return torch.linspace(-1, 1, bins, dtype=torch.float64)


@pytest.mark.parametrize("bins", [2, 10, 256])
@pytest.mark.parametrize("scale", [0.001, 0.1, 5.0])
def test_the_bins_share_one(bins, scale):
    made = mixture(bins, scale, dims=1)
    log_probabilities = made.log_prob(centres(bins).view(-1, 1))
    assert log_probabilities.exp().sum().item() == pytest.approx(1.0, abs=1e-9)


def test_a_bin_by_hand():
    """One component at 0 with scale 1/2 and 5 bins of width 1/2: sigmoid(0.5) - sigmoid(-0.5) in the middle, tails outside."""
    made = LogisticMixture(
        *(torch.zeros(1, 1, 1, dtype=torch.float64) for _ in range(2)), torch.full((1, 1, 1), np.log(0.5)), 5
    )
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    expected = {
        -1.0: sigmoid(-1.5),
        -0.5: sigmoid(-0.5) - sigmoid(-1.5),
        0.0: sigmoid(0.5) - sigmoid(-0.5),
        1.0: 1 - sigmoid(1.5),
        0.1: sigmoid(0.7) - sigmoid(-0.3),
    }
    for value, probability in expected.items():
        found = made.log_prob(torch.tensor([[value]], dtype=torch.float64)).exp().item()
        assert found == pytest.approx(probability if value != 0.0 else expected[0.0], rel=1e-9), value


def test_the_mean_of_the_bins_is_the_analytic_mean():
    made = mixture(bins=2001, scale=0.02, dims=1)
    weights = made.log_prob(centres(2001).view(-1, 1)).exp()
    wanted = (made.logits.softmax(-1) * made.means).sum().item()
    assert (weights * centres(2001)).sum().item() == pytest.approx(wanted, abs=1e-6)
    assert made.mean().item() == pytest.approx(wanted)


def test_dimensions_are_independent():
    made = mixture(dims=2)
    value = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    alone = [
        LogisticMixture(made.logits[:, [d]], made.means[:, [d]], made.log_scales[:, [d]]).log_prob(value[:, [d]])
        for d in (0, 1)
    ]
    assert made.log_prob(value).item() == pytest.approx(sum(alone).item())


def test_samples_follow_the_bins():
    """200,000 draws against the probability of ten bins; the largest deviation allowed is six standard errors."""
    made, count = mixture(bins=11, scale=0.2, dims=1), 200_000
    many = LogisticMixture(*(each.expand(count, -1, -1) for each in (made.logits, made.means, made.log_scales)), 11)
    uniform = torch.rand(count, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = many.sample(uniform)
    assert drawn.abs().max() <= 1.0
    counts = torch.bincount(torch.round((drawn.flatten() + 1) * 5).long(), minlength=11).double() / count
    expected = made.log_prob(centres(11).view(-1, 1)).exp()
    error = (counts - expected).abs()
    assert torch.all(error < 6 * torch.sqrt(expected * (1 - expected) / count) + 1e-6)


def test_without_temperature_the_likeliest_component_answers():
    made = mixture(count=1, dims=1)
    best = made.means[0, 0, made.logits[0, 0].argmax()]
    assert made.sample(torch.rand(1, 1, 4, dtype=torch.float64), temperature=0.0).item() == pytest.approx(best.item())


@pytest.mark.parametrize("value", [-1.0, -0.3, 1.0])
def test_far_and_narrow_is_finite_with_finite_gradients(value):
    means, log_scales = torch.full((1, 1, 1), 0.9, requires_grad=True), torch.full((1, 1, 1), -7.0, requires_grad=True)
    made = LogisticMixture(torch.zeros(1, 1, 1), means, log_scales)
    found = made.log_prob(torch.tensor([[value]]))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(means.grad).all()
    assert torch.isfinite(log_scales.grad).all()


def test_the_head_gives_finite_mixtures_with_a_floor():
    head = LogisticMixtureHead(4, 2, components=3)
    made = head(1e3 * torch.randn(5, 7, 4))
    assert made.means.shape == (5, 7, 2, 3)
    assert made.log_scales.min() >= -7.0
