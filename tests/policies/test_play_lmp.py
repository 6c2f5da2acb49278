"""Play-LMP keeps the Policy contract, and its loss, windows and plans are what the paper says."""

import numpy as np
import pytest
import torch

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.nn.latents import GaussianLatent
from robot_learning.policies.play_lmp.networks import RecurrentRecognition, TransformerRecognition, within
from tests.contracts.policy import PolicyContract

NETWORKS = "robot_learning.policies.play_lmp.networks"
RECURRENT = {"_target_": f"{NETWORKS}.RecurrentRecognition", "width": 16, "layers": 2, "cell": "rnn"}
GAUSSIAN = {"_target_": "robot_learning.nn.latents.GaussianLatent", "size": 8}


class PlayLMPContract(PolicyContract):
    config = {  # noqa: RUF012 - read only
        "_target_": "robot_learning.policies.play_lmp.play_lmp.PlayLMP",
        "window": 4,
        "plan": GAUSSIAN,
        "recognition": RECURRENT,
        "proposal": {"width": 32, "layers": 2},
        "decoder": {"width": 64, "layers": 1, "cell": "gru", "components": 3},
        "replan": 2,
    }
    n_obs = horizon = 1
    overfit_to = 0.45  # in nats; bins of 256 leave a floor

    def sizes(self):
        return {}

    def test_actions_stay_within_the_data(self, policy):
        chunk = np.abs(self.act(policy, self.window(64), self.goal(64)))
        assert np.all(chunk <= np.array([2.0, 1.0]) + 1e-6)

    def test_a_plan_is_kept_until_it_is_time_for_another(self):
        policy = self.make(replan=3)
        plans = []
        for _ in range(7):
            policy.act(self.window(1), self.goal(1))
            plans.append(policy._memory[1].get("plan", torch.zeros(1)).clone())
        kept = [bool((plans[i] == plans[i + 1]).all()) for i in range(6)]
        assert kept == ([True, True, False] * 2 if policy.plan else [True] * 6)

    def test_the_decoder_remembers_since_the_plan_was_made(self):
        policy = self.make(replan=100)
        first = self.act(policy, self.window(1), self.goal(1))
        self.act(policy, self.window(1, seed=5), self.goal(1))
        assert not np.allclose(policy.act(self.window(1), self.goal(1)), first), "the same step again, after another one"


class TestPlayLMP(PlayLMPContract):
    def test_the_loss_by_hand(self, policy):
        """Each row alone: its plan from its own steps up to the goal, its own likelihood, its own divergence."""
        batch = self.batch(4)
        value, parts = policy.loss(batch, torch.Generator().manual_seed(3))
        noise = torch.randn(4, 8, generator=torch.Generator().manual_seed(3))
        nll, kl, count = 0.0, 0.0, 0
        for row in range(4):
            length = int(min(batch["future_mask"][row].sum(), batch["goal_steps"][row]))
            seen = {
                k: torch.cat([batch["observation"][k], batch["future"][k]], 1)[row : row + 1] for k in self.observation_keys
            }
            goal = policy.encoder.aim({k: v[row : row + 1] for k, v in batch["goal"].items()})
            states = policy.encoder.observe(seen)[:, : length + 1]
            steps = torch.cat([states, goal.unsqueeze(1).expand(-1, length + 1, -1)], -1)
            q = policy.recognition(states, torch.tensor([length + 1]))
            p = policy.proposal(steps[:, 0])
            mean, std = (q[:, :8], torch.nn.functional.softplus(q[:, 8:]) + 1e-4)
            z = mean + std * noise[row]
            mixture, _ = policy.decoder(torch.cat([z.unsqueeze(1).expand(-1, length, -1), steps[:, :length]], -1))
            counts = batch["action_mask"][row, :length]
            nll -= mixture.log_prob(policy.actions(batch["action"][row : row + 1, :length]))[0, counts].sum()
            prior = torch.distributions.Normal(p[:, :8], torch.nn.functional.softplus(p[:, 8:]) + 1e-4)
            kl += torch.distributions.kl_divergence(torch.distributions.Normal(mean, std), prior).sum() / 4
            count += int(counts.sum())
        assert parts["nll"].item() == pytest.approx(nll.item() / count, rel=1e-4)
        assert parts["kl"].item() == pytest.approx(kl.item(), rel=1e-4)
        assert value.item() == pytest.approx(nll.item() / count + 0.001 * kl.item(), rel=1e-4)

    def test_decoding_some_steps_has_the_mean_of_decoding_all(self):
        """Windows of one length, so that steps and windows weigh the same."""
        cell = {"cell": None, "blocks": 1}
        policies = [self.make(decoded=decoded, decoder={**self.config["decoder"], **cell}).eval() for decoded in (None, 2)]
        policies[1].load_state_dict(policies[0].state_dict())
        batch = self.batch(4) | {"goal_steps": torch.full((4,), 2)}
        batch["future_mask"], batch["action_mask"] = (torch.ones_like(batch[key]) for key in ("future_mask", "action_mask"))
        for policy in policies:
            policy.plan.draw = lambda q, noise: q[:, : noise.shape[1]]
        with torch.no_grad():
            every = policies[0].loss(batch, torch.Generator().manual_seed(0))[1]
            generator = torch.Generator().manual_seed(0)
            some = [policies[1].loss(batch, generator)[1] for _ in range(200)]
        values = torch.stack([parts["nll"] for parts in some])
        assert values.std() > 0
        assert values.mean().item() == pytest.approx(every["nll"].item(), abs=4 * values.std().item() / 200**0.5)
        assert some[0]["kl"].item() == pytest.approx(every["kl"].item(), rel=1e-5)

    @pytest.mark.parametrize("wrong", [{"decoded": 0, "decoder": {"cell": None, "blocks": 1}}, {"decoded": 2}])
    def test_decoding_some_steps_wants_a_decoder_without_memory(self, wrong):
        with pytest.raises(ConfigError, match="decoded: expected at least one step and a decoder without memory"):
            self.make(**wrong)

    def test_what_lies_behind_the_goal_has_no_say(self, policy):
        batch, other = self.batch(4), self.batch(4)
        batch["goal_steps"][:] = other["goal_steps"][:] = 2
        for key in self.observation_keys:
            other["future"][key][:, 2:] += 1.0
        other["action"][:, 2:] *= 0.5
        one, two = (policy.loss(each, torch.Generator().manual_seed(0))[0] for each in (batch, other))
        torch.testing.assert_close(one, two)
        other["future"][self.observation_keys[0]][:, 1] += 1.0
        assert not torch.isclose(policy.loss(other, torch.Generator().manual_seed(0))[0], one)

    def test_plans_are_drawn_from_the_proposal(self):
        """What recognition would say plays no part when acting: it would need the future."""
        policy, other = self.make(), self.make()
        for weights in other.recognition.parameters():
            torch.nn.init.normal_(weights)
        np.testing.assert_array_equal(
            self.act(policy, self.window(3), self.goal(3)), self.act(other, self.window(3), self.goal(3))
        )

    def test_a_plan_without_recognition_is_refused(self):
        with pytest.raises(ConfigError, match="recognition"):
            self.make(recognition=None)
        with pytest.raises(UnknownName, match="cell"):
            self.make(decoder={"cell": "gro"})


