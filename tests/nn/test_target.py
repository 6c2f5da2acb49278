"""Slow copies move by the amount worked out by hand, and by nothing else."""

import pytest
import torch
from torch import nn

from robot_learning.nn.target import SlowCopy, linear_momentum


def test_it_follows_by_hand():
    source = nn.Linear(1, 1)
    nn.init.constant_(source.weight, 2.0)
    nn.init.constant_(source.bias, -1.0)
    slow = SlowCopy(source)
    source.weight.data.fill_(4.0)
    source.bias.data.fill_(1.0)
    assert slow(torch.ones(1)).item() == 1.0, "a copy, not the network itself"
    slow.follow(source, 0.75)
    assert slow.network.weight.item() == pytest.approx(0.75 * 2.0 + 0.25 * 4.0)
    assert slow.network.bias.item() == pytest.approx(0.75 * -1.0 + 0.25 * 1.0)
    assert source.weight.item() == 4.0


def test_it_has_no_gradient_and_never_trains():
    slow = SlowCopy(nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5)))
    nn.Sequential(slow).train()
    x = torch.ones(1, 3, requires_grad=True)
    answer = slow(x)
    assert not answer.requires_grad
    assert not any(weight.requires_grad for weight in slow.parameters())
    assert torch.equal(answer, slow(x)), "no dropout"


def test_buffers_stay():
    source = nn.BatchNorm1d(2)
    slow = SlowCopy(source)
    source.running_mean.fill_(3.0)
    slow.follow(source, 0.5)
    assert slow.network.running_mean.tolist() == [0.0, 0.0]


def test_the_momentum_rises_on_a_line():
    assert [linear_momentum(0.9, step, 4) for step in (1, 2, 3, 4)] == pytest.approx([0.9, 0.925, 0.95, 0.975])
    assert linear_momentum(0.996, 5, 4) == pytest.approx(1.0)
