"""BESO against computations done by hand, and what its windows may and may not know."""

import math

import numpy as np
import pytest
import torch

from robot_learning.core.errors import SpecMismatch
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.windows import Windows, WindowSpec
from robot_learning.nn.denoiser import denoise, denoise_at
from robot_learning.nn.samplers import SAMPLERS
from robot_learning.policies.policy import build_policy
from tests.datasets.episodes import STATE_SPEC, make_episode
from tests.policies.test_policies import MLP_SCORE, NETWORKS
from tests.policies.test_policies import TestBESOPerceptron as Perceptron
from tests.policies.test_policies import TestBESOPerceptronSeesPastActions as PastPerceptron
from tests.policies.test_policies import TestBESOTransformer as Transformer

KEYS = ["joint_position", "pose"]
BOTH = pytest.mark.parametrize(
    "case", [Transformer(), Perceptron(), PastPerceptron()], ids=["transformer", "perceptron", "past"]
)
BESO = "robot_learning.policies.beso.beso.BESO"
GCBC = "robot_learning.policies.gcbc.GCBC"
LEARNED = [  # policy, network
    (BESO, f"{NETWORKS}.TransformerScore"),
    (BESO, MLP_SCORE),
    (GCBC, "robot_learning.policies.gcbc.TransformerTrunk"),
    (GCBC, "robot_learning.policies.gcbc.MLPTrunk"),
]


@pytest.mark.parametrize("sigma", [0.02, 0.5, 5.0])
def test_one_level_for_all_is_the_same_denoiser(sigma):
    network = lambda x, level: x.sin() * level.view(-1, 1, 1).exp()  # noqa: E731
    x = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    wanted = denoise(network, x, torch.full((4,), sigma), 0.5)
    torch.testing.assert_close(denoise_at(network, x, sigma, 0.5), wanted, atol=1e-6, rtol=1e-6)


@BOTH
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_acting_is_sampling_with_the_denoiser_of_the_loss(case, sampler):
    """The chunk equals one put together from ``denoise``, the function that the loss is made of."""
    policy, window, goal = case.make(sampler=sampler, goal_dropout=0.1, guidance=2.0), case.window(2), case.goal(2)
    noise = case.noise(policy, 2)["noise"]
    states = policy.encoder.observe({key: torch.as_tensor(window[key]) for key in case.observation_keys})
    aimed = policy.encoder.aim({key: torch.as_tensor(value) for key, value in goal.items()})

    def estimate(x, sigma):
        level = torch.full((2,), sigma)
        plain, free = (
            denoise(lambda y, c, g=g: policy.network(policy.network.context(states, g), y, c), x, level, 0.5)
            for g in (aimed, torch.zeros_like(aimed))
        )
        return free + 2.0 * (plain - free)

    x = noise * policy._sigmas[0]
    if policy.n_past:
        x[:, :1] = policy.actions(torch.as_tensor(window["action"]))
    with torch.no_grad():
        sample = SAMPLERS[sampler](estimate, x, policy._sigmas, torch.Generator().manual_seed(4))
        wanted = policy.actions.inverse(sample[:, policy.n_past :].clamp(-1.1, 1.1)).numpy()
    policy.reset(seed=4)
    np.testing.assert_allclose(policy.act(window, goal, noise=noise), wanted, atol=1e-5)


def test_guidance_costs_no_more_evaluations():
    policy = Perceptron().make(goal_dropout=0.1, guidance=2.0)
    sizes = []
    policy.network.register_forward_hook(lambda _module, inputs, _output: sizes.append(len(inputs[1])))
    policy.act(Perceptron().window(3), Perceptron().goal(3))
    assert sizes == [6, 6, 6]


def test_several_draws_are_the_loss_of_a_batch_that_many_times():
    one, three = Perceptron().make(draws=1), Perceptron().make(draws=3)
    three.load_state_dict(one.state_dict())
    batch = Perceptron().batch(4)
    thrice = {key: value for key, value in batch.items() if key != "index"}
    thrice = torch.utils._pytree.tree_map(lambda value: torch.cat([value] * 3), thrice)
    for policy in (one, three):
        policy.train()
    wanted, _ = one.loss(thrice, torch.Generator().manual_seed(5))
    got, _ = three.loss(batch, torch.Generator().manual_seed(5))
    torch.testing.assert_close(got, wanted)
    three.eval()
    single, _ = one.loss(batch, torch.Generator().manual_seed(5))
    torch.testing.assert_close(three.loss(batch, torch.Generator().manual_seed(5))[0], single, msg="validation draws once")


class Linear(torch.nn.Module):
    """F = x W + u (s, g) + v c_noise, with weights that a hand can follow."""

    past_actions = True

    def __init__(self, n_obs, horizon, state_size, goal_size, action_size):
        super().__init__()
        self.register_buffer("w", torch.tensor([[0.5, -0.25], [0.125, 1.0]]))
        self.scale = torch.nn.Parameter(torch.ones(()))

    def context(self, states, goal):
        return 0.1 * states.sum((1, 2)) + 0.3 * goal.sum(1)

    def forward(self, context, actions, noise):
        return self.scale * (actions @ self.w + (context + 2.0 * noise).view(-1, 1, 1))


