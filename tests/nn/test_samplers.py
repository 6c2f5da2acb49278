"""Samplers and schedules against diffusers, and against denoisers known in closed form."""

import math

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LMSDiscreteScheduler,
)

from robot_learning.core.errors import UnknownName
from robot_learning.nn import samplers
from robot_learning.nn.schedules import exponential, karras, linear, noise_levels

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers
MEANS, SPREADS, WEIGHTS = torch.tensor([-1.0, 1.5], dtype=torch.float64), torch.tensor([0.2, 0.3]), (0.4, 0.6)
HIGH, LOW = 10.0, 0.01


def gaussian(mean, spread):
    """D for data N(mean, spread^2): the posterior mean of a Gaussian prior under Gaussian noise."""
    return lambda x, sigma: (spread**2 * x + sigma**2 * mean) / (spread**2 + sigma**2)


def mixture(x, sigma):
    """D for a two-component Gaussian mixture: the components' posterior means, weighted by their responsibilities."""
    variances = SPREADS.double() ** 2 + sigma**2
    logs = [
        math.log(w) - 0.5 * (x - m) ** 2 / v - 0.5 * torch.log(v) for w, m, v in zip(WEIGHTS, MEANS, variances, strict=True)
    ]
    shares = torch.softmax(torch.stack(logs), dim=0)
    means = [gaussian(m, s.double())(x, sigma) for m, s in zip(MEANS, SPREADS, strict=True)]
    return (shares * torch.stack(means)).sum(0)


def run(name, denoise, x, steps, schedule="karras", seed=0):
    sigmas = noise_levels(schedule, steps, LOW, HIGH).tolist()
    return samplers.sampler(name)(denoise, x, sigmas, torch.Generator().manual_seed(seed))


def exact(x, mean, spread):
    """Where the probability-flow ODE of N(mean, spread^2) takes x from HIGH to zero."""
    return mean + (x - mean) * spread / math.sqrt(spread**2 + HIGH**2)


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpmpp_2m", 2), ("dpmpp_2s", 2)])
def test_ode_samplers_converge_to_the_closed_form_at_their_order(name, order):
    x = torch.linspace(-15, 15, 7, dtype=torch.float64)
    errors = []
    for steps in (40, 80):
        sigmas = [*exponential(steps, 0.5, HIGH).tolist()]  # without the jump to zero, whose error is of first order
        end = samplers.sampler(name)(gaussian(0.7, 0.5), x, sigmas, torch.Generator())
        wanted = 0.7 + (x - 0.7) * math.sqrt(0.5**2 + 0.5**2) / math.sqrt(0.5**2 + HIGH**2)
        errors.append((end - wanted).abs().max())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("name", ["ddim", "euler", "heun", "lms", "dpmpp_2m", "dpmpp_2s"])
def test_ode_samplers_end_where_the_ode_ends(name):
    x = torch.linspace(-20, 20, 9, dtype=torch.float64)
    end = run(name, gaussian(0.7, 0.5), x, 400, "exponential")
    torch.testing.assert_close(end, exact(x, 0.7, 0.5), atol=0.02, rtol=0)


@pytest.mark.parametrize("name", list(samplers.SAMPLERS))
def test_every_sampler_recovers_a_mixture(name):
    x = HIGH * torch.randn(4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    samples = run(name, mixture, x, 60)
    right = samples > 0.2
    assert float(right.double().mean()) == pytest.approx(WEIGHTS[1], abs=0.04)
    for chosen, mean, spread in ((~right, MEANS[0], SPREADS[0]), (right, MEANS[1], SPREADS[1])):
        assert float(samples[chosen].mean()) == pytest.approx(float(mean), abs=0.04)
        assert float(samples[chosen].std()) == pytest.approx(float(spread), abs=0.04)


def test_ddim_is_euler_of_the_probability_flow():
    x = torch.linspace(-9, 9, 5, dtype=torch.float64)
    torch.testing.assert_close(run("ddim", mixture, x, 3), run("euler", mixture, x, 3))


def test_churn_adds_the_variance_it_says():
    """One step from s with churn goes through s' = s (1 + gamma): for D = 0 the result is scaled noise of variance s'^2."""
    x = torch.zeros(20000, dtype=torch.float64)
    end = samplers.euler(lambda x, _: 0 * x, x, [1.0, 0.5], torch.Generator().manual_seed(0), churn=0.3)
    assert float(end.std()) == pytest.approx(0.5 / 1.3 * math.sqrt(1.3**2 - 1), rel=0.03)


def test_ancestral_split_keeps_the_variance():
    down, up = samplers.ancestral_split(2.0, 1.0)
    assert down**2 + up**2 == pytest.approx(1.0)
    assert up == pytest.approx(math.sqrt(3) / 2)


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [("euler", EulerDiscreteScheduler), ("heun", HeunDiscreteScheduler), ("lms", LMSDiscreteScheduler)],
)
def test_agreement_with_diffusers(name, scheduler):
    """The same noise levels, the same denoiser (given to diffusers as a sample predictor), the same samples."""
    steps = 8
    theirs = scheduler(prediction_type="epsilon", use_karras_sigmas=True, timestep_spacing="linspace")
    theirs.set_timesteps(steps)
    theirs.is_scale_input_called = True  # we give it the slope itself
    levels = theirs.sigmas.double()
    kept = torch.cat([levels[:1], levels[1:-1:2], levels[-1:]]) if name == "heun" else levels
    x = start = float(kept[0]) * torch.linspace(-2, 2, 5, dtype=torch.float64)
    denoise = gaussian(0.3, 0.4)
    for time in theirs.timesteps:
        index = theirs.step_index if theirs.step_index is not None else 0
        sigma = float(theirs.sigmas[index])
        x = theirs.step((x - denoise(x, sigma)) / sigma, time, x).prev_sample
    ours = samplers.sampler(name)(denoise, start, kept.tolist(), torch.Generator())
    torch.testing.assert_close(ours, x.double(), atol=2e-4, rtol=1e-3)


