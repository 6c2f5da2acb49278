"""Instructions read by a published sentence encoder: MiniLM, MPNet, the text tower of CLIP, and others of ``transformers``.

The model is frozen. A sentence's vector is the mean of its tokens' last hidden states, scaled to unit length, as
sentence-transformers makes it (Reimers and Gurevych, "Sentence-BERT", EMNLP 2019). What :meth:`SentenceEncoder.settle` notes,
the architecture and the tokenizer, both JSON, stands in checkpoints: loading needs neither the folder nor the hub.
"""

import inspect
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError
from robot_learning.core.language import decode_instruction
from robot_learning.nn.vision_models import configuration_of, library, plain, weights_of

_MOST_TOKENS = 256
"""More than an instruction of 128 bytes has, with the tokens that a tokenizer adds."""
_KNOWN_TEXTS = 4096
"""Vectors kept; a data set has a few hundred different instructions."""


class SentenceEncoder(nn.Module):
    """A frozen text model of ``transformers``.

    Args:
        source: Folder or hub id of the model.
        architecture: The model's configuration, as :meth:`settle` notes it; None reads it, and the weights, from the source.
        tokenizer: Its tokenizer as the JSON of ``tokenizers``, likewise.

    Attributes:
        size: Numbers in a vector.
    """

    exportable = False
    """Its tokenizer is a program, not arithmetic that a graph could hold."""
    settled_by = ("architecture", "tokenizer")

    def __init__(self, *, source: str, architecture: Mapping[str, Any] | None = None, tokenizer: str | None = None) -> None:
        """Build the model, and fill it from the source unless its architecture is given."""
        super().__init__()
        if architecture is None or tokenizer is None:
            architecture, tokenizer = describe_reader(source)
            configuration = configuration_of(architecture, "language")
            self.model: Any = weights_of(source, _reader(configuration), configuration, "pooler", "language.source")
        else:
            configuration = configuration_of(architecture, "language")
            self.model = _reader(configuration)(configuration)
        self.size = int(configuration.hidden_size)
        try:
            self._tokenizer = library("tokenizers").Tokenizer.from_str(tokenizer)
        except Exception as error:  # tokenizers has no narrower one
            raise ConfigError(f"language.tokenizer: expected the JSON of a tokenizer: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(min(_MOST_TOKENS, getattr(configuration, "max_position_embeddings", _MOST_TOKENS)))
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()
        self.requires_grad_(False)
        self.train()

    @classmethod
    def settle(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``config`` with architecture and tokenizer, read from its source."""
        architecture, tokenizer = describe_reader(str(config.get("source")))
        return {**config, "architecture": architecture, "tokenizer": tokenizer}

    def train(self, mode: bool = True) -> "SentenceEncoder":
        """Stay as it is, without dropout."""
        super().train(mode)
        self.model.eval()
        return self

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
    def forward(self, texts: UInt8[Tensor, "b l"]) -> Float[Tensor, "b f"]:
        """Return one vector of unit length per text, zeros where there are no tokens; a text is read once."""
        vectors = []
        for row in texts.cpu().numpy():
            key = row.tobytes()
            if key not in self._known:
                self._known[key] = self._read(decode_instruction(row))
                if len(self._known) > _KNOWN_TEXTS:
                    self._known.popitem(last=False)
            vectors.append(self._known[key])
        return torch.stack(vectors).to(texts.device)

    def _read(self, text: str) -> Float[Tensor, " f"]:
        device = next(self.model.parameters()).device
        ids = torch.tensor([self._tokenizer.encode(text).ids], dtype=torch.long, device=device)
        if not ids.numel():
            return torch.zeros(self.size)
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
            states = self.model(input_ids=ids).last_hidden_state[0]
            return F.normalize(states.float().mean(dim=0), dim=0).cpu()


def describe_reader(source: str) -> tuple[dict[str, Any], str]:
    """Return, as data, the configuration of a source's text model and its tokenizer.

    Args:
        source: Folder, or id on the hub.
    """
    transformers = library("transformers")
    try:
        fields, _ = transformers.PreTrainedConfig.get_config_dict(source)
        whole = configuration_of(fields, "language")  # before the tokenizer is: what is no model of transformers ends here
        # not False, but left out, transformers would ask at the terminal whether to run the source's own code
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False).backend_tokenizer.to_str()
    except ConfigError:
        raise
    except (AttributeError, ImportError, OSError, ValueError) as error:
        raise ConfigError(
            f"language.source: expected a folder or a hub id with config.json and a tokenizer, got {source!r}: {error}"
        ) from error
    tower = getattr(whole, "text_config", whole)
    return plain(json.loads(tower.to_json_string(use_diff=False))), str(tokenizer)


def _reader(configuration: Any) -> Any:
    """Return the class of a model, if it reads text and says something about every token."""
    found: Any = library("transformers.models.auto.modeling_auto").MODEL_MAPPING.get(type(configuration), None)
    takes = {} if found is None else inspect.signature(found.forward).parameters
    if "input_ids" not in takes or "pixel_values" in takes or configuration.is_encoder_decoder:
        raise ConfigError(f"language: expected an encoder of text such as MiniLM, got a {configuration.model_type}")
    return found
