"""A policy answers the same whatever runs it; ONNX has tests of its own."""

import numpy as np
import pytest
import torch

from robot_learning.core.errors import CheckpointError, ConfigError, UnknownName
from robot_learning.policies.policy import save_policy
from robot_learning.serving.backends import load_backend
from tests.policies.test_play_lmp import TestPlayLMP as PlayLMP

CASE = PlayLMP()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    save_policy(folder, CASE.make(replan=2), CASE.full_config(replan=2), {})
    return folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TorchInductor's own
def test_compiled_it_answers_and_remembers_the_same(checkpoint):
    plain, compiled = (load_backend(name, checkpoint, "cpu", {}) for name in ("torch", "compiled"))
    for policy in (plain, compiled):
        policy.reset(seed=3)
    for step in range(3):
        window, goal = CASE.window(1, seed=step), CASE.goal(1)
        np.testing.assert_allclose(compiled.act(window, goal), plain.act(window, goal), atol=1e-5)


@pytest.mark.gpu
def test_a_cuda_graph_answers_and_remembers_the_same(checkpoint):
    plain, captured = (load_backend(name, checkpoint, "cuda", {}) for name in ("torch", "compiled"))
    noise = torch.randn(6, 1, *plain.noise_shape, generator=torch.Generator().manual_seed(0))
    for step in range(6):
        window, goal = CASE.window(1, seed=step), CASE.goal(1)
        wanted = plain.act(window, goal, noise=noise[step])
        np.testing.assert_allclose(captured.act(window, goal, noise=noise[step]), wanted, atol=1e-4)


def test_settings_reach_the_policy(checkpoint):
    assert load_backend("torch", checkpoint, "auto", {"replan": 7}).replan == 7


def test_what_cannot_be_done_is_said(checkpoint):
    with pytest.raises(UnknownName, match="'onxx'; nearest: onnx"):
        load_backend("onxx", checkpoint, "cpu", {})
    with pytest.raises(ConfigError, match="no overrides and device=cpu"):
        load_backend("onnx", checkpoint, "cuda", {})
    with pytest.raises(CheckpointError, match="robot-learning export"):
        load_backend("onnx", checkpoint, "cpu", {})