class TestDiscretePlans(PlayLMPContract):
    config = {  # noqa: RUF012
        **PlayLMPContract.config,
        "plan": {"_target_": "robot_learning.nn.latents.CategoricalLatent", "groups": 6, "classes": 8},
        "recognition": {"_target_": f"{NETWORKS}.TransformerRecognition", "width": 16, "heads": 2, "feedforward": 32},
        "balance": 0.8,
    }
    overfit_steps = 400
    overfit_to = 0.55  # and so do plans that are drawn anew every time


class TestPlayGCBC(PlayLMPContract):
    config = {**PlayLMPContract.config, "plan": None, "recognition": None}  # noqa: RUF012


class TestWithoutMemory(PlayLMPContract):
    config = {**PlayLMPContract.config, "decoder": {"width": 64, "cell": None, "blocks": 2, "components": 3}}  # noqa: RUF012

    def test_the_decoder_remembers_since_the_plan_was_made(self):
        """It does not: with the same plan the same step is answered alike, whatever came between."""
        policy = self.make(temperature=0.0, replan=9)
        policy.reset(seed=0)
        first, other, again = (policy.act(self.window(1, seed=seed), self.goal(1)) for seed in (0, 5, 0))
        np.testing.assert_array_equal(first, again)
        assert not np.allclose(first, other)

    def test_neither_memory_nor_blocks_are_refused(self):
        with pytest.raises(ConfigError, match="a cell or blocks"):
            self.make(decoder={"cell": None})


class TestPlayLMPFromImages(PlayLMPContract):
    observation_keys = ("camera", "velocity")
    goal_keys = ("camera",)
    overfit_steps = 60
    overfit_to = 0.9


@pytest.mark.parametrize("kind", [RecurrentRecognition, TransformerRecognition])
def test_recognition_sees_the_window_in_both_directions_and_nothing_behind_it(kind):
    torch.manual_seed(0)
    network = kind(3, 5, width=16).eval()
    window, lengths = torch.randn(2, 6, 3), torch.tensor([4, 6])
    before = network(window, lengths)
    for step in range(6):
        changed = window.clone()
        changed[:, step] += 1.0
        moved = (network(changed, lengths) - before).abs().amax(dim=1) > 1e-6
        assert moved.tolist() == [step < 4, True]


def test_within_counts_places():
    assert within(torch.tensor([0, 2, 3]), 3).tolist() == [[False] * 3, [True, True, False], [True] * 3]


def test_a_gaussian_plan_without_noise_is_its_mean():
    latent = GaussianLatent(3)
    parameters = torch.randn(2, 6)
    torch.testing.assert_close(latent.draw(parameters, torch.zeros(2, 3)), parameters[:, :3])
