"""ACT keeps the Policy contract, and its loss, latent and temporal ensemble are what the paper says."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.nn.normalizer import SteadyStandardize
from robot_learning.policies.act.networks import Posterior, divergence, sizes_of
from robot_learning.runtime.actors import ChunkedActor
from tests.contracts.policy import STATISTICS, PolicyContract

RESNET = "robot_learning.nn.resnet.ResNetEncoder"
SIZES = {"layers": 1, "heads": 2, "feedforward": 64, "dropout": 0.0}


class ACTContract(PolicyContract):
    config = {  # noqa: RUF012 - read only
        "_target_": "robot_learning.policies.act.act.ACT",
        "latent": 4,
        "encoder": {"width": 32, **SIZES},
        "decoder": SIZES,
        "vision": {"encoder": {"_target_": RESNET, "channels": 16, "stages": 2, "shift": 0}},
    }
    n_obs = 1
    overfit_steps = 120

    def sizes(self):
        return {"horizon": self.horizon}


class TestACT(ACTContract):
    def test_the_loss_by_hand(self, policy):
        """Posterior, a drawn latent, the chunk it decodes to, and both parts of the bound, step by step."""
        batch = self.batch(4)
        value, parts = policy.loss(batch, torch.Generator().manual_seed(3))
        noise = torch.randn(4, 4, generator=torch.Generator().manual_seed(3))
        wanted = (batch["action"] - torch.tensor([0.0, 0.0])) / (torch.tensor([4.0, 2.0]) / 3.5)
        state = torch.cat([batch["observation"]["position"] / (2 / 3.5), batch["observation"]["velocity"] / (6 / 3.5)], -1)
        mean, log_variance = policy.posterior(state[:, 0], wanted, batch["action_mask"])
        memory, places = policy._encoded(batch["observation"], batch["goal"], mean + (log_variance / 2).exp() * noise)
        error = (policy.decoder(memory, places) - wanted).abs()
        l1 = error[batch["action_mask"]].sum() / (11 * 2)
        assert batch["action_mask"].sum() == 11, "four chunks of three, one step padded"
        kl = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum() / 4
        torch.testing.assert_close(parts["l1"], l1)
        torch.testing.assert_close(parts["kl"], kl)
        torch.testing.assert_close(value, l1 + 10.0 * kl)

    def test_acting_draws_nothing(self, policy):
        """At z = 0 the chunk is one and the same whatever the seed, and it is what the decoder says of z = 0."""
        window, goal = self.window(2), self.goal(2)
        one, other = (self.act(policy, window, goal, seed=seed) for seed in (0, 1))
        np.testing.assert_array_equal(one, other)
        tensors = [{k: torch.as_tensor(v) for k, v in part.items() if k != "action"} for part in (window, goal)]
        scaled = policy.decoder(*policy._encoded(*tensors, torch.zeros(2, 4)))
        np.testing.assert_allclose(one, scaled.detach().numpy() * np.array([4.0, 2.0]) / 3.5, rtol=1e-5)
        assert not torch.allclose(policy.decoder(*policy._encoded(*tensors, torch.ones(2, 4))), scaled), "z has a say"

    def test_the_latent_takes_up_what_the_observation_does_not_say(self):
        """One window, two actions: with a latent that costs nothing both are learned; without, only their median."""
        left = self.batch(8)
        for tensor in (*left["observation"].values(), *left["goal"].values(), left["action"]):
            tensor[:] = tensor[:1].clone()
        left["action_mask"][:] = True
        left["action"][:4], left["action"][4:] = 1.0, -1.0
        ends = {}
        for cvae in (True, False):
            policy = self.make(cvae=cvae, kl_weight=1e-3).train()
            optimizer = torch.optim.Adam(policy.parameters(), lr=4e-3)
            for step in range(80):
                loss, parts = policy.loss(left, torch.Generator().manual_seed(step))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            ends[cvae] = parts["l1"].item()
        spread = (1.0 / (4.0 / 3.5) + 1.0 / (2.0 / 3.5)) / 2
        assert ends[False] == pytest.approx(spread, rel=0.1)
        assert ends[True] < 0.3 * spread

    def test_padded_actions_are_hidden_from_the_posterior(self):
        torch.manual_seed(0)
        network = Posterior(3, 2, 4, sizes_of(self.config["encoder"])).eval()
        state, actions, mask = torch.randn(2, 3), torch.randn(2, 5, 2), torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
        before, other = network(state, actions, mask)[0], actions.clone()
        other[:, 3:] += 5.0
        moved = (network(state, other, mask)[0] - before).abs().amax(dim=1) > 1e-6
        assert moved.tolist() == [False, True]

    def test_the_temporal_ensemble_by_hand(self, policy):
        """The third action is the mean of what three chunks say about it, the oldest weighing most (m = 0.5)."""
        windows = [self.window(1, seed=seed) for seed in range(3)]
        actor = ChunkedActor(policy, execute=1, ensemble=0.5)
        goal = {key: value[0] for key, value in self.goal(1).items()}
        actor.reset(seed=0, goal=goal)
        for window in windows:
            got = actor.act({key: value[0, 0] for key, value in window.items() if key != "action"})
        said = [policy.act(window, self.goal(1))[0, 2 - start] for start, window in enumerate(windows)]
        weights = np.array([1.0, np.exp(-0.5), np.exp(-1.0)])
        np.testing.assert_allclose(got, weights @ np.stack(said) / weights.sum(), rtol=1e-5)

    def test_sizes_and_keys_that_do_not_fit_are_named(self):
        with pytest.raises(UnknownName, match="layer"):
            self.make(encoder={"width": 32, "layer": 2})
        with pytest.raises(UnknownName, match="shared"):
            self.make(vision={"shard": True})
        with pytest.raises(ConfigError, match="expected the encoder's 32, got 16"):
            self.make(decoder={**SIZES, "width": 16})
        with pytest.raises(ConfigError, match="at least one that is no image"):
            self.make(observation_keys=["camera"])


class TestWithoutLatent(ACTContract):
    config = {**ACTContract.config, "cvae": False}  # noqa: RUF012

    def test_the_loss_is_the_mean_absolute_error(self, policy):
        batch = self.batch(4)
        value, parts = policy.loss(batch, torch.Generator())
        raw = policy.act({**{k: v.numpy() for k, v in batch["observation"].items()}}, {"position": batch["goal"]["position"]})
        error = np.abs(raw - batch["action"].numpy()) / (np.array([4.0, 2.0]) / 3.5)
        assert value.item() == pytest.approx(error[batch["action_mask"].numpy()].mean(), rel=1e-5)
        assert set(parts) == {"l1"}


class TestACTFromImages(ACTContract):
    observation_keys = ("camera", "velocity")
    goal_keys = ("camera",)
    overfit_steps = 60
    overfit_to = 0.9

    def test_the_present_and_the_goal_image_are_told_apart(self, policy):
        window, goal = self.window(2), self.goal(2)
        swapped = {**window, "camera": goal["camera"][:, None]}
        assert not np.allclose(policy.act(window, goal), policy.act(swapped, {"camera": window["camera"][:, 0]}), atol=1e-6)

    def test_every_cell_of_an_image_has_a_say(self, policy):
        window, goal = self.window(1), self.goal(1)
        before = policy.act(window, goal)
        for corner in np.ndindex(2, 2):
            other = {**window, "camera": window["camera"].copy()}
            y, x = (slice(12 * place, 12 * place + 12) for place in corner)
            other["camera"][0, 0, y, x] = 255
            assert np.abs(policy.act(other, goal) - before).max() > 1e-5


class TestACTWithLikeObjects(ACTContract):
    config = {**ACTContract.config, "interchangeable": {"position": 3}}  # noqa: RUF012

    def test_their_order_does_not_matter(self, policy):
        window, goal = self.window(2), self.goal(2)
        order = [2, 0, 1]
        turned = {**window, "position": window["position"][..., order]}
        np.testing.assert_allclose(
            policy.act(turned, {"position": goal["position"][:, order]}), policy.act(window, goal), atol=1e-5
        )


def test_the_divergence_is_that_of_torch():
    mean, log_variance = torch.randn(2, 6, 3)
    wanted = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(divergence(mean, log_variance), wanted)


def test_actions_are_standardised_and_constants_kept():
    stats = dataclasses.replace(
        STATISTICS["action"],
        mean=np.array([1.0, 0.5]),
        std=np.array([2.0, 0.0]),
        low=np.array([-2.0, 0.5]),
        high=np.array([2.0, 0.5]),
    )
    actions = SteadyStandardize(stats)
    torch.testing.assert_close(actions(torch.tensor([[5.0, 0.5]])), torch.tensor([[2.0, 0.0]]))
    torch.testing.assert_close(actions.inverse(torch.tensor([[2.0, 0.7]])), torch.tensor([[5.0, 0.5]]))
