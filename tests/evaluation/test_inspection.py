"""What the page about a checkpoint says is what the policy is."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from robot_learning.cli.main import main
from robot_learning.core.errors import MissingExtra
from robot_learning.datasets.store import DemoStore
from robot_learning.evaluation.inspection import add_map, inspect_checkpoint
from robot_learning.evaluation.report import Report
from robot_learning.policies.policy import LearnedPolicy, save_policy
from tests.contracts.policy import SPEC
from tests.datasets.episodes import make_episode
from tests.policies.test_diffusion_policy import TestDiffusionPolicy as DiffusionPolicy
from tests.policies.test_play_lmp import TestPlayLMP as PlayLMP
from tests.policies.test_policies import TestBESOTransformer as BESOTransformer
from tests.policies.test_policies import TestGCBCPerceptron as GCBCPerceptron


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny.zarr"
    with DemoStore.create(path, SPEC) as opened:
        opened.append(make_episode(SPEC, 30))
    return path


def save(case, folder, stores, **changes):
    policy = case.make(**changes)
    save_policy(folder, policy, case.full_config(**changes), {"stores": {str(path): "abc" for path in stores}, "step": 5})
    return policy


def test_image_encoders_have_a_row_of_their_own(store, tmp_path):
    """ResNet-18's first stage alone, see test_resnet.py for the whole; the projection is of 2 x 8 coordinates to 12."""
    case = GCBCPerceptron()
    case.observation_keys = ("camera", "velocity")
    encoder = {"_target_": "robot_learning.nn.resnet.ResNetEncoder", "channels": 8, "stages": 1, "size": 12}
    save(case, tmp_path, [store], vision={"encoder": encoder})
    page = inspect_checkpoint(tmp_path).write(tmp_path / "page").read_text()
    convolutions, norms = 3 * 8 * 49 + 4 * 8 * 8 * 9, 5 * 2 * 8
    count = convolutions + norms + (2 * 8 * 12 + 12) + 2 * 12
    assert "encoder.images.encoders.camera (ResNetEncoder)" in page
    assert f"{count:,}" in page


@pytest.mark.parametrize("case", [BESOTransformer(), DiffusionPolicy()], ids=["beso", "diffusion"])
def test_a_trace_ends_with_the_answer(case):
    policy = case.make()
    seen = {key: torch.as_tensor(value) for key, value in case.window(2).items()}
    goal = {key: torch.as_tensor(value) for key, value in case.goal(2).items()}
    noise = policy.draw_noise(2, torch.Generator().manual_seed(0))
    with torch.inference_mode():
        trace = policy.trace(seen, goal, noise)
        answer, _ = policy(seen, goal, noise, {})
    assert len(trace) == (3 if isinstance(case, BESOTransformer) else 10)
    last = trace[-1][1].clamp(answer.min(), answer.max())
    torch.testing.assert_close(last, answer, atol=1e-5, rtol=1e-5)


def test_the_page_counts_parameters_and_names_elements(tmp_path, store):
    policy = save(BESOTransformer(), tmp_path / "policy", [store])
    page = inspect_checkpoint(tmp_path / "policy").write(tmp_path / "page").read_text()
    assert f"{sum(value.numel() for value in policy.parameters()):,}" in page
    assert f"network ({type(policy.network).__name__})" in page
    assert "position" in page
    assert "m/s" in page
    assert "-2 to 2" in page
    assert "abc" in page
    assert page.count("How an answer comes about: ") >= 2


def test_without_its_data_the_page_says_what_to_give(tmp_path, store, caplog):
    save(BESOTransformer(), tmp_path / "policy", [tmp_path / "gone.zarr"])
    page = inspect_checkpoint(tmp_path / "policy").write(tmp_path / "page").read_text()
    assert "Give stores=[...]" in page
    page = inspect_checkpoint(tmp_path / "policy", [str(store)]).write(tmp_path / "page").read_text()
    assert "Give stores" not in page


def test_a_policy_with_nothing_to_trace_has_no_such_figure(tmp_path, store, capsys):
    policy = save(GCBCPerceptron(), tmp_path / "policy", [store])
    assert type(policy).trace is LearnedPolicy.trace
    assert main(["inspect", f"checkpoint={tmp_path / 'policy'}", f"out={tmp_path / 'page'}"]) == 0
    assert "How an answer comes about" not in (tmp_path / "page" / "index.html").read_text()
    assert capsys.readouterr().out.strip() == str(tmp_path / "page" / "index.html")
    assert np.isfinite(policy.act(GCBCPerceptron().window(1), GCBCPerceptron().goal(1))).all()


def test_a_checkpoint_is_asked_for(capsys):
    assert main(["inspect"]) == 2
    assert "checkpoint=runs/train" in capsys.readouterr().err


def test_plans_are_mapped_by_task(tmp_path):
    path = tmp_path / "tasks.zarr"
    with DemoStore.create(path, SPEC) as opened:
        for index in range(14):
            episode = make_episode(SPEC, 12, seed=index)
            opened.append(replace(episode, meta={"task": "push <red>" if index % 2 else "lift"}))
    save(PlayLMP(), tmp_path / "policy", [path])
    page = inspect_checkpoint(tmp_path / "policy").write(tmp_path / "page").read_text()
    assert page.count("<circle") == 14 * (720 // 14)
    assert page.count("<title>lift</title>") == page.count("<title>push &lt;red&gt;</title>") == 7 * (720 // 14)


def test_too_few_windows_are_no_map(tmp_path):
    report = Report("few")
    path = tmp_path / "few.zarr"
    with DemoStore.create(path, SPEC) as opened:
        opened.append(make_episode(SPEC, 12))
    policy = save(PlayLMP(), tmp_path / "policy", [path])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robot_learning.evaluation.inspection._POINTS", 5)
        add_map(report, policy, [str(path)], seed=0)
    assert "too few for a map" in report.write(tmp_path / "page").read_text()


def test_without_scikit_learn_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(MissingExtra, match=r"robot-learning\[inspect\]"):
        add_map(Report("none"), PlayLMP().make(), [], seed=0)
