"""Diffusion Policy keeps the Policy contract; its loss, masks and samplers are what the papers say."""

import math

import numpy as np
import pytest
import torch

from robot_learning.core.errors import ConfigError
from robot_learning.policies.diffusion_policy.transformer import NoiseTransformer, waves
from robot_learning.policies.diffusion_policy.unet import NoiseUNet
from tests.contracts.policy import PolicyContract

FOLDER = "robot_learning.policies.diffusion_policy"
TINY = {"width": 32, "layers": 2, "heads": 2, "attention_dropout": 0.0}


class TestDiffusionPolicy(PolicyContract):
    config = {  # noqa: RUF012 - read only
        "_target_": f"{FOLDER}.diffusion_policy.DiffusionPolicy",
        "network": {"_target_": f"{FOLDER}.transformer.NoiseTransformer", **TINY},
        "sampler": "ddim",
        "steps": 10,
    }
    sees_padding = True
    overfit_steps = 500
    overfit_to = 0.5  # late diffusion steps leave almost no trace of the action, early ones almost none of the noise

    def test_the_loss_by_hand(self, policy):
        """abar_k = cos^2((k + 1)/K + 0.008)/1.008 pi/2) / cos^2(0.008/1.008 pi/2), Nichol and Dhariwal (ICML 2021), Eq. 17."""
        batch = self.batch(4)
        value, _ = policy.loss(batch, torch.Generator().manual_seed(3))
        generator = torch.Generator().manual_seed(3)
        step = torch.randint(100, (4,), generator=generator)
        clean, mask = policy.actions(batch["action"].float()), batch["action_mask"]
        eps = torch.randn(clean.shape, generator=generator)
        f = lambda t: torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2  # noqa: E731
        kept = (f((step.double() + 1) / 100) / f(torch.zeros(1).double())).float().view(-1, 1, 1)
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * eps
        states = policy.encoder.observe(batch["observation"])
        context = policy.network.context(states, policy.encoder.aim(batch["goal"]))
        wanted = ((policy.network(context, noisy, step) - eps) ** 2)[mask].mean()
        assert value.item() == pytest.approx(wanted.item(), rel=1e-3)

    @pytest.mark.parametrize(("sampler", "steps"), [("ddpm", None), ("ddim", 50)])
    def test_with_the_best_network_samples_have_the_datas_distribution(self, sampler, steps):
        """For data N(m, s^2) the noise in x is known: (x - sqrt(abar) m) sqrt(1 - abar) / (abar s^2 + 1 - abar)."""
        mean, spread = 0.2, 0.15
        policy = self.make(sampler=sampler, steps=steps)
        wanted = spread_of_samples(policy.schedule.alphas_cumprod.tolist(), 100 // (steps or 100), spread, sampler)

        def best(context, x, step):
            kept = policy.schedule.alphas_cumprod[step].view(-1, 1, 1)
            return (x - kept.sqrt() * mean) * (1 - kept).sqrt() / (kept * spread**2 + 1 - kept)

        policy.network.forward = best
        chunks = self.act(policy, self.window(4000), self.goal(4000))
        drawn = policy.actions(torch.as_tensor(chunks)).numpy()
        assert drawn.mean() == pytest.approx(mean, abs=0.01)
        assert drawn.std() == pytest.approx(wanted, abs=0.005)

    def test_ddpm_repeats_itself_with_the_seed_and_only_then(self):
        policy = self.make(sampler="ddpm", steps=None)
        window, goal = self.window(2), self.goal(2)
        one, same, other = (self.act(policy, window, goal, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert not np.allclose(one, other)

    def test_it_takes_as_many_steps_as_it_is_told(self, policy):
        calls = []
        policy.network.register_forward_hook(lambda *_: calls.append(1))
        self.act(policy, self.window(1), self.goal(1))
        assert len(calls) == 10

    @pytest.mark.parametrize("wrong", [{"sampler": "heun"}, {"steps": 0}, {"steps": 101}])
    def test_what_no_schedule_can_do_is_refused(self, wrong):
        with pytest.raises(ConfigError, match="steps from 1 to train_steps 100"):
            self.make(**wrong)


class TestDiffusionPolicyWithTheUNet(PolicyContract):
    config = {  # noqa: RUF012 - read only
        "_target_": f"{FOLDER}.diffusion_policy.DiffusionPolicy",
        "network": {"_target_": f"{FOLDER}.unet.NoiseUNet", "channels": (32, 64), "step_size": 32},
        "horizon": 3,
        "sampler": "ddim",
        "steps": 10,
    }
    sees_padding = True
    overfit_steps = 500
    overfit_to = 0.5


@pytest.mark.parametrize(
    ("sizes", "channels", "step_size", "parameters"),
    [((2, 15, 50, 18, 7), (88, 176, 352), 128, 8_571_623), ((2, 15, 20, 0, 2), (256, 512, 1024), 256, 65_783_298)],
)
def test_the_unet_is_the_papers(sizes, channels, step_size, parameters):
    """As many parameters as lerobot 0.6.1's DiffusionConditionalUnet1d of the same sizes, counted there."""
    network = NoiseUNet(*sizes, channels=channels, step_size=step_size)
    assert sum(value.numel() for value in network.parameters()) == parameters


@pytest.mark.parametrize("wrong", [{"horizon": 6}, {"kernel": 4}, {"channels": (12, 32)}, {"channels": ()}])
def test_a_unet_that_cannot_halve_or_group_is_refused(wrong):
    with pytest.raises(ConfigError, match="NoiseUNet: expected an odd kernel"):
        NoiseUNet(**{"n_obs": 2, "horizon": 7, "state_size": 5, "goal_size": 3, "action_size": 2, "channels": (16, 32)} | wrong)


def spread_of_samples(kept, stride, spread, sampler):
    """Return the deviation of samples of N(m, s^2), whose every step is linear in x, so that variances follow by hand.

    DDPM: Ho et al. 2020, Eq. 7, which adds noise; DDIM: Song et al. 2021, Eq. 12 with sigma = 0.
    """
    variance = 1.0
    for k in reversed(range(0, 100, stride)):
        now, before = kept[k], kept[k - stride] if k else 1.0
        noise = math.sqrt(1 - now) / (now * spread**2 + 1 - now)
        clean = (1 - math.sqrt(1 - now) * noise) / math.sqrt(now)
        if sampler == "ddim":
            variance *= (math.sqrt(before) * clean + math.sqrt(1 - before) * noise) ** 2
            continue
        beta = 1 - now / before
        slope = (math.sqrt(before) * beta * clean + math.sqrt(1 - beta) * (1 - before)) / (1 - now)
        variance = slope**2 * variance + (1 - before) / (1 - now) * beta
    return math.sqrt(variance)


def test_an_action_sees_neither_later_actions_nor_later_observations():
    """Slot 0 belongs to the first of two observed steps, slot 1 to the newest one, as everything after."""
    torch.manual_seed(0)
    network = NoiseTransformer(n_obs=2, horizon=3, state_size=5, goal_size=3, action_size=2, **TINY).eval()
    states, goal, actions, step = torch.randn(1, 2, 5), torch.randn(1, 3), torch.randn(1, 4, 2), torch.tensor([7])

    def changed(states=states, goal=goal, actions=actions):
        now = network(network.context(states, goal), actions, step)
        base = network(network.context(*given), given_actions, step)
        return (now - base).abs().amax(dim=(0, 2)) > 1e-6

    given, given_actions = (states, goal), actions
    later = states.clone()
    later[:, 1] += 1
    assert changed(states=later).tolist() == [False, True, True, True]
    assert changed(goal=goal + 1).all()
    last = actions.clone()
    last[:, 2] += 1
    assert changed(actions=last).tolist() == [False, False, True, True]


def test_the_diffusion_step_enters_as_waves():
    """Width 4: frequencies 1 and 1/10000."""
    value = waves(torch.tensor([2]), 4)
    torch.testing.assert_close(value, torch.tensor([[math.sin(2), math.sin(2e-4), math.cos(2), math.cos(2e-4)]]))