def test_dpmpp_2m_agrees_with_diffusers_in_sigma_terms():
    """diffusers works with alpha and sigma of a variance-preserving process: x_vp = alpha x, alpha = 1 / sqrt(1 + s^2)."""
    theirs = DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++", solver_order=2, prediction_type="sample", use_karras_sigmas=True, final_sigmas_type="zero"
    )
    theirs.set_timesteps(8)
    levels = theirs.sigmas.double()
    denoise = gaussian(0.3, 0.4)
    start = float(levels[0]) * torch.linspace(-2, 2, 5, dtype=torch.float64)
    x = start / math.sqrt(1 + float(levels[0]) ** 2)
    for index, time in enumerate(theirs.timesteps):
        sigma = float(levels[index])
        clean = denoise(x * math.sqrt(1 + sigma**2), sigma)
        x = theirs.step(clean, time, x).prev_sample
    ours = samplers.dpmpp_2m(denoise, start, levels.tolist(), torch.Generator())
    torch.testing.assert_close(ours, x.double(), atol=2e-4, rtol=1e-3)


def test_dpmpp_2s_agrees_with_diffusers_over_pairs_of_geometric_steps():
    """diffusers takes two of its levels per 2S step; with geometric levels the one between is our mid-point."""
    theirs = DPMSolverSinglestepScheduler(prediction_type="sample", use_exponential_sigmas=True)
    theirs.set_timesteps(8)
    theirs.set_begin_index(0)
    levels = theirs.sigmas.double().tolist()
    denoise = gaussian(0.3, 0.4)
    start = levels[0] * torch.linspace(-2, 2, 5, dtype=torch.float64)
    x = start / math.sqrt(1 + levels[0] ** 2)
    for sigma, time in zip(levels[:6], theirs.timesteps[:6], strict=True):
        x = theirs.step(denoise(x * math.sqrt(1 + sigma**2), sigma), time, x).prev_sample
    ours = samplers.dpmpp_2s(denoise, start, levels[:8:2], torch.Generator())
    torch.testing.assert_close(ours, x.double() * math.sqrt(1 + levels[6] ** 2), atol=2e-4, rtol=1e-3)


def test_euler_ancestral_agrees_with_diffusers_given_the_same_noise():
    theirs = EulerAncestralDiscreteScheduler(prediction_type="epsilon")
    theirs.set_timesteps(8)
    theirs.is_scale_input_called = True  # we give it the slope itself
    levels = theirs.sigmas.double()
    denoise = gaussian(0.3, 0.4)
    x = start = float(levels[0]) * torch.linspace(-2, 2, 5, dtype=torch.float64)
    generator = torch.Generator().manual_seed(6)
    for sigma, time in zip(levels.tolist(), theirs.timesteps, strict=False):
        x = theirs.step((x - denoise(x, sigma)) / sigma, time, x, generator=generator).prev_sample
    ours = samplers.euler_ancestral(denoise, start, levels.tolist(), torch.Generator().manual_seed(6))
    torch.testing.assert_close(ours, x.double(), atol=2e-4, rtol=1e-3)


def test_euler_with_churn_agrees_with_diffusers_given_the_same_noise():
    theirs = EulerDiscreteScheduler(prediction_type="epsilon", use_karras_sigmas=True)
    theirs.set_timesteps(8)
    theirs.is_scale_input_called = True
    levels, churn = theirs.sigmas.double(), 2.0
    denoise = gaussian(0.3, 0.4)
    x = start = float(levels[0]) * torch.linspace(-2, 2, 5, dtype=torch.float64)
    given, again = (torch.Generator().manual_seed(6) for _ in range(2))
    for sigma, time in zip(levels.tolist(), theirs.timesteps, strict=False):
        hat = sigma * (1 + churn / 8)
        noisy = x + math.sqrt(hat**2 - sigma**2) * torch.randn(5, generator=again, dtype=torch.float64)
        slope = (noisy - denoise(noisy, hat)) / hat
        x = theirs.step(slope, time, x, s_churn=churn, generator=given).prev_sample
    ours = samplers.euler(denoise, start, levels.tolist(), torch.Generator().manual_seed(6), churn=churn)
    torch.testing.assert_close(ours, x.double(), atol=2e-4, rtol=1e-3)


def test_karras_levels_agree_with_diffusers():
    theirs = EulerDiscreteScheduler()
    wanted = theirs._convert_to_karras(np.array([8.0, 0.05]), num_inference_steps=6)
    np.testing.assert_allclose(karras(6, 0.05, 8.0, rho=7.0).numpy(), wanted, rtol=1e-6)


def test_levels_by_hand():
    np.testing.assert_allclose(exponential(3, 0.01, 1.0), [1.0, 0.1, 0.01])
    np.testing.assert_allclose(linear(3, 0.0, 1.0), [1.0, 0.5, 0.0])
    np.testing.assert_allclose(karras(3, 1.0, 9.0, rho=2.0), [9.0, 4.0, 1.0])
    assert noise_levels("karras", 3, 0.1, 1.0)[-1] == 0.0


def test_misspelt_names_list_the_nearest():
    with pytest.raises(UnknownName, match="dpmpp_2m"):
        samplers.sampler("dpmpp2m")
    with pytest.raises(UnknownName, match="exponential"):
        noise_levels("exponentail", 3, 0.1, 1.0)
