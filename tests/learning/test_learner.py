"""What makes an update fast leaves its result as it was."""

import pytest
import torch

from robot_learning.learning.learner import Learner
from robot_learning.learning.recipe import Recipe
from tests.policies import test_act, test_policies

GCBC, IMAGES, ACT = test_policies.TestGCBCPerceptron(), test_policies.TestBESOFromImages(), test_act.TestACTFromImages()


def trained(case, steps=3, **recipe):
    settings = {"lr": 1e-3, "warmup": 0, "schedule": "constant", "precision": "fp32", "ema": 0.9} | recipe
    learner = Learner(case.make(), Recipe(**settings), steps=steps)
    for step in range(steps):
        learner.step(case.batch(8, seed=step))
    return learner


def assert_same_weights(one, other, tolerance):
    for (name, value), wanted in zip(one.policy.state_dict().items(), other.policy.state_dict().values(), strict=True):
        torch.testing.assert_close(value, wanted, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")
    for name, value in one.ema.weights.items():
        torch.testing.assert_close(value, other.ema.weights[name], rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", [IMAGES, ACT], ids=["small", "ResNet-18"])
def test_channels_last_changes_the_memory_and_not_the_result(case):
    """After one update: where a gradient is zero, Adam magnifies what rounding leaves of it in later ones."""
    one, other = (trained(case, 1, channels_last=last) for last in (True, False))
    assert_same_weights(one, other, 1e-5)
    kernels = [weight for weight in one.policy.parameters() if weight.dim() == 4 and weight.shape[2] > 1]
    assert kernels
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)


def test_pieces_without_padding_make_the_update_of_the_whole_batch():
    class Unpadded(test_policies.TestGCBCPerceptron):
        def batch(self, size, seed=0):
            batch = super().batch(size, seed)
            return batch | {"action_mask": torch.ones_like(batch["action_mask"])}

    whole, *others = (trained(Unpadded(), accumulate=pieces) for pieces in (1, 2, 4))
    for other in others:
        assert_same_weights(whole, other, 1e-6)


def test_the_fused_update_is_adams():
    """At the first update both moments are the gradient's, so that a weight moves by lr and decays by lr * decay."""
    learner, first = trained(GCBC, 1, lr=0.01, weight_decay=0.1, clip=None), GCBC.make()
    assert learner.optimizer.defaults["fused"]
    first.train().loss(GCBC.batch(8), torch.Generator())[0].backward()
    for (name, weight), moved in zip(first.named_parameters(), learner.policy.parameters(), strict=True):
        decay = 0.01 * 0.1 if weight.dim() >= 2 else 0.0
        wanted = weight * (1 - decay) - 0.01 * weight.grad / (weight.grad.abs() + 1e-8)
        torch.testing.assert_close(moved, wanted, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_half_precision_computes_the_loss_and_keeps_the_weights():
    half, full = (trained(GCBC, 1, precision=precision) for precision in ("bf16", "fp32"))
    assert {weight.dtype for weight in half.policy.parameters()} == {torch.float32}
    losses = [float(learner.step(GCBC.batch(8))["loss"]) for learner in (half, full)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of itself
@pytest.mark.parametrize("case", [GCBC, test_policies.TestBESOPerceptron()], ids=["gcbc", "beso"])
def test_a_compiled_loss_trains_the_same_weights(case):
    assert_same_weights(trained(case, compile=True), trained(case), 1e-5)
