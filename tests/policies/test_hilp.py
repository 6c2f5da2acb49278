"""HILP keeps the Policy contract, its equations are the paper's, and its prompts find what was planted."""

import math

import numpy as np
import pytest
import torch

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.core.protocols import Promptable
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Stats, Transitions
from robot_learning.nn.denoiser import denoising_loss
from robot_learning.policies.hilp.actors import DenoisingActor, GaussianActor
from robot_learning.policies.hilp.hilbert import (
    distance,
    expectile_weight,
    midpoint,
    solve_reward,
    temporal_difference,
    toward,
)
from robot_learning.policies.hilp.networks import Conditioned, Embedding
from robot_learning.policies.policy import build_policy
from tests.contracts.policy import SPEC, STATISTICS, PolicyContract

SIZES = {"width": 32, "layers": 2}
ACTORS = "robot_learning.policies.hilp.actors"


class HILPContract(PolicyContract):
    """HILP with either actor."""

    def sizes(self):
        return {}

    def overfit(self):
        """Return a policy fitted to eight windows, these, and what the actor was surprised by at every step."""
        policy, batch, surprises = self.make(temperature=0.0).train(), self.batch(8), []
        optimizer = torch.optim.Adam(policy.parameters(), lr=2e-3)
        for step in range(self.overfit_steps):
            loss, figures = policy.loss(batch, torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            policy.after_step(step + 1, self.overfit_steps)
            surprises.append(float(figures["surprise"]))
        return policy.eval(), batch, surprises


class TestDenoisingHILP(HILPContract):
    config = {  # noqa: RUF012 - read only
        "_target_": "robot_learning.policies.hilp.hilp.HILP",
        "representation": {"size": 8, **SIZES},
        "values": SIZES,
        "actor": {"_target_": f"{ACTORS}.DenoisingActor", "horizon": 3, "width": 64, "blocks": 2},
        "hindsight": 1.0,
    }
    n_obs, horizon = 1, 3

    def test_overfits_eight_windows(self):
        """Noise levels and latents are drawn anew at every step, so the last steps' mean is compared with the first ones'."""
        surprises = self.overfit()[2]
        assert np.mean(surprises[-30:]) < self.overfit_to * np.mean(surprises[:5])


class TestHILP(HILPContract):
    config = {  # noqa: RUF012 - read only
        "_target_": "robot_learning.policies.hilp.hilp.HILP",
        "representation": {"size": 8, **SIZES},
        "values": SIZES,
        "actor": {"_target_": f"{ACTORS}.GaussianActor", "width": 64, "layers": 2},
        "hindsight": 0.5,
    }
    n_obs = horizon = 1

    def test_overfits_eight_windows(self):
        """Latents are drawn anew at every step, so what must become small is the error of the action, whatever the latent."""
        policy, batch, _ = self.overfit()
        window = {key: value.numpy() for key, value in batch["observation"].items()}
        goal = {key: value.numpy() for key, value in batch["goal"].items()}
        chunk = self.act(policy, window, goal)
        np.testing.assert_allclose(chunk[1:], batch["action"].numpy()[1:], atol=0.15)  # the first one is padding

    def test_like_objects_are_treated_alike(self):
        """Two objects swapped in state and goal change nothing."""
        policy = self.make_pairs()
        window, goal = pairs(3, seed=1), {"pair": pairs(3, seed=2)["pair"][:, 0]}
        swapped = {**window, "pair": window["pair"][..., [2, 3, 0, 1]]}
        there = {"pair": goal["pair"][..., [2, 3, 0, 1]]}
        np.testing.assert_allclose(policy.act(swapped, there), policy.act(window, goal), atol=1e-5)
        assert not np.allclose(policy.act(window, there), policy.act(window, goal), atol=1e-4)

    def make_pairs(self):
        spec = RobotSpec({**SPEC.observation, "pair": ArraySpec((4,), unit="m")}, SPEC.action, 10.0, "pairs")
        keys = {"observation_keys": ["pair", "position"], "goal_keys": ["pair"], "interchangeable": {"pair": 2}}
        config = {**self.config, **keys, "values": {**SIZES, "pool": 16}, "actor": {**self.config["actor"], "pool": 16}}
        within = Stats(100, np.zeros(4), np.full(4, 0.5), np.full(4, -1.0), np.ones(4), np.full(4, -1.0), np.ones(4))
        torch.manual_seed(0)
        return build_policy(config, spec, {**STATISTICS, "pair": within}).eval()

    # learning

    def test_targets_follow_by_hand(self):
        policy = self.make(target_rate=0.25)
        before = policy.phi_target.network[1].of_rest[0].weight.clone()
        fixed = policy.value.layers[0].weight.clone()
        with torch.no_grad():
            policy.phi[1].of_rest[0].weight += 1.0
            policy.critic[0].layers[0].bias += 2.0
        bias = policy.critic_target.network[0].layers[0].bias.clone()
        policy.after_step(1, 10)
        torch.testing.assert_close(policy.phi_target.network[1].of_rest[0].weight, before + 0.25)
        torch.testing.assert_close(policy.critic_target.network[0].layers[0].bias, bias + 0.5)
        torch.testing.assert_close(policy.value.layers[0].weight, fixed)

    def test_targets_start_equal_and_learn_nothing_themselves(self):
        policy = self.make()
        pairs_of = [(policy.phi, policy.phi_target), (policy.critic, policy.critic_target)]
        for own, target in pairs_of:
            assert all(torch.equal(a, b) for a, b in zip(own.parameters(), target.parameters(), strict=True))
            assert not any(parameter.requires_grad for parameter in target.parameters())

    @torch.no_grad()
    def test_the_value_losses_by_hand(self):
        """IQL: V toward the upper expectile of min Q of the targets, Q toward r + gamma V(s'), advantage min Q - V."""
        policy = self.make(discount=0.5, value_expectile=0.8)
        rng = torch.Generator().manual_seed(0)
        state, following = (torch.randn(6, 5, generator=rng) for _ in range(2))
        action, latent, reward = (
            torch.randn(6, 2, generator=rng),
            torch.randn(6, 8, generator=rng),
            torch.randn(6, generator=rng),
        )
        value, critic, advantage = policy._value_losses(state, action, following, latent, reward)
        for i in range(6):
            own = [row[i : i + 1] for row in (state, latent)]
            q = min(float(each(*own, action[i : i + 1])) for each in policy.critic)
            v = float(policy.value(*own))
            assert float(advantage[i]) == pytest.approx(q - v, abs=1e-5)
            assert float(value[i]) == pytest.approx((0.8 if q > v else 0.2) * (q - v) ** 2, abs=1e-5)
            wanted = float(reward[i]) + 0.5 * float(policy.value(following[i : i + 1], latent[i : i + 1]))
            errors = [(float(each(*own, action[i : i + 1])) - wanted) ** 2 for each in policy.critic]
            assert float(critic[i]) == pytest.approx(sum(errors), abs=1e-4)

    def test_better_actions_weigh_more_up_to_a_hundred(self, monkeypatch):
        policy, batch = self.make(temperature=10.0), self.batch(4)
        advantage = torch.tensor([0.0, 0.0, 0.2, 5.0])
        monkeypatch.setattr(policy, "_value_losses", lambda *_: (torch.zeros(4), torch.zeros(4), advantage))
        _, figures = policy.loss(batch, torch.Generator().manual_seed(0))
        assert float(figures["weight"]) == pytest.approx((1 + math.exp(2) + 100) / 3, rel=1e-5)  # the first one is padding

    def test_shares_of_goals_and_latents(self):
        policy = self.make(random_goals=0.25, hindsight=0.4)
        scene, future = torch.zeros(4000, 3), torch.ones(4000, 3)
        rng = torch.Generator().manual_seed(0)
        goal, same = policy._goals(scene, future, torch.ones(4000, dtype=torch.long), rng)
        assert float((goal == 0).all(1).float().mean()) == pytest.approx(0.25, abs=0.03)
        assert int(same.sum()) <= 5, "only a state that was drawn as its own goal"
        assert policy._goals(scene, future, torch.zeros(4000, dtype=torch.long), rng)[1].float().mean() > 0.7
        start = torch.zeros(4000, 8)
        end = torch.eye(8)[torch.zeros(4000, dtype=torch.long)] * 3
        latent = policy._latents(start, end, rng)
        torch.testing.assert_close(latent.norm(dim=1), torch.ones(4000))
        assert float((latent[:, 0] == 1).float().mean()) == pytest.approx(0.4, abs=0.03)
        drawn = latent[latent[:, 0] != 1]
        assert float(drawn.mean(0).abs().max()) < 0.04, "uniform on the sphere"

    # acting and prompts

    def test_a_goal_gives_a_direction_that_is_computed_at_every_step(self, policy):
        window, goal = self.window(2), self.goal(2)
        seen, aimed = ({key: torch.as_tensor(value) for key, value in arrays.items()} for arrays in (window, goal))
        state = policy.encoder.observe(seen)[:, -1]
        embed = lambda position: policy.phi[0](policy.encoder.aim({"position": position}))  # noqa: E731
        expected = torch.nn.functional.normalize(embed(aimed["position"]) - embed(seen["position"][:, 0]), dim=-1)
        torch.testing.assert_close(policy._aim(state, seen, aimed), expected)

    def test_copied_keys_come_from_the_observation(self):
        policy = self.make(goal_keys=["position", "velocity"], copied=["velocity"])
        window, goal = self.window(2), {"position": self.goal(2)["position"]}
        elsewhere = {**goal, "velocity": np.full((2, 2), 9.0, np.float32)}
        np.testing.assert_array_equal(policy.act(window, elsewhere), policy.act(window, goal))

    def test_without_goal_keys_the_seed_draws_a_skill(self):
        free = self.make(goal_keys=[])
        one, same, other = (self.act(free, self.window(2), None, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert not np.allclose(one, other)

    def test_images_are_goals_too(self):
        case = type(self)()
        case.observation_keys, case.goal_keys = ("camera", "velocity"), ("camera",)
        policy = case.make().train()
        loss, _ = policy.loss(case.batch(4), torch.Generator().manual_seed(0))
        loss.backward()
        assert any(float(p.grad.abs().sum()) > 0 for p in policy.encoder.images.encoders["camera"].parameters())
        one, other = (case.act(policy.eval(), case.window(2), case.goal(2, seed=seed)) for seed in (0, 9))
        assert not np.allclose(one, other)

    def transitions(self, rewarded):
        rng = np.random.default_rng(0)
        before, after = ({"position": rng.uniform(-1, 1, (200, 3)).astype(np.float32)} for _ in range(2))
        return Transitions(before, after, rng.normal(size=200).astype(np.float32) if rewarded else None)

    def test_prompts_change_what_it_does(self, policy):
        assert isinstance(policy, Promptable)
        window, goal = self.window(2), self.goal(2)
        aimed = policy.act(window, goal)
        policy.prompt("plan", self.transitions(rewarded=False))
        planned = policy.act(window, goal)
        policy.prompt("reward", self.transitions(rewarded=True))
        rewarded = policy.act(window, None)
        assert not np.allclose(planned, aimed)
        assert not np.allclose(rewarded, aimed)
        policy.prompt("goal")
        np.testing.assert_array_equal(policy.act(window, goal), aimed)

    def test_a_reward_prompt_recovers_a_planted_direction(self, policy):
        samples = self.transitions(rewarded=False)
        planted = torch.nn.functional.normalize(torch.randn(8, generator=torch.Generator().manual_seed(4)), dim=0)
        with torch.no_grad():
            change = policy._embed(samples.after) - policy._embed(samples.before)
        policy.prompt("reward", Transitions(samples.before, samples.after, (7.0 * change @ planted).numpy()))
        torch.testing.assert_close(policy._known[0], planted, atol=1e-3, rtol=0)

    def test_wrong_prompts_and_settings(self, policy):
        with pytest.raises(UnknownName, match="nearest: reward"):
            policy.prompt("rewards")
        with pytest.raises(ConfigError, match="plan prompt: expected samples"):
            policy.prompt("plan")
        with pytest.raises(ConfigError, match="reward prompt: expected rewards"):
            policy.prompt("reward", self.transitions(rewarded=False))
        with pytest.raises(UnknownName, match="goal key"):
            self.make(observation_keys=["position"], goal_keys=["velocity"])
        with pytest.raises(UnknownName, match="copied key"):
            self.make(copied=["velocity"])
        with pytest.raises(ConfigError, match="from 0 to 1"):
            self.make(hindsight=1.5)


def pairs(batch, seed):
    rng = np.random.default_rng(seed)
    shapes = {"pair": 4, "position": 3}
    return {key: rng.uniform(-1, 1, (batch, 1, size)).astype(np.float32) for key, size in shapes.items()}


# equations


GIVEN = {"state_size": 2, "state_objects": [], "latent_size": 1, "latent_objects": [], "action_size": 2}


def test_densities_against_torch_and_without_what_never_moves():
    actor = GaussianActor(**GIVEN, width=8, layers=1)
    with torch.no_grad():
        actor.log_std.copy_(torch.tensor([-1.0, -9.0]))
    state, latent, action = torch.randn(5, 2), torch.randn(5, 1), torch.randn(5, 1, 2)
    mean, counts, rng = actor.act(state, latent, torch.empty(5, 0)), torch.ones(5, 1, dtype=torch.bool), torch.Generator()
    exact = -torch.distributions.Normal(mean, torch.tensor([-1.0, -5.0]).exp()).log_prob(action)[:, 0]  # -5 is the least
    surprise = actor.surprise(state, latent, action, counts, torch.ones(2), rng)
    torch.testing.assert_close(surprise, exact.sum(1), rtol=1e-4, atol=1e-3)
    surprise = actor.surprise(state, latent, action, counts, torch.tensor([1.0, 0.0]), rng)
    torch.testing.assert_close(surprise, exact[:, 0])


def test_a_fixed_spread_makes_it_a_squared_error():
    actor = GaussianActor(**GIVEN, width=8, layers=1, spread=0.5)
    assert not actor.log_std.requires_grad
    state, latent, action = torch.randn(5, 2), torch.randn(5, 1), torch.randn(5, 1, 2)
    mean, counts = actor.act(state, latent, torch.empty(5, 0)), torch.ones(5, 1, dtype=torch.bool)
    one, best = (actor.surprise(state, latent, x, counts, torch.ones(2), torch.Generator()) for x in (action, mean))
    torch.testing.assert_close(one - best, 2.0 * (action - mean).square().sum((1, 2)))


def test_the_denoising_error_of_a_sample_is_that_of_the_diffusion_policies():
    """Alone in a batch, a sample's surprise is the loss that BESO's objective gives its unpadded actions."""
    actor = DenoisingActor(**GIVEN, horizon=3, width=8, blocks=1, draws=1)
    state, latent, action = torch.randn(1, 2), torch.randn(1, 1), torch.randn(1, 3, 2)
    mask = torch.tensor([[True, True, False]])
    drawn = torch.Generator().manual_seed(3)
    got = actor.surprise(state, latent, action, mask, torch.ones(2), drawn)
    seen = {}

    def network(x, level):
        seen["sigma"] = (4 * level).exp()
        return actor.network(actor._context(state, latent), x, level)

    again = torch.Generator().manual_seed(3)
    torch.rand(1, generator=again, dtype=torch.float64)  # the noise level
    noise = torch.randn(action.shape, generator=again)
    u = torch.rand(1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    first, last = (1 / (1 + (bound / 0.5) ** -2) for bound in (0.02, 5.0))
    sigma = (0.5 * torch.logit(first + (last - first) * u) + math.log(0.5)).exp().float()
    torch.testing.assert_close(got[0], denoising_loss(network, action, sigma, noise, 0.5, mask))
    torch.testing.assert_close(seen["sigma"], sigma)


def test_what_is_done_in_two_ways_is_not_answered_by_the_mean():
    """Actions of (1, 1) or (-1, -1) for the same state: samples are near either, about half of them near each."""
    torch.manual_seed(0)
    actor = DenoisingActor(**GIVEN, horizon=1, width=64, blocks=2, steps=10)
    optimizer, rng = torch.optim.Adam(actor.parameters(), lr=2e-3), torch.Generator().manual_seed(0)
    state, latent, mask = torch.zeros(64, 2), torch.zeros(64, 1), torch.ones(64, 1, dtype=torch.bool)
    ways = torch.where(torch.arange(64) % 2 == 0, 0.8, -0.8).view(-1, 1, 1).expand(-1, 1, 2)
    for _ in range(300):
        loss = actor.surprise(state, latent, ways, mask, torch.ones(2), rng).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        drawn = actor.act(torch.zeros(400, 2), torch.zeros(400, 1), torch.randn(400, 2, generator=rng))
    apart = (drawn.abs() - 0.8).abs().amax((1, 2))
    assert (apart < 0.2).float().mean() > 0.9
    assert 0.35 < (drawn[:, 0].sum(1) > 0).float().mean() < 0.65


def test_settings_of_actors_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="GaussianActor: expected a positive spread"):
        GaussianActor(**GIVEN, width=8, layers=1, spread=0.0)
    with pytest.raises(ConfigError, match="DenoisingActor: expected horizon"):
        DenoisingActor(**GIVEN, horizon=0)


def test_the_expectile_of_a_known_sample():
    """Of two values a < b, equally frequent, the tau-expectile is a + tau (b - a)."""
    sample, estimate = torch.tensor([1.0, 5.0]), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([estimate], lr=0.2)
    for _ in range(200):
        error = sample - estimate
        optimizer.zero_grad()
        (expectile_weight(error, 0.9) * error**2).mean().backward()
        optimizer.step()
    assert float(estimate.detach()) == pytest.approx(1.0 + 0.9 * 4.0, abs=1e-4)


def test_directions_have_unit_length_and_distances_a_gradient_at_zero():
    here, there = torch.zeros(2, 3), torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    torch.testing.assert_close(distance(here, there), torch.tensor([5.0, 1e-3]))
    torch.testing.assert_close(toward(here, there), torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(toward(here, there, reach=5.0)[0], torch.tensor([0.6, 0.8, 0.0]))
    torch.testing.assert_close(toward(here, there, reach=20.0)[0], torch.tensor([0.15, 0.2, 0.0]))
    distance(here, there).sum().backward()
    assert torch.isfinite(there.grad).all()


def test_the_temporal_difference_by_hand():
    """The lesser target decides on which side of the expectile a sample lies; each value follows its own target."""
    values = (torch.tensor([-3.0, -3.0, -2.0]), torch.tensor([-5.0, -1.0, -2.0]))
    targets = (torch.tensor([-2.0, -4.0, -9.0]), torch.tensor([-1.0, -6.0, -9.0]))
    now = (torch.tensor([-4.0, -3.0, 1.0]), torch.tensor([-4.0, -3.0, 1.0]))
    loss = temporal_difference(values, targets, now, torch.tensor([False, False, True]), discount=0.5, expectile=0.9)
    # first: -1 - 0.5 * 2 = -2 > -4: weight 0.9, errors -2 + 3 and -1.5 + 5; second: -4 < -3: weight 0.1, -3 + 3 and -4 + 1
    # third: the state is its goal: 0 - 1 < 0: weight 0.1, 0 + 2 and 0 + 2
    torch.testing.assert_close(loss, torch.tensor([0.9 * (1.0 + 3.5**2), 0.1 * 9.0, 0.1 * 8.0]))


def test_on_a_chain_distances_are_shortest_paths():
    """Six states in a row, steps left and right equally often: only the optimistic expectile finds the shortest path.

    With tau = 0.98 a step toward the goal counts 0.98 and one away from it 0.02, so that a distance of d steps becomes
    d / (0.98 - 0.02).
    """
    torch.manual_seed(0)
    phi, targets = ([Embedding(6, [], size=4, width=32, layers=1) for _ in range(2)] for _ in range(2))
    for own, target in zip(phi, targets, strict=True):
        target.load_state_dict(own.state_dict())
    weights, slow = ([p for net in nets for p in net.parameters()] for nets in (phi, targets))
    optimizer, scene = torch.optim.Adam(weights, lr=3e-3), torch.eye(6)
    here, goal, move = torch.cartesian_prod(torch.arange(6), torch.arange(6), torch.tensor([-1, 1])).T
    there = (here + move).clamp(0, 5)
    for _ in range(500):
        values = [-distance(net(scene)[here], net(scene)[goal]) for net in phi]
        with torch.no_grad():
            following, now = ([-distance(net(scene)[s], net(scene)[goal]) for net in targets] for s in (there, here))
        loss = temporal_difference(values, following, now, here == goal, discount=1.0, expectile=0.98).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(slow, weights, 0.05)
    with torch.no_grad():
        learned = torch.cdist(phi[0](scene), phi[0](scene))
    steps = (torch.arange(6).unsqueeze(0) - torch.arange(6).unsqueeze(1)).abs().float()
    assert float((learned - steps / 0.96).abs().max()) < 0.1
    assert float((learned - steps).abs().max()) < 0.3


def test_least_squares_recover_a_planted_latent_despite_noise():
    rng = torch.Generator().manual_seed(0)
    change, planted = torch.randn(5000, 6, generator=rng), torch.tensor([0.6, 0.0, -0.8, 0.0, 0.0, 0.0])
    reward = 3.0 * change @ planted + 0.5 * torch.randn(5000, generator=rng)
    torch.testing.assert_close(solve_reward(change, reward), planted, atol=0.02, rtol=0)


def test_the_ridge_shrinks_what_hardly_changes():
    """Where columns do not correlate, z_i is along c_i / (v_i + ridge v): v_i a mean square, c_i that of x_i times reward."""
    change = torch.tensor([[2.0, 0.1], [2.0, -0.1], [-2.0, 0.1], [-2.0, -0.1]])  # v_1 = 4, v_2 = 0.01, their mean 2.005
    reward = torch.tensor([1.2, 0.8, -0.8, -1.2])  # c_1 = 2, c_2 = 0.02
    plain, shrunk = torch.tensor([2 / 4, 0.02 / 0.01]), torch.tensor([2 / (4 + 2.005), 0.02 / (0.01 + 2.005)])
    torch.testing.assert_close(solve_reward(change, reward), plain / plain.norm())
    torch.testing.assert_close(solve_reward(change, reward, ridge=1.0), shrunk / shrunk.norm())


def test_rewards_that_say_nothing_are_refused():
    with pytest.raises(ConfigError, match="got 0 of 10 with a reward"):
        solve_reward(torch.randn(10, 3), torch.zeros(10))


def test_midpoints_by_hand():
    """On a line with states at 0, 1, ..., 8 the middle of 0 and 8 is 4, then 2, then 1."""
    known = torch.stack([torch.arange(9.0), torch.zeros(9)], dim=1)
    start, end = torch.zeros(1, 2), torch.tensor([[8.0, 0.0]])
    found = [midpoint(start, end, known, nearest=1, halvings=n)[0, 0].item() for n in range(4)]
    assert found == [8.0, 4.0, 2.0, 1.0]
    # the three nearest to the middle are 3, 4, 5, whose farther ends lie at 5, 4, 5
    torch.testing.assert_close(
        midpoint(start, end, known + torch.tensor([0.0, 1.0]), nearest=3, halvings=1)[0], torch.tensor([4.0, 1.0])
    )


def test_squared_distances_add_up_over_objects():
    torch.manual_seed(0)
    phi = Embedding(7, [[1, 2], [5, 6]], size=6, width=8, layers=1)
    one, other = torch.randn(3, 7), torch.randn(3, 7)
    first_only = one.clone()
    first_only[:, [1, 2]] = other[:, [1, 2]]
    moved = (phi(first_only) - phi(one)).abs() > 1e-6
    assert moved.any(0).tolist() == [False, False, True, True, False, False]
    assert phi.object_columns == [[2, 3], [4, 5]]
    with pytest.raises(ConfigError, match="a multiple of 3"):
        Embedding(7, [[1, 2], [5, 6]], size=7, width=8, layers=1)


def test_networks_without_objects_are_plain_perceptrons():
    net = Conditioned(state_size=3, state_objects=[], latent_size=4, latent_objects=[], extra=2, outputs=1, width=8, layers=2)
    assert net(torch.zeros(5, 3), torch.zeros(5, 4), torch.zeros(5, 2)).shape == (5, 1)
    assert net.layers[0].in_features == 9
