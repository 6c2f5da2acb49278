"""Published models say what transformers makes them say, prepared as published, and train only what the mode lets them."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

from robot_learning.core.errors import ConfigError, MissingExtra, UnknownName
from robot_learning.nn.parts import build_part, settle, unsettled
from robot_learning.nn.pretrained import PretrainedEncoder
from robot_learning.nn.vision_models import configuration_of, plain
from tests.nn.tiny_models import ENCODER, KINDS, save_tiny


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: (root / kind, save_tiny(kind, root / kind)) for kind in KINDS}


def images(count=2, rows=40, columns=24, seed=0):
    smooth = torch.nn.functional.interpolate(
        torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed)), (rows, columns), mode="bicubic"
    )
    return (255 * smooth.clamp(0, 1)).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [(kind, pooling) for kind in KINDS for pooling in ("pooler", "cls", "mean") if (kind, pooling) != ("siglip", "cls")],
)
def test_it_says_what_the_model_says(folders, kind, pooling):
    """At the model's own size, through the model itself and a standardisation by hand."""
    folder, model = folders[kind]
    encoder = PretrainedEncoder(source=str(folder), pooling=pooling, size=8).eval()
    seen = images(rows=28, columns=28)
    stats = json.loads((folder / "preprocessor_config.json").read_text())
    mean, std = (torch.tensor(stats[f"image_{name}"]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        said = model((seen.permute(0, 3, 1, 2) / 255 - mean) / std)
        states = said.last_hidden_state
        patches = states[:, -4:]
        wanted = {"pooler": said.pooler_output, "cls": states[:, 0], "mean": patches.mean(dim=1)}[pooling]
        torch.testing.assert_close(encoder(seen), encoder.head(wanted))
        torch.testing.assert_close(encoder.cells(seen)[1, :, 0, 1], patches[1, 1])


@pytest.mark.parametrize(
    ("kind", "prepare"),
    [
        ("siglip", SiglipImageProcessorPil(size={"height": 28, "width": 28})),
        ("clip", CLIPImageProcessorPil(size={"height": 28, "width": 28}, do_center_crop=False)),
    ],
)
def test_images_are_prepared_as_transformers_does(folders, kind, prepare):
    """Resized with Pillow, larger and smaller; of CLIP's preparation all but the crop. One grey level is 1/255/std."""
    encoder = PretrainedEncoder(source=str(folders[kind][0]))
    for rows, columns in ((40, 61), (20, 24)):
        seen = images(1, rows, columns)
        wanted = torch.as_tensor(np.array(prepare(images=[seen[0].numpy()])["pixel_values"]))
        got = encoder._prepared(encoder.pixels(seen, None, None))
        assert (got - wanted).abs().max() < 1.01 / 255 / encoder.std.min()


def test_another_resolution_is_fewer_cells(folders):
    for kind, (folder, _) in folders.items():
        encoder = PretrainedEncoder(source=str(folder), resolution=56)
        assert encoder.cells(images()).shape == (2, 16, 4, 4), kind
        assert encoder(images()).shape == (2, 64)


def test_what_each_mode_trains(folders):
    """Finetuned is all but the mask token, which no image meets.

    LoRA has r (a + b) numbers per layer of a x b: here 16 x 16 four times and 16 x 64 twice, in each of two blocks.
    """
    folder, model = folders["dinov2"]
    own = sum(weight.numel() for weight in model.parameters())
    head = 16 * 8 + 8 + 2 * 8
    trained = {}
    for mode in ("frozen", "finetuned", "lora"):
        encoder = PretrainedEncoder(source=str(folder), size=8, mode=mode, rank=2)
        trained[mode] = sum(weight.numel() for weight in encoder.parameters() if weight.requires_grad)
        encoder.train()
        assert encoder.model.training == (mode != "frozen")
    assert trained == {"frozen": head, "finetuned": own - 16 + head, "lora": head + 2 * 2 * (4 * (16 + 16) + 2 * (16 + 64))}


@pytest.mark.parametrize("mode", ["frozen", "lora"])
def test_an_update_moves_the_head_and_the_adapters_alone(folders, mode):
    encoder = PretrainedEncoder(source=str(folders["clip"][0]), mode=mode, rank=2).train()
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.1)
    for _ in range(2):  # at first LoRA's B is zero and passes no gradient on to A
        encoder(images()).square().sum().backward()
        optimizer.step()
    moved = {name for name, weight in encoder.state_dict().items() if not torch.equal(weight, before[name])}
    adapters = {name for name in before if "lora_" in name}
    assert moved - {"head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias"} == adapters
    assert bool(adapters) == (mode == "lora")


@pytest.mark.parametrize("mode", ["finetuned", "lora"])
@pytest.mark.parametrize("size", [8, None])
def test_what_is_trained_has_a_gradient(folders, mode, size):
    """SigLIP's summary is an attention with weights of its own: no use to somebody who takes the mean, or the cells."""
    encoder = PretrainedEncoder(source=str(folders["siglip"][0]), mode=mode, pooling="mean", size=size).train()
    (encoder.cells if size is None else encoder)(images()).square().sum().backward()
    trained = {name: weight for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert all(weight.grad is not None for weight in trained.values())
    assert not any(name.startswith("model.head") for name in trained)


def test_a_new_adapter_changes_nothing(folders):
    """B is zero in the beginning (Hu et al., Sec. 4.1)."""
    folder = str(folders["siglip"][0])
    plain, adapted = (PretrainedEncoder(source=folder, size=None, mode=mode).eval() for mode in ("frozen", "lora"))
    torch.testing.assert_close(adapted.cells(images()), plain.cells(images()))


@pytest.mark.parametrize("mode", ["frozen", "lora"])
def test_settled_it_is_built_without_its_source(folders, tmp_path, mode):
    shutil.copytree(folders["clip"][0], tmp_path / "clip")
    config = {"_target_": ENCODER, "source": str(tmp_path / "clip"), "mode": mode, "size": 8}
    filled, settled = build_part(config).eval(), settle({"vision": [config]})["vision"][0]
    shutil.rmtree(tmp_path / "clip")
    again = json.loads(json.dumps(settled))
    assert settle(again) == again
    assert (unsettled(config), unsettled(again)) == ([ENCODER], [])
    assert {**again, **config} == again
    empty = build_part(again).eval()
    empty.load_state_dict(filled.state_dict())
    torch.testing.assert_close(empty(images()), filled(images()), rtol=0, atol=0)


def test_a_description_cannot_choose_code(folders):
    config = settle({"_target_": ENCODER, "source": str(folders["dinov2"][0])})
    for name in ("auto_map", "attn_implementation", "_attn_implementation"):
        tampered = {**config["architecture"], name: "somebody/kernels"}
        model = build_part({**config, "architecture": tampered}).model
        assert not hasattr(model.config, "auto_map")
        assert model.config._attn_implementation == "sdpa"
    with pytest.raises(ConfigError, match="got model_type 'theirs'"):
        build_part({**config, "architecture": {**config["architecture"], "model_type": "theirs"}})
    with pytest.raises(ConfigError, match="a model of images alone, got bert"):
        build_part({**config, "architecture": {"model_type": "bert"}})


def test_no_description_has_more_downloaded():
    """Nor by what a class does on its own where a description says nothing."""
    wishes = {
        "model_type": "vit",
        "use_pretrained_backbone": True,
        "inner": {"use_pretrained_backbone": True},
        "labels": {"a": 1},
    }
    off = {"use_pretrained_backbone": False}
    assert plain(wishes) == {"model_type": "vit", **off, "inner": off, "labels": {"a": 1}}
    assert configuration_of({"model_type": "vit"}).use_pretrained_backbone is False


@pytest.mark.parametrize(
    "architecture",
    [
        {"model_type": "detr"},
        {"model_type": "timm_wrapper", "architecture": "resnet18"},
        {"model_type": "timm_backbone", "backbone": "resnet18"},
        {"model_type": "dpt", "backbone_config": {"model_type": "timm_backbone", "backbone": "resnet18"}},
        {"model_type": "dpt", "backbone_config": {"model_type": "vit"}, "use_timm_backbone": True},
        {"model_type": "upernet", "backbone": "somebody/model"},
    ],
)
def test_what_is_not_of_transformers_as_a_whole_is_refused(folders, architecture, monkeypatch):
    config = settle({"_target_": ENCODER, "source": str(folders["siglip"][0])})
    monkeypatch.setattr("huggingface_hub.HfApi.repo_exists", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(ConfigError, match=r"vision\.encoder: expected a model that is of transformers as a whole"):
        build_part({**config, "architecture": architecture})


def rewritten(source, folder, changes, file="preprocessor_config.json"):
    """Copy a model with some fields of a file changed, or without those that are changed to ``...``."""
    shutil.copytree(source, folder)
    fields = {**json.loads((folder / file).read_text()), **changes}
    (folder / file).write_text(json.dumps({name: value for name, value in fields.items() if value is not ...}))
    return {"_target_": ENCODER, "source": str(folder)}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_processor_type": "Theirs", "image_mean": ...}, "no 'image_mean'"),
        ({"image_processor_type": "Siglip2ImageProcessor", "size": ...}, "no 'size'"),
        ({"image_processor_type": ..., "resample": ...}, "no 'resample'"),
        ({"image_processor_type": "MobileViTImageProcessor"}, "do_flip_channel_order: expected colours from red to blue"),
        ({"size": {"longest_edge": 512}}, "expected shortest_edge, or height and width, got {'longest_edge': 512}"),
        ({"rescale_factor": 1 / 127.5}, "rescale_factor: expected pixels times 1/255 and no offset, got 0.0078"),
        ({"rescale_offset": True}, "no offset"),
        ({"do_rescale": False}, "pixels times 1/255"),
        ({"resample": 1}, "resample: expected 2 (bilinear) or 3 (bicubic), got 1"),
    ],
)
def test_a_preparation_that_is_not_ours_is_refused(folders, tmp_path, changes, says):
    config = rewritten(folders["siglip"][0], tmp_path / "model", changes)
    with pytest.raises(ConfigError, match=f"wants images prepared.*{re.escape(says)}"):
        build_part(config)


@pytest.mark.parametrize(
    ("kind", "resampling"),
    [("ViTImageProcessorFast", "bilinear"), ("ViTFeatureExtractor", "bilinear"), ("BitImageProcessor", "bicubic")],
)
def test_what_a_preprocessor_leaves_out_is_as_its_class_has_it(folders, tmp_path, kind, resampling):
    """``ViTImageProcessor`` resamples bilinearly, ``BitImageProcessor``, that of DINOv2, bicubically: their ``resample``."""
    changes = {"image_processor_type": kind, "resample": ..., "image_mean": None}
    preparation = settle(rewritten(folders["siglip"][0], tmp_path / "model", changes))["preprocessing"]
    assert preparation["resampling"] == resampling
    assert preparation["mean"] == ([0.5] * 3 if resampling == "bilinear" else [0.48145466, 0.4578275, 0.40821073])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"intermediate_size": 48}, "expected safetensors of a SiglipVisionModel"),
        ({"hidden_size": "many"}, "expected the configuration of a siglip_vision_model"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(folders, tmp_path, changes, says):
    config = rewritten(folders["siglip"][0], tmp_path / "model", changes, "config.json")
    with pytest.raises(ConfigError, match=says):
        build_part(config)


def test_what_cannot_be_is_refused(folders, tmp_path):
    folder = str(folders["siglip"][0])
    for wrong, error, says in (
        ({"mode": "frosen"}, UnknownName, "nearest: frozen"),
        ({"pooling": "max"}, UnknownName, "available: cls, mean, pooler"),
        ({"pooling": "cls"}, ConfigError, "has no cls; take one of pooler, mean"),
        ({"inputs": 4}, ConfigError, "sees three channels, got images of 4"),
        ({"resolution": 7}, ConfigError, "does not take images of 7 x 7"),
        ({"source": str(tmp_path)}, ConfigError, "config.json and preprocessor_config.json"),
    ):
        with pytest.raises(error, match=says):
            PretrainedEncoder(**{"source": folder, **wrong})
    shutil.copytree(folder, tmp_path / "empty")
    (tmp_path / "empty" / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="expected safetensors of a SiglipVisionModel"):
        PretrainedEncoder(source=str(tmp_path / "empty"))
    (tmp_path / "empty" / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ConfigError, match="expected safetensors of a SiglipVisionModel"):
        PretrainedEncoder(source=str(tmp_path / "empty"))


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"robot-learning\[vision\]"):
        PretrainedEncoder(source="facebook/dinov2-small")
