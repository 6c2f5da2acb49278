"""Training: resuming is exact, checkpoints are whole or refused, divergence stops."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robot_learning.core.errors import CheckpointError, ConfigError, Diverged
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.stores import open_stores
from robot_learning.learning.recipe import Recipe
from robot_learning.learning.trainer import TrainerSettings
from robot_learning.learning.training import DataSettings, train_policy, usable_episodes
from robot_learning.policies.policy import load_policy
from tests.contracts.policy import SPEC
from tests.learning.conftest import episode
from tests.nn.tiny_models import ENCODER, save_tiny
from tests.policies import test_policies
from tests.policies.test_language import TestContexts as Contexts
from tests.policies.test_language import TestGCBCReads as GCBCReads

BESO, GCBC, IMAGES = test_policies.TestBESOPerceptron, test_policies.TestGCBCPerceptron, test_policies.TestBESOFromImages
QUIET = TrainerSettings(log_every=1, validate_every=2, save_every=2, tensorboard=False, progress="none")
RECIPE = Recipe(lr=1e-3, warmup=2, precision="fp32", channels_last=True)


def train(store, out, steps, case=BESO, *, resident="auto", **options):
    data = DataSettings([store], goal_range=(1, 8), batch_size=8, validation=0.25, resident=resident)
    settings = {"settings": QUIET, "recipe": RECIPE, "device": "cpu", "seed": 3, **options}
    return train_policy(case().full_config(), data, out, steps=steps, **settings)


def files(folder):
    return {name: (folder / name).read_bytes() for name in ("weights.safetensors", "raw.safetensors", "optimizer.safetensors")}


@pytest.mark.parametrize(("case", "accumulate"), [(BESO, 1), (BESO, 3), (GCBC, 1), (IMAGES, 1)])
def test_stopped_and_resumed_is_bit_for_bit_straight_through(store, tmp_path, case, accumulate):
    options = {"recipe": replace(RECIPE, accumulate=accumulate)}
    straight = train(store, tmp_path / "straight", 6, case, **options)
    train(store, tmp_path / "twice", 6, case, max_seconds=0.0, **options)  # stops at once, before the first step
    with pytest.raises(ConfigError, match="resume=true"):
        train(store, tmp_path / "twice", 6, case, **options)
    first = train(store, tmp_path / "resumed", 6, case, settings=QUIET, max_seconds=1e9, **options)
    assert files(first.checkpoint) == files(straight.checkpoint)
    for steps in (2, 4):  # the schedule is that of six steps, so stop by hand after some of them
        stop_after(store, tmp_path / "parts", steps, case, **options)
    resumed = train(store, tmp_path / "parts", 6, case, resume=True, **options)
    assert resumed.steps == 6
    assert files(resumed.checkpoint) == files(straight.checkpoint)


def test_a_pretrained_encoder_is_taken_from_its_source_once(store, tmp_path):
    """The run resumes, and its checkpoint loads, where the source is gone; LoRA leaves the published weights as they were."""
    published = save_tiny("dinov2", tmp_path / "source").state_dict()
    case = GCBC()
    case.observation_keys, case.goal_keys = ("camera", "velocity"), ("camera",)
    encoder = {"_target_": ENCODER, "source": str(tmp_path / "source"), "mode": "lora", "rank": 2}
    config, options = case.full_config(vision={"encoder": encoder}), {"settings": QUIET, "recipe": RECIPE, "seed": 3}
    data = DataSettings([store], goal_range=(1, 8), batch_size=8, validation=0.25)
    train_policy(config, data, tmp_path / "run", steps=2, device="cpu", **options)
    shutil.rmtree(tmp_path / "source")
    result = train_policy(config, data, tmp_path / "run", steps=4, device="cpu", resume=True, **options)
    trained = load_policy(result.checkpoint).encoder.images.encoders["camera"].model.state_dict()
    kept = {name.replace(".base_layer", ""): weight for name, weight in trained.items() if "lora_" not in name}
    assert set(kept) == set(published)
    assert all(torch.equal(kept[name], weight) for name, weight in published.items())
    assert all(weight.abs().sum() > 0 for name, weight in trained.items() if "lora_B" in name), "which began at zero"
    with pytest.raises(ConfigError, match="expected a folder or a hub id"):
        train_policy(config, data, tmp_path / "other", steps=2, device="cpu", **options)


def stop_after(store, out, steps, case, **options):
    """Train a run of six steps and stop it after ``steps``, as a signal would."""
    from robot_learning.learning import trainer

    class Stop(trainer.Interrupt):
        @property
        def requested(self):
            return count["now"] >= steps

        @requested.setter
        def requested(self, value):
            pass

    count = {"now": 2 if (out / "checkpoints/last").exists() else 0}
    original, advance = trainer.Interrupt, trainer.Progress.advance

    def counted(self):
        count["now"] += 1
        advance(self)

    trainer.Interrupt, trainer.Progress.advance = Stop, counted
    try:
        result = train(store, out, 6, case, resume=(out / "checkpoints/last").exists(), **options)
    finally:
        trainer.Interrupt, trainer.Progress.advance = original, advance
    assert result.interrupted
    assert result.steps == steps


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_where_the_data_lie_changes_no_weight(store, tmp_path, device):
    host, there = (
        train(store, tmp_path / str(resident), 4, IMAGES, device=device, resident=resident) for resident in (False, True)
    )
    one, other = (load_file(result.checkpoint / "raw.safetensors") for result in (host, there))
    for name, value in one.items():  # a GPU may add in another order
        torch.testing.assert_close(value, other[name], rtol=0, atol=0.0 if device == "cpu" else 1e-5)


def test_another_seed_gives_other_weights(store, tmp_path):
    one, two = train(store, tmp_path / "one", 2), train(store, tmp_path / "two", 2, seed=4)
    assert files(one.checkpoint) != files(two.checkpoint)


def test_figures_and_provenance_are_written(store, tmp_path):
    result = train(store, tmp_path / "run", 4, command="robot-learning train ...")
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in rows if "validation/loss" in row] == [2, 4]
    header = json.loads((result.checkpoint / "policy.json").read_text())
    with DemoStore.open(store) as demos:
        assert demos.fingerprint() in header["provenance"]["stores"].values()
    assert (tmp_path / "run/checkpoints/best/policy.json").is_file()


@pytest.mark.parametrize(
    "name", ["trainer.json", "policy.json", "raw.safetensors", "optimizer.safetensors", "weights.safetensors"]
)
def test_a_truncated_checkpoint_is_refused(store, tmp_path, name):
    path = train(store, tmp_path / "run", 2).checkpoint / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if name == "policy.json":
        from robot_learning.policies.policy import load_policy

        with pytest.raises(CheckpointError, match=name):
            load_policy(path.parent)
    else:
        with pytest.raises(CheckpointError, match=name):
            train(store, tmp_path / "run", 4, resume=True)


def test_nothing_to_resume_from(store, tmp_path):
    with pytest.raises(CheckpointError, match="nothing to resume from"):
        train(store, tmp_path / "run", 4, resume=True)


def test_a_checkpoint_of_another_policy_is_refused(store, tmp_path):
    train(store, tmp_path / "run", 2)
    with pytest.raises(CheckpointError):
        train(store, tmp_path / "run", 4, GCBC, resume=True)


def test_a_policy_that_reads_learns_from_episodes_with_instructions(tmp_path, store, caplog):
    rng = np.random.default_rng(1)
    with DemoStore.create(tmp_path / "told.zarr", SPEC) as made:
        for number in range(6):
            made.append(replace(episode(rng), instruction="go on" if number % 2 else ""))
    with open_stores(tmp_path / "told.zarr") as told, open_stores(store) as play:
        assert usable_episodes(GCBC().make(), told) == [0, 1, 2, 3, 4, 5]
        assert usable_episodes(GCBCReads().make(), told) == [1, 3, 5]
        assert "3 of 6 episodes have no instruction and are left out" in caplog.text
        assert usable_episodes(Contexts().make(), told) == [0, 1, 2, 3, 4, 5]
        for case in (GCBCReads, Contexts):
            with pytest.raises(ConfigError, match="'instruction' wants episodes with instructions, got 4 without"):
                usable_episodes(case().make(), play)
    result = train(str(tmp_path / "told.zarr"), tmp_path / "run", 2, GCBCReads)
    assert load_policy(result.checkpoint).goal_choices == (("instruction",),)


def test_divergence_stops_and_the_last_good_checkpoint_stays(store, tmp_path):
    good = train(store, tmp_path / "run", 2)
    kept = shutil.copytree(good.checkpoint, tmp_path / "kept")
    with pytest.raises(Diverged, match="expected a finite loss"):
        train(
            store,
            tmp_path / "run",
            8,
            resume=True,
            recipe=Recipe(lr=float(np.float32(1e38)), warmup=0, precision="fp32", clip=None),
        )
    assert files(kept) == files(tmp_path / "run/checkpoints/last")


def test_the_rate_by_hand():
    cosine = Recipe(lr=1.0, warmup=10, schedule="cosine")
    assert cosine.rate(0, 110) == pytest.approx(0.1)
    assert cosine.rate(9, 110) == pytest.approx(1.0)
    assert cosine.rate(60, 110) == pytest.approx(0.5)
    assert cosine.rate(110, 110) == pytest.approx(0.0)
    assert Recipe(lr=1.0, warmup=0, schedule="beso").rate(250, 1000) == pytest.approx(0.99**2)
