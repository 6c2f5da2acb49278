"""Policies that read instructions keep the Policy contract, and do as they are told."""

import numpy as np
import pytest
import torch

from robot_learning.core.errors import SpecMismatch, UnknownName
from robot_learning.core.language import encode_instruction
from tests.contracts.policy import PolicyContract
from tests.policies import test_act, test_act_jepa, test_diffusion_policy, test_hilp, test_policies
from tests.policies.test_play_lmp import PlayLMPContract

ACT, JEPA, DIFFUSION = test_act.TestACT, test_act_jepa.TestACTJEPA, test_diffusion_policy.TestDiffusionPolicy
BESO, GCBC, HILP = test_policies.TestBESOPerceptron, test_policies.TestGCBCPerceptron, test_hilp.TestHILP

LINES = ("open the drawer", "close the drawer", "push the red button", "turn the teal block left", "sweep it away")
SMALL = {
    "_target_": "robot_learning.nn.language.InstructionEncoder",
    "size": 8,
    "width": 32,
    "layers": 1,
    "dropout": 0.0,
    "word_dropout": 0.0,
}


def instructions(batch, seed=0):
    return np.stack([encode_instruction(LINES[(seed + row) % len(LINES)]) for row in range(batch)])


class Reads:
    """Give a contract instructions for goals."""

    goal_keys = ("instruction",)

    def full_config(self, **changes):
        return {**super().full_config(), "language": SMALL, **changes}

    def goal(self, batch, seed=0):
        return {"instruction": instructions(batch, seed)}


class TestGCBCReads(Reads, PolicyContract):
    config = GCBC.config

    def test_told_otherwise_it_acts_otherwise(self):
        """Eight windows of two tasks that look alike: only the instruction tells which way to go."""
        policy, batch = self.make().train(), self.batch(8)
        way = torch.tensor([1.0, -1.0] * 4)
        for key in batch["observation"]:
            batch["observation"][key][:] = batch["observation"][key][:1].clone()
        batch["action"] = way.view(8, 1, 1) * torch.tensor([1.5, 0.5]).expand(8, *batch["action"].shape[1:])
        batch["goal"]["instruction"] = torch.as_tensor(instructions(2)).repeat(4, 1)
        optimizer = torch.optim.Adam(policy.parameters(), lr=2e-3)
        for step in range(150):
            optimizer.zero_grad()
            policy.loss(batch, torch.Generator().manual_seed(step))[0].backward()
            optimizer.step()
        seen = {key: value[:1].numpy() for key, value in batch["observation"].items()}
        for line, sign in ((LINES[0], 1.0), (LINES[1], -1.0)):
            chunk = policy.eval().act(seen, {"instruction": encode_instruction(line)[None]})
            np.testing.assert_allclose(chunk[0], np.tile([1.5 * sign, 0.5 * sign], (self.horizon, 1)), atol=0.1)

    def test_the_parts_that_read_are_the_ones_configured(self):
        assert self.make().encoder.goal_size == 8
        assert self.make(language=None).encoder.goal_size == 64
        with pytest.raises(UnknownName, match="nearest: heads"):
            self.make(language={**SMALL, "head": 2})


