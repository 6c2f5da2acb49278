"""ACT-JEPA keeps the Policy contract; its losses, target encoder and stages are what the paper says."""

import numpy as np
import pytest
import torch

from robot_learning.core.errors import CheckpointError, ConfigError, UnknownName
from robot_learning.learning.learner import Learner
from robot_learning.learning.recipe import Recipe
from robot_learning.nn.positions import sine_positions
from robot_learning.policies.policy import load_policy, save_policy, start_from
from tests.contracts.policy import PolicyContract

RESNET = "robot_learning.nn.resnet.ResNetEncoder"
SIZES = {"layers": 1, "heads": 2, "feedforward": 64, "dropout": 0.0}


class ACTJEPAContract(PolicyContract):
    config = {  # noqa: RUF012 - read only
        "_target_": "robot_learning.policies.act.act_jepa.ACTJEPA",
        "encoder": {"width": 32, "bias": False, **SIZES},
        "predictor": {"width": 16, **SIZES},
        "decoder": SIZES,
        "vision": {"encoder": {"_target_": RESNET, "channels": 16, "stages": 2, "shift": 0}},
    }
    n_obs = 1
    overfit_steps = 120

    def sizes(self):
        return {"horizon": self.horizon}

    def learner(self, steps=10, **changes):
        return Learner(self.make(**changes), Recipe(lr=1e-2, warmup=0, precision="fp32", ema=None), steps=steps)


def parts_of(policy):
    """Return a copy of the weights of every part."""
    return {name: {k: v.clone() for k, v in part.state_dict().items()} for name, part in policy.named_children()}


def moved(before, policy):
    after = parts_of(policy)
    return {name for name, part in before.items() if any(not torch.equal(part[key], after[name][key]) for key in part)}