def test_the_loss_of_a_linear_network_in_numpy():
    """Every number from the batch to the loss, in float64 NumPy, without a line of the policy's code."""
    case = Transformer()
    policy, batch = case.make().double().eval(), case.batch(4)
    policy.network = Linear(2, 3, 5, 3, 2).double()
    generator = torch.Generator().manual_seed(3)
    value, _ = policy.loss(batch, generator)
    generator.manual_seed(3)
    uniform = torch.rand(4, generator=generator, dtype=torch.float64).numpy()
    noise = torch.randn(4, 4, 2, generator=generator).double().numpy()
    first, last = (1 / (1 + math.exp(-(math.log(bound) - math.log(0.5)) / 0.5)) for bound in (0.05, 1.0))
    u = first + (last - first) * uniform
    sigma = np.exp(0.5 * np.log(u / (1 - u)) + math.log(0.5)).astype(np.float32).astype(np.float64)[:, None, None]
    clean = batch["action"].double().numpy() / np.array([2.0, 1.0])
    observed = {key: array.double().numpy() for key, array in batch["observation"].items()}
    spreads = {"position": 2 / 3.5, "velocity": 6 / 3.5}
    summed = sum((observed[key] / np.float32(spread)).sum((1, 2)) for key, spread in spreads.items())
    aimed = (batch["goal"]["position"].double().numpy() / np.float32(spreads["position"])).sum(1)
    context = (0.1 * summed + 0.3 * aimed)[:, None, None]
    noisy = clean + sigma * noise
    variance = sigma**2 + 0.25
    output = (noisy / np.sqrt(variance)) @ np.array([[0.5, -0.25], [0.125, 1.0]]) + context + 2.0 * np.log(sigma) / 4
    target = (clean - 0.25 / variance * noisy) / (sigma * 0.5 / np.sqrt(variance))
    output = output.astype(np.float32)  # the loss reads networks out in float32, whatever they compute in
    wanted = ((output - target) ** 2)[batch["action_mask"].numpy()].mean()
    assert float(value.detach()) == pytest.approx(wanted, rel=1e-12)


def test_goal_dropout_hides_whole_goals_at_its_rate():
    case = Perceptron()
    policy, batch = case.make(goal_dropout=0.25).train(), case.batch(2000)
    seen = []
    embed = policy.network.context
    policy.network.context = lambda states, goal: seen.append(goal) or embed(states, goal)
    policy.loss(batch, torch.Generator().manual_seed(0))
    hidden = (seen[0] == 0).all(1)
    assert float(hidden.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert not (seen[0][~hidden] == 0).any()
    policy.eval().loss(batch, torch.Generator().manual_seed(0))
    assert not (seen[1] == 0).all(1).any()


@BOTH
def test_wrong_past_actions_and_goals_are_named(case):
    policy = case.make()
    with pytest.raises(SpecMismatch, match=r"'position': expected shape \(2, 3\), got \(2, 4\)"):
        policy.act(case.window(2), {"position": np.zeros((2, 4), np.float32)})
    if policy.n_past:
        window = {**case.window(2), "action": np.zeros((1, 1, 2), np.float32)}
        with pytest.raises(SpecMismatch, match=r"'action': expected shape \(2, 1, 2\), got \(1, 1, 2\)"):
            policy.act(window, case.goal(2))
        window = case.window(2)
        with pytest.raises(SpecMismatch, match=r"'action': expected shape \(2, 1, 2\), got \(2, 3, 2\)"):
            policy.act({**window, "action": np.zeros((2, 3, 2), np.float32)}, case.goal(2))
        del window["action"]
        with pytest.raises(SpecMismatch, match="'action': missing"):
            policy.act(window, case.goal(2))


def state_windows(path, episode):
    with DemoStore.create(path, STATE_SPEC) as store:
        store.append(episode)
        windows = Windows(store, WindowSpec(n_obs=2, n_action=3, goal="n_step", goal_range=(1, 4)), KEYS, KEYS)
        return windows.gather(np.array([3]), np.random.default_rng(0)), store.statistics()


@pytest.mark.parametrize(("target", "network"), LEARNED, ids=lambda name: name.rsplit(".", 1)[1])
def test_nothing_after_the_newest_step_reaches_an_observation(tmp_path, target, network):
    """Rows after the newest observed step changed: the observation, the past action and so the chunk stay."""
    episode, other = make_episode(steps=9), make_episode(steps=9)
    for value in other.observation.values():
        value[4:] = ~value[4:] if value.dtype == bool else value[4:] + 1.0
    other.action[3:] *= -0.5
    batches, chunks = [], []
    for name, each in (("one", episode), ("other", other)):
        batch, statistics = state_windows(tmp_path / name, each)
        batches.append(batch)
        if not chunks:
            torch.manual_seed(0)
            config = {"_target_": target, "observation_keys": KEYS, "goal_keys": KEYS}
            sizes = {"n_obs": 2, "horizon": 3, "network": {"_target_": network}}
            policy = build_policy({**config, **sizes}, STATE_SPEC, statistics).eval()
        policy.reset(seed=0)
        window = {**batch["observation"], "action": batch["action"][:, :1]}
        chunks.append(policy.act(window, {key: batches[0]["goal"][key] for key in KEYS}))
    for key in KEYS:
        np.testing.assert_array_equal(batches[0]["observation"][key], batches[1]["observation"][key])
        assert not np.array_equal(batches[0]["goal"][key], batches[1]["goal"][key])
    np.testing.assert_array_equal(chunks[0], chunks[1])