@pytest.mark.parametrize("case", [BESO, DIFFUSION, ACT, JEPA])
def test_every_policy_reads(case):
    told = type(f"{case.__name__}Told", (Reads, case), {})()
    policy, window = told.make(), told.window(2)
    one, same, other = (told.act(policy, window, {"instruction": instructions(2, seed)}) for seed in (0, 0, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    value, _ = policy.train().loss(told.batch(4), torch.Generator().manual_seed(0))
    value.backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in _language(policy).parameters())


def test_hilbert_space_has_no_words():
    with pytest.raises(UnknownName, match="instruction"):
        HILP().make(goal_keys=["instruction"])


def test_a_goal_of_another_kind_is_refused():
    with pytest.raises(SpecMismatch, match=r"goal: 'instruction': missing; available: position"):
        TestGCBCReads().make().act(TestGCBCReads().window(1), GCBC().goal(1))
    with pytest.raises(SpecMismatch, match=r"goal: 'position': missing; available: instruction"):
        GCBC().make().act(GCBC().window(1), {"instruction": instructions(1)})


class TestContexts(Reads, PlayLMPContract):
    """Scene and words in one space."""

    config = {  # noqa: RUF012 - read only
        **PlayLMPContract.config,
        "contexts": {"scene": ["position"], "language": ["instruction"]},
        "goal_space": {"size": 6, "width": 16, "layers": 1},
    }
    goal_keys = ("position", "instruction")

    def goal(self, batch, seed=0):
        rng = np.random.default_rng(seed + 2)
        return {"position": rng.uniform(-1, 1, (batch, 3)).astype(np.float32), "instruction": instructions(batch, seed)}

    def mixed(self):
        """Four windows, the last two without an instruction."""
        batch = self.batch(4)
        batch["goal"]["instruction"][2:] = 0
        return batch

    def test_without_goal_keys_no_goal_is_asked_for(self):
        free = self.make(goal_keys=[], contexts=None)
        assert free.goal_choices == ()

    def test_the_loss_is_the_mean_over_the_contexts(self, policy):
        """Each context over the windows that have it, from one recognised plan that knows no goal."""
        batch = self.mixed()
        value, parts = policy.loss(batch, torch.Generator().manual_seed(3))
        noise = torch.randn(4, 8, generator=torch.Generator().manual_seed(3))
        told = {"scene": (policy.encoder.scales["position"](batch["goal"]["position"]), 4)}
        told["language"] = (policy.encoder.language(batch["goal"]["instruction"]), 2)
        by_hand = {}
        for name, (vectors, rows) in told.items():
            goals, nll, kl, count = policy.goals.encoders[name](vectors), 0.0, 0.0, 0
            for row in range(rows):
                length = int(min(batch["future_mask"][row].sum(), batch["goal_steps"][row]))
                seen = {
                    k: torch.cat([batch["observation"][k], batch["future"][k]], 1)[row : row + 1] for k in self.observation_keys
                }
                states = policy.encoder.observe(seen)[:, : length + 1]
                steps = torch.cat([states, goals[row].expand(1, length + 1, -1)], -1)
                q, p = policy.recognition(states, torch.tensor([length + 1])), policy.proposal(steps[:, 0])
                mean, std = q[:, :8], torch.nn.functional.softplus(q[:, 8:]) + 1e-4
                plan = (mean + std * noise[row]).unsqueeze(1).expand(-1, length, -1)
                mixture, _ = policy.decoder(torch.cat([plan, steps[:, :length]], -1))
                counts = batch["action_mask"][row, :length]
                nll -= mixture.log_prob(policy.actions(batch["action"][row : row + 1, :length]))[0, counts].sum()
                prior = torch.distributions.Normal(p[:, :8], torch.nn.functional.softplus(p[:, 8:]) + 1e-4)
                kl += torch.distributions.kl_divergence(torch.distributions.Normal(mean, std), prior).sum() / rows
                count += int(counts.sum())
            by_hand[name] = nll / count, kl
        for index, part in enumerate(("nll", "kl")):
            assert parts[part].item() == pytest.approx(
                (by_hand["scene"][index] + by_hand["language"][index]).item() / 2, rel=1e-4
            )
        assert parts["nll_language"].item() == pytest.approx(by_hand["language"][0].item(), rel=1e-4)
        assert value.item() == pytest.approx((parts["nll"] + 0.001 * parts["kl"]).item(), rel=1e-5)

    def test_a_context_that_no_window_has_does_not_count(self, policy):
        batch = self.mixed()
        batch["goal"]["instruction"][:] = 0
        value, parts = policy.loss(batch, torch.Generator().manual_seed(3))
        torch.testing.assert_close(parts["nll"], parts["nll_scene"])
        assert parts["nll_language"].isnan(), "which figures leave out"
        value.backward()
        assert not any(weight.grad.any() for weight in policy.goals.encoders["language"].parameters())

    def test_recognition_knows_no_goal(self, policy):
        batch, other = self.batch(4), self.batch(4)
        other["goal"] = {key: torch.as_tensor(value) for key, value in self.goal(4, seed=9).items()}
        torch.testing.assert_close(policy.embed(batch), policy.embed(other))

    def test_whichever_goal_is_given_is_followed(self, policy):
        window, goal = self.window(2), self.goal(2)
        scene, words = ({key: goal[key]} for key in self.goal_keys)
        both, by_scene, by_words = (self.act(policy, window, each) for each in (goal, scene, words))
        np.testing.assert_array_equal(both, by_scene)
        assert not np.allclose(by_scene, by_words)
        preferring = self.make(prefer="language")
        assert preferring.goal_choices == (("instruction",), ("position",))
        np.testing.assert_array_equal(self.act(preferring, window, goal), self.act(preferring, window, words))

    def test_goals_at_one_place_of_the_space_are_one_goal(self, policy):
        """Whatever context a goal comes from, plan and actions depend on its place alone."""
        for perceptron in policy.goals.encoders.values():
            torch.nn.init.zeros_(perceptron.layers[-1].weight)
            torch.nn.init.constant_(perceptron.layers[-1].bias, 0.3)
        window, goal = self.window(2), self.goal(2)
        by_scene, by_words = (self.act(policy, window, {key: goal[key]}) for key in self.goal_keys)
        np.testing.assert_array_equal(by_scene, by_words)

    def test_like_objects_are_pooled_without_a_goal_of_their_own(self):
        policy = self.make(interchangeable={"position": 3})
        turned = {**self.window(2), "position": np.roll(self.window(2)["position"], 1, axis=-1)}
        one, other = (self.act(policy, window, {"instruction": instructions(2)}) for window in (self.window(2), turned))
        np.testing.assert_allclose(one, other, atol=1e-5)

    def test_contexts_that_cannot_be_are_refused(self):
        with pytest.raises(UnknownName, match=r"'langauge'; nearest: language"):
            self.make(prefer="langauge")
        with pytest.raises(UnknownName, match=r"goal_space 'widht'; nearest: width"):
            self.make(goal_space={"widht": 3})
        with pytest.raises(ValueError, match="a name and goal keys for each"):
            self.make(contexts={"scene": []})


def _language(policy):
    return next(part for part in policy.modules() if type(part).__name__ == "InstructionEncoder")