class TestACTJEPA(ACTJEPAContract):
    def test_the_loss_by_hand(self, policy):
        """Every window alone and without its padding gives the same targets; both means are over unpadded steps."""
        batch = self.batch(4)
        batch["future_mask"][1, 1:] = False
        value, parts = policy.loss(batch, torch.Generator())
        l1, jepa = 0.0, 0.0
        for row in range(4):
            one = {k: {n: v[row : row + 1] for n, v in batch[k].items()} for k in ("observation", "future", "goal")}
            steps = int(batch["future_mask"][row].sum())
            tokens = policy.target.network.tokens({k: v[:, :steps] for k, v in one["future"].items()}, one["goal"])
            tokens[:, 1:] += sine_positions(steps + 1, 32)[1:]
            wanted = policy.target.network.layers(tokens)[:, 1:]
            context = policy.encoder(one["observation"], one["goal"])
            said = policy.predictor(context, batch["future_mask"][row : row + 1])[:, :steps]
            jepa += (said - wanted).abs().sum()
            scaled = batch["action"][row] / (torch.tensor([4.0, 2.0]) / 3.5)
            l1 += (policy.decoder(context)[0] - scaled).abs()[batch["action_mask"][row]].sum()
        assert batch["action_mask"].sum() == 11
        assert batch["future_mask"].sum() == 2 + 1 + 3 + 3
        torch.testing.assert_close(parts["l1"], l1 / (11 * 2))
        torch.testing.assert_close(parts["jepa"], jepa / (9 * 32))
        torch.testing.assert_close(value, parts["l1"] + parts["jepa"])

    def test_padded_future_steps_have_no_say(self, policy):
        batch, other = self.batch(4), self.batch(4)
        other["future"]["velocity"][0, -1] = 77.0
        one, two = (policy.loss(each, torch.Generator())[0] for each in (batch, other))
        torch.testing.assert_close(one, two)
        other["future"]["velocity"][0, 0] += 1.0
        assert not torch.isclose(policy.loss(other, torch.Generator())[0], one)

    def test_an_episode_without_a_further_observation_still_trains(self, policy):
        batch = self.batch(2)
        batch["future_mask"][:] = False
        loss, parts = policy.loss(batch, torch.Generator())
        loss.backward()
        assert parts["jepa"] == 0.0
        assert all(weight.grad.isfinite().all() for weight in policy.parameters() if weight.grad is not None)

    def test_the_future_matters_for_learning_and_not_for_acting(self, policy):
        """The chunk is a function of window and goal: what comes enters by the target encoder alone."""
        assert policy.n_future == self.horizon
        assert policy.future_keys == ("position", "velocity")
        other = self.make()
        for weight in (*other.target.parameters(), *other.predictor.parameters()):
            torch.nn.init.normal_(weight)
        window, goal = self.window(3), self.goal(3)
        np.testing.assert_array_equal(other.act(window, goal), policy.act(window, goal))

    def test_the_target_gets_no_gradient_and_follows_by_hand(self):
        learner = self.learner(steps=10)
        policy = learner.policy
        first = policy.encoder.tokens.task.detach().clone()
        learner.step(self.batch(4))
        now = policy.encoder.tokens.task.detach().clone()
        assert not torch.equal(first, now)
        once = 0.996 * first + 0.004 * now
        torch.testing.assert_close(policy.target.network.tokens.task.data, once)
        learner.step(self.batch(4, seed=1))
        momentum = 0.996 + 0.004 * 1 / 10
        twice = momentum * once + (1 - momentum) * policy.encoder.tokens.task.detach()
        torch.testing.assert_close(policy.target.network.tokens.task.data, twice)
        assert all(weight.grad is None and not weight.requires_grad for weight in policy.target.parameters())

    def test_joint_training_moves_every_part(self):
        learner = self.learner()
        before = parts_of(learner.policy)
        learner.step(self.batch(4))
        assert moved(before, learner.policy) == {"encoder", "target", "predictor", "decoder"}

    def test_pretraining_moves_encoder_and_predictor_whatever_the_actions(self):
        learners = [self.learner(stage="pretrain") for _ in range(2)]
        before, batch = parts_of(learners[0].policy), self.batch(4)
        metrics = learners[0].step(batch)
        assert moved(before, learners[0].policy) == {"encoder", "target", "predictor"}
        assert set(metrics) >= {"loss", "jepa"}
        assert "l1" not in metrics
        batch["action"][:] = float("nan")
        learners[1].step(batch)
        assert moved(parts_of(learners[0].policy), learners[1].policy) == set()

    def test_the_decoder_alone_is_trained_on_a_frozen_encoder(self):
        learner = self.learner(stage="decoder", encoder={**self.config["encoder"], "dropout": 0.5})
        policy = learner.policy
        before = parts_of(policy)
        learner.step(self.batch(4))
        assert moved(before, policy) == {"decoder"}
        assert policy.n_future == 0
        policy.train()
        seen = [policy.represent(self.batch(2)["observation"], self.batch(2)["goal"]) for _ in range(2)]
        assert torch.equal(*seen), "a frozen encoder has no dropout"

    def test_without_the_jepa_loss_the_chunk_alone_is_learned(self):
        policy = self.make(jepa_weight=0.0)
        value, parts = policy.loss(self.batch(4), torch.Generator())
        torch.testing.assert_close(value, self.make().loss(self.batch(4), torch.Generator())[1]["l1"])
        assert set(parts) == {"l1"}
        assert policy.n_future == 0

    def test_a_pretrained_policy_does_not_act_until_its_decoder_is_trained(self, tmp_path):
        pretrained = self.learner(stage="pretrain").policy
        torch.nn.init.normal_(pretrained.encoder.tokens.task, std=5.0)
        pretrained.actions.scale.fill_(7.0)
        torch.nn.init.normal_(pretrained.decoder.read_out.weight)
        save_policy(tmp_path, pretrained, self.full_config(stage="pretrain"), {})
        with pytest.raises(CheckpointError, match="stage=decoder init_from="):
            load_policy(tmp_path).act(self.window(1), self.goal(1))
        fresh = self.make(stage="decoder")
        before = parts_of(fresh)
        start_from(fresh, tmp_path)
        assert moved(before, fresh) == {"encoder"}, "neither its decoder nor its scale of actions"
        assert torch.equal(fresh.encoder.tokens.task, pretrained.encoder.tokens.task)
        with pytest.raises(CheckpointError, match="other shapes"):
            start_from(self.make(encoder={"width": 16, **SIZES}), tmp_path)

    def test_what_cannot_be_is_refused(self):
        with pytest.raises(UnknownName, match="nearest: pretrain"):
            self.make(stage="pretrian")
        with pytest.raises(ConfigError, match="above 0 to pretrain"):
            self.make(stage="pretrain", jepa_weight=0.0)
        with pytest.raises(UnknownName, match="layers"):
            self.make(predictor={"layer": 2})


class TestACTJEPAFromImages(ACTJEPAContract):
    observation_keys = ("camera", "velocity")
    goal_keys = ("camera",)
    overfit_steps = 60
    overfit_to = 0.9

    def test_the_target_sees_no_images(self, policy):
        assert policy.future_keys == ("velocity",)
        assert not any("images" in name for name, _ in policy.target.named_parameters())


class TestACTJEPAWithLikeObjects(ACTJEPAContract):
    config = {**ACTJEPAContract.config, "interchangeable": {"position": 3}}  # noqa: RUF012
