"""What a policy moves after every update (target networks): when it is called, and that resuming goes on exactly."""

import copy

import pytest
import torch

from robot_learning.learning.checkpoint import Checkpoints
from robot_learning.learning.learner import Learner
from robot_learning.learning.recipe import Recipe
from robot_learning.policies.gcbc import GCBC
from tests.contracts.policy import SPEC, STATISTICS
from tests.policies import test_policies

CASE = test_policies.TestGCBCPerceptron()
STEPS = 6


class WithTarget(GCBC):
    """Follows its own output layer with a slow copy: ``target <- target + step / steps (weights - target)``."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.target = copy.deepcopy(self.network.mlp).requires_grad_(False)
        self.calls = []

    @torch.no_grad()
    def after_step(self, step, steps):
        self.calls.append((step, steps))
        for slow, fast in zip(self.target.parameters(), self.network.mlp.parameters(), strict=True):
            slow.lerp_(fast, step / steps)


def make(ema=0.9):
    torch.manual_seed(0)
    config = {key: value for key, value in CASE.full_config().items() if key != "_target_"}
    policy = WithTarget(SPEC, STATISTICS, **config)
    policy.robot_spec, policy.statistics = SPEC, STATISTICS
    return Learner(policy, Recipe(lr=1e-3, warmup=0, precision="fp32", ema=ema), steps=STEPS)


def train(learner, until):
    while learner.step_count < until:
        learner.step(CASE.batch(4, seed=learner.step_count))


def test_it_is_called_after_every_update_with_the_updates_made():
    learner = make()
    train(learner, 3)
    assert learner.policy.calls == [(1, STEPS), (2, STEPS), (3, STEPS)]


def test_it_sees_the_weights_as_they_are_after_the_update():
    learner = make()
    first = learner.policy.network.mlp.enter.bias.detach().clone()
    train(learner, 1)
    now = learner.policy.network.mlp.enter.bias.detach()
    assert not torch.equal(first, now)
    torch.testing.assert_close(learner.policy.target.enter.bias, first + (now - first) / STEPS)


def test_the_average_of_the_weights_leaves_the_target_alone():
    learner = make()
    train(learner, 4)
    target = learner.policy.target.enter.bias.clone()
    weights = learner.policy.network.mlp.enter.bias.detach().clone()
    with learner.averaged() as policy:
        assert torch.equal(policy.target.enter.bias, target)
        assert not torch.equal(policy.network.mlp.enter.bias, weights)
    assert not any(name.startswith("target.") for name in learner.ema.weights)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_resumed_the_target_goes_on_where_it_was(tmp_path, ema):
    straight, first, resumed = make(ema), make(ema), make(ema)
    train(straight, STEPS)
    train(first, 3)
    checkpoints = Checkpoints(tmp_path, CASE.full_config(), {})
    checkpoints.save_last(first, {})
    checkpoints.load_last(resumed)
    train(resumed, STEPS)
    one, other = straight.policy.state_dict(), resumed.policy.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert resumed.policy.calls == [(step, STEPS) for step in (4, 5, 6)]
