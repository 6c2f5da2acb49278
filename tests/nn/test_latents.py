"""Latents against torch.distributions, and where their gradients go."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, Normal, kl_divergence

from robot_learning.nn.latents import CategoricalLatent, GaussianLatent
from robot_learning.nn.noise import uniform


def test_the_gaussian_divergence_is_that_of_torch():
    latent, (q, p) = GaussianLatent(5), torch.randn(2, 4, 10)
    normal = lambda x: Normal(x[:, :5], F.softplus(x[:, 5:]) + 1e-4)  # noqa: E731
    torch.testing.assert_close(latent.divergence(q, p), kl_divergence(normal(q), normal(p)).sum(-1))
    torch.testing.assert_close(latent.divergence(q, q), torch.zeros(4), atol=1e-6, rtol=0)


def test_the_categorical_divergence_is_that_of_torch():
    latent, (q, p) = CategoricalLatent(3, 4), torch.randn(2, 6, 12)
    wanted = kl_divergence(Categorical(logits=q.view(6, 3, 4)), Categorical(logits=p.view(6, 3, 4))).sum(-1)
    torch.testing.assert_close(latent.divergence(q, p), wanted)


def test_gaussian_draws_have_their_moments():
    latent = GaussianLatent(2)
    parameters = torch.tensor([1.0, -2.0, 0.5, 1.5]).expand(100_000, -1)
    drawn = latent.draw(parameters, torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0)))
    std = F.softplus(torch.tensor([0.5, 1.5])) + 1e-4
    torch.testing.assert_close(drawn.mean(0), torch.tensor([1.0, -2.0]), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.std(0), std, atol=0.03, rtol=0)


def test_categorical_draws_follow_their_probabilities_and_are_one_hot():
    latent = CategoricalLatent(2, 3)
    logits = torch.tensor([0.0, 1.0, 2.0, 1.0, -1.0, 0.0])
    drawn = latent.draw(logits.expand(60_000, -1), torch.randn(60_000, 6, generator=torch.Generator().manual_seed(0)))
    one_hot = drawn.view(-1, 2, 3)
    assert torch.all((one_hot.round() - one_hot).abs() < 1e-5)
    torch.testing.assert_close(one_hot.mean(0), logits.view(2, 3).softmax(-1), atol=0.01, rtol=0)


@pytest.mark.parametrize("latent", [GaussianLatent(4), CategoricalLatent(2, 3)])
def test_gradients_flow_through_a_draw(latent):
    parameters = torch.randn(3, latent.parameters_size, requires_grad=True)
    weights = torch.randn(3, latent.size)
    (latent.draw(parameters, torch.randn(3, latent.noise_size)) * weights).sum().backward()
    assert parameters.grad.abs().sum() > 0


@pytest.mark.parametrize("latent", [GaussianLatent(4), CategoricalLatent(2, 3)])
def test_balancing_changes_gradients_and_not_the_value(latent):
    q, p = (torch.randn(3, latent.parameters_size, requires_grad=True) for _ in range(2))
    plain = latent.divergence(q, p).sum()
    of_q, of_p = torch.autograd.grad(plain, (q, p))
    balanced = latent.balanced(q, p, 0.8).sum()
    torch.testing.assert_close(balanced, plain)
    split_q, split_p = torch.autograd.grad(balanced, (q, p))
    torch.testing.assert_close(split_q, 0.2 * of_q)
    torch.testing.assert_close(split_p, 0.8 * of_p)


def test_uniform_is_the_normal_distribution_function():
    values = torch.tensor([-2.0, 0.0, 0.5, 3.0])
    torch.testing.assert_close(uniform(values), torch.distributions.Normal(0.0, 1.0).cdf(values))
