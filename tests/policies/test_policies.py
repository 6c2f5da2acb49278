"""BESO and GCBC keep the Policy contract; BESO's guidance, freezing and loss are what the paper says."""

import numpy as np
import pytest
import torch

from robot_learning.core.errors import ConfigError, SpecMismatch
from robot_learning.nn.denoiser import denoise
from robot_learning.policies.policy import build_policy
from tests.contracts.policy import SPEC, STATISTICS, PolicyContract

NETWORKS = "robot_learning.policies.beso.networks"
MLP_SCORE = "robot_learning.nn.score.MLPScore"
TINY_TRANSFORMER = {"width": 32, "layers": 2, "heads": 2, "attention_dropout": 0.0, "dropout": 0.0}


class BESOContract(PolicyContract):
    overfit_to = 0.6  # noise levels near the data's spread leave a floor

    def test_chunks_stay_near_the_data(self, policy):
        chunk = np.abs(self.act(policy, self.window(16), self.goal(16)))
        assert np.all(chunk <= 1.1 * np.array([2.0, 1.0]) + 1e-5)

    def test_three_denoising_steps_are_three_evaluations(self, policy):
        calls = []
        policy.network.register_forward_hook(lambda *_: calls.append(1))
        self.act(policy, self.window(1), self.goal(1))
        assert len(calls) == 3

    def test_guidance_mixes_the_two_denoisers(self):
        """lambda = 1 is the conditional policy, 0 the unconditional one, 2 goes as far again beyond."""
        window, goal = self.window(2), self.goal(2)
        made = {scale: self.make(goal_dropout=0.1, guidance=scale, steps=1) for scale in (0.0, 1.0, 2.0)}
        noise = self.noise(made[1.0], 2)
        free, plain, guided = (made[scale].act(window, goal, **noise) for scale in (0.0, 1.0, 2.0))
        np.testing.assert_allclose(free, made[1.0].act(window, None, **noise), atol=1e-5)
        inside = np.abs(2 * plain - free) < 1.09 * np.array([2.0, 1.0])
        assert inside.any()
        np.testing.assert_allclose(guided[inside], (2 * plain - free)[inside], atol=1e-4)

    def test_guidance_without_goal_dropout_is_refused(self):
        with pytest.raises(ConfigError, match="goal_dropout"):
            self.make(guidance=2.0)

    def test_the_loss_by_hand(self):
        """The loss is the weighted error of D at the noise that the generator draws."""
        policy, batch = self.make(), self.batch(4)
        generator = torch.Generator().manual_seed(3)
        value, _ = policy.loss(batch, generator)
        generator.manual_seed(3)
        first = policy.n_obs - 1 - policy.n_past
        clean, mask = policy.actions(batch["action"][:, first:].float()), batch["action_mask"][:, first:]
        sigma = policy._draw_sigma(4, generator).to(clean)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        states = policy.encoder.observe(batch["observation"])
        context = policy.network.context(states, policy.encoder.aim(batch["goal"]))
        noisy = clean + sigma.view(-1, 1, 1) * noise
        estimate = denoise(lambda x, c: policy.network(context, x, c), noisy, sigma, 0.5)
        weight = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
        wanted = (weight.view(-1, 1, 1) * (estimate - clean) ** 2)[mask].mean()
        assert value.item() == pytest.approx(wanted.item(), rel=1e-4)


class TestBESOTransformer(BESOContract):
    config = {  # noqa: RUF012 - read only
        "_target_": "robot_learning.policies.beso.beso.BESO",
        "network": {"_target_": f"{NETWORKS}.TransformerScore", **TINY_TRANSFORMER},
    }

    def test_earlier_actions_do_not_see_later_ones(self, policy):
        states, goal = torch.randn(1, 2, 5), torch.randn(1, 3)
        context = policy.network.context(states, goal)
        actions = torch.randn(1, 4, 2)
        later = actions.clone()
        later[:, 3] += torch.randn(2)
        level = torch.zeros(1)
        before, after = policy.network(context, actions, level), policy.network(context, later, level)
        torch.testing.assert_close(before[:, :3], after[:, :3])
        assert not torch.allclose(before[:, 3], after[:, 3])

    def test_past_actions_can_be_frozen(self):
        """Frozen, every evaluation sees the applied actions; else they are denoised along."""
        seen = {}
        for frozen in (True, False):
            policy = self.make(freeze_past=frozen)
            inputs = []
            policy.network.register_forward_hook(lambda _m, args, _o, inputs=inputs: inputs.append(args[1]))
            self.act(policy, self.window(1), self.goal(1))
            scales = [(0.5**2 + sigma**2) ** 0.5 for sigma in policy._sigmas[:-1]]
            seen[frozen] = [x[0, 0] * scale for x, scale in zip(inputs, scales, strict=True)]
        torch.testing.assert_close(seen[True][0], seen[True][2])
        assert not torch.allclose(seen[False][0], seen[False][2])


