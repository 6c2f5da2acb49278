"""ResNet-18's sizes as published, and gradients that reach every weight."""

import pytest
import torch

from robot_learning.nn.resnet import ResNet18


def test_it_has_the_parameters_of_the_paper():
    """11.7 million with the classifier of 513,000; GroupNorm has as many weights as batch norm."""
    assert sum(weight.numel() for weight in ResNet18().parameters()) == 11_689_512 - 513_000


@pytest.mark.parametrize(("stages", "cells", "features"), [(4, (2, 3), 64), (3, (4, 6), 32)])
def test_a_cell_sees_so_many_pixels(stages, cells, features):
    network = ResNet18(4, channels=8, stages=stages)
    maps = network(torch.rand(2, 4, 64, 96))
    assert maps.shape == (2, features, *cells)
    assert network.channels_out == features


def test_an_image_is_encoded_as_if_it_were_alone():
    torch.manual_seed(0)
    network, images = ResNet18(channels=16, stages=2), torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]), atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_weight():
    torch.manual_seed(0)
    network = ResNet18(channels=16, stages=3)
    network(torch.rand(2, 3, 48, 48)).square().sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters())
