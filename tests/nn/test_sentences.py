"""Sentences have the vectors that sentence-transformers would give them, and checkpoints need no source."""

import json
import shutil

import numpy as np
import pytest
import torch

from robot_learning.core.errors import CheckpointError, ConfigError
from robot_learning.core.language import encode_instruction
from robot_learning.nn.sentences import SentenceEncoder
from robot_learning.policies.policy import load_policy, save_policy
from robot_learning.serving.onnx_export import export_onnx
from tests.nn.tiny_readers import ENCODER, save_reader
from tests.policies.test_language import TestGCBCReads as GCBCReads

LINES = ("open the drawer", "Close  the drawer", "push unheard red button " * 4, "")


def texts(*lines):
    return torch.as_tensor(np.stack([encode_instruction(line) for line in lines]))


@pytest.mark.parametrize("kind", ["bert", "clip"])
def test_vectors_are_means_over_tokens_of_unit_length(tmp_path, kind):
    """Against the model and tokenizer of transformers, in one padded batch, masked as sentence-transformers does."""
    model, tokenizer = save_reader(kind, tmp_path)
    encoder = SentenceEncoder(source=str(tmp_path)).train()
    tokens = tokenizer(list(LINES), padding=True, truncation=True, max_length=12, return_tensors="pt")
    with torch.no_grad():
        states = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1)
    means = (states * mask).sum(1) / mask.sum(1)
    wanted = means / means.norm(dim=1, keepdim=True)
    torch.testing.assert_close(encoder(texts(*LINES)), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder(texts(*LINES)), wanted, atol=1e-5, rtol=1e-5)
    assert encoder.size == wanted.shape[1]
    assert not [name for name, weight in encoder.named_parameters() if weight.requires_grad]


def test_a_checkpoint_needs_no_source(tmp_path):
    """Policies learn with it, and once saved the folder may go."""
    save_reader("bert", tmp_path / "source")
    case = GCBCReads()
    language = SentenceEncoder.settle({"_target_": ENCODER, "source": str(tmp_path / "source")})
    policy = case.make(language={"_target_": ENCODER, "source": str(tmp_path / "source")})
    with torch.inference_mode():
        policy.loss(case.batch(4), torch.Generator())
    policy.train().loss(case.batch(4), torch.Generator())[0].backward()
    save_policy(tmp_path / "saved", policy, case.full_config(language=language), {})
    shutil.rmtree(tmp_path / "source")
    loaded = load_policy(tmp_path / "saved")
    answers = [case.act(each.eval(), case.window(2), case.goal(2)) for each in (policy, loaded)]
    np.testing.assert_array_equal(*answers)
    assert json.loads((tmp_path / "saved/policy.json").read_text())["policy"]["language"]["architecture"]["hidden_size"] == 16


@pytest.mark.parametrize("missing", ["architecture", "tokenizer"])
@pytest.mark.parametrize("null", [False, True])
def test_a_checkpoint_that_would_ask_the_source_is_refused(tmp_path, missing, null):
    """Though the source is there: whoever loads a checkpoint did not choose it."""
    save_reader("bert", tmp_path / "source")
    language = {"_target_": ENCODER, "source": str(tmp_path / "source")}
    case = GCBCReads()
    save_policy(tmp_path / "saved", case.make(language=language), case.full_config(language=language), {})
    header = json.loads((tmp_path / "saved/policy.json").read_text())
    header["policy"]["language"] |= {missing: None}
    if not null:
        del header["policy"]["language"][missing]
    (tmp_path / "saved/policy.json").write_text(json.dumps(header))
    with pytest.raises(CheckpointError, match=rf"look nothing up outside, got \['{ENCODER}'\]"):
        load_policy(tmp_path / "saved")


def test_a_tokenizer_that_is_cut_off_is_refused(tmp_path):
    save_reader("bert", tmp_path)
    config = SentenceEncoder.settle({"source": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"language\.tokenizer: expected the JSON of a tokenizer: EOF"):
        SentenceEncoder(**{**config, "tokenizer": config["tokenizer"][:100]})


@pytest.mark.parametrize("model", ["theirs", "vit"])
def test_no_code_of_a_source_runs_though_somebody_says_yes(tmp_path, monkeypatch, model):
    """Transformers asks where it is not told: about a model it does not know, and a tokenizer of one that has none."""
    monkeypatch.setattr("builtins.input", lambda _: "y")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    save_reader("bert", tmp_path)
    named = {"AutoConfig": "theirs.Theirs", "AutoTokenizer": ["theirs.Theirs", "theirs.Theirs"]}
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Theirs: pass\n")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model, "auto_map": named}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Theirs", "auto_map": named}))
    with pytest.raises(ConfigError):
        SentenceEncoder(source=str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_a_text_without_tokens_is_zeros(tmp_path):
    """Where the tokenizer adds none of its own, as that of GPT-2."""
    save_reader("bert", tmp_path)
    fields = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps({**fields, "post_processor": None}))
    nothing, something = SentenceEncoder(source=str(tmp_path))(texts("", "open"))
    assert torch.equal(nothing, torch.zeros(16))
    torch.testing.assert_close(something.norm(), torch.tensor(1.0))


def test_a_published_tokenizer_is_not_exported(tmp_path):
    save_reader("bert", tmp_path)
    policy = GCBCReads().make(language={"_target_": ENCODER, "source": str(tmp_path)})
    with pytest.raises(ConfigError, match="SentenceEncoder cannot be exported"):
        export_onnx(policy, tmp_path / "policy.onnx", {})


def test_what_is_no_text_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"language\.source: expected a folder or a hub id"):
        SentenceEncoder(source=str(tmp_path / "nothing"))
    save_reader("bert", tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    for changed, message in (
        ({"model_type": "vit"}, "expected an encoder of text.*got a vit"),
        ({"model_type": "x"}, "got model_type 'x'"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**fields, **changed}))
        with pytest.raises(ConfigError, match=message):
            SentenceEncoder(source=str(tmp_path))