class TestBESOPerceptron(BESOContract):
    sees_padding = True
    config = {  # noqa: RUF012
        "_target_": "robot_learning.policies.beso.beso.BESO",
        "network": {"_target_": MLP_SCORE, "width": 64, "blocks": 2},
    }


class TestBESOPerceptronSeesPastActions(BESOContract):
    sees_padding = True
    config = {  # noqa: RUF012
        "_target_": "robot_learning.policies.beso.beso.BESO",
        "network": {"_target_": MLP_SCORE, "width": 64, "blocks": 2, "past_actions": True},
    }

    def test_past_actions_matter(self, policy):
        window, goal, noise = self.window(2), self.goal(2), self.noise(policy, 2)
        other = {**window, "action": window["action"] + 1.0}
        assert not np.allclose(policy.act(window, goal, **noise), policy.act(other, goal, **noise))


class TestBESOFromImages(TestBESOPerceptron):
    observation_keys = ("camera", "velocity")
    goal_keys = ("camera",)
    overfit_steps = 60
    overfit_to = 0.9

    def test_images_that_are_no_bytes_are_refused(self, policy):
        window = self.window(2)
        window["camera"] = (window["camera"] / 255).astype(np.float32)
        with pytest.raises(SpecMismatch, match=r"'camera': expected uint8 pixels from 0 to 255, got float32"):
            policy.act(window, self.goal(2))


class TestGCBCPerceptron(PolicyContract):
    config = {  # noqa: RUF012
        "_target_": "robot_learning.policies.gcbc.GCBC",
        "network": {"_target_": "robot_learning.policies.gcbc.MLPTrunk", "width": 64, "blocks": 2},
    }
    overfit_to = 0.05

    def test_the_loss_by_hand(self, policy):
        batch = self.batch(4)
        chunk = policy.act(
            {**{k: v.numpy() for k, v in batch["observation"].items()}, "action": batch["action"][:, :1].numpy()},
            {k: v.numpy() for k, v in batch["goal"].items()},
        )
        error = ((chunk - batch["action"][:, 1:].numpy()) / np.array([2.0, 1.0])) ** 2
        wanted = error[batch["action_mask"][:, 1:].numpy()].mean()
        value, _ = policy.loss(batch, torch.Generator())
        assert value.item() == pytest.approx(wanted, rel=1e-4)


class TestGCBCTransformer(PolicyContract):
    config = {  # noqa: RUF012
        "_target_": "robot_learning.policies.gcbc.GCBC",
        "network": {"_target_": "robot_learning.policies.gcbc.TransformerTrunk", **TINY_TRANSFORMER},
    }


def test_goal_dropout_lets_a_policy_act_without_a_goal():
    case = TestBESOPerceptron()
    free = case.make(goal_dropout=0.1)
    assert case.act(free, case.window(2), None).shape == (2, 3, 2)
    with pytest.raises(SpecMismatch, match="got none"):
        case.act(case.make(), case.window(2), None)


def test_the_order_of_like_objects_does_not_matter():
    """Objects that change places, in the window and in the goal alike, leave the answer as it was; only there."""
    case = TestGCBCPerceptron()
    policy = case.make(interchangeable={"position": 3})
    window, goal = case.window(4), case.goal(4)
    order = [2, 0, 1]
    both = policy.act({**window, "position": window["position"][..., order]}, {"position": goal["position"][..., order]})
    np.testing.assert_allclose(both, policy.act(window, goal), atol=1e-5)
    one = policy.act({**window, "position": window["position"][..., order]}, goal)
    assert not np.allclose(one, policy.act(window, goal), atol=1e-5)


def test_statistics_of_another_robot_are_named():
    case = TestGCBCPerceptron()
    with pytest.raises(SpecMismatch, match=r"statistics of 'position': expected those of 3 elements, got those of 2"):
        build_policy(case.full_config(), SPEC, {**STATISTICS, "position": STATISTICS["velocity"]})
    with pytest.raises(SpecMismatch, match=r"statistics of 'action': expected those of 2 elements, got none; available: pos"):
        build_policy(case.full_config(), SPEC, {key: value for key, value in STATISTICS.items() if key != "action"})


def test_objects_must_fit():
    with pytest.raises(ConfigError, match="multiple of 2"):
        TestGCBCPerceptron().make(interchangeable={"position": 2})
