"""Vision models of ``transformers`` as data: described in JSON, built empty from that, filled from safetensors.

The class of a model is always one of ``transformers`` itself. Whatever in a description could name other code is left out.
"""

import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from robot_learning.core.errors import ConfigError, MissingExtra

_RESAMPLING = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, as preprocessor configurations have them."""
_NO_DATA = ("auto_map", "attn_implementation", "experts_implementation", "quantization_config", "use_pretrained_backbone")
"""Fields of a configuration that name code or further downloads; fields that begin with an underscore go, too."""


def library(name: str) -> Any:
    """Return a module of the extra ``vision``; raises :class:`MissingExtra` where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(name.partition(".")[0], "vision") from error


def describe(source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return, JSON-ready, the configuration of a source's vision tower and how it wants images prepared.

    Args:
        source: Folder, or id on the hub.

    Returns:
        The configuration; and ``size`` (rows, columns), ``mean`` and ``std`` of pixels from 0 to 1, and ``resampling``.
    """
    transformers = library("transformers")
    try:
        fields, _ = transformers.PreTrainedConfig.get_config_dict(source)
        images, _ = library("transformers.image_processing_base").ImageProcessingMixin.get_image_processor_dict(source)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "vision.encoder.source: expected a folder or a hub id with config.json and preprocessor_config.json, got "
            f"{source!r}: {error}"
        ) from error
    whole = configuration_of(fields)
    tower = getattr(whole, "vision_config", whole)
    return plain(json.loads(tower.to_json_string(use_diff=False))), _preprocessing(images)


def empty_model(architecture: Mapping[str, Any]) -> nn.Module:
    """Return a model as described, its weights drawn at random; neither a folder nor the hub is asked."""
    configuration = configuration_of(architecture)
    model: nn.Module = _class(configuration)(configuration)
    return model


def filled_model(architecture: Mapping[str, Any], source: str, optional: str = "") -> nn.Module:
    """Return a model as described with the weights of its source, in float32.

    Args:
        architecture: See :func:`describe`.
        source: Folder, or id on the hub.
        optional: Weights with this in their names may be missing.
    """
    configuration = configuration_of(architecture)
    return weights_of(source, _class(configuration), configuration, optional)


def weights_of(
    source: str, kind: Any, configuration: Any, optional: str = "", setting: str = "vision.encoder.source"
) -> nn.Module:
    """Return a model of a class and configuration of ``transformers`` with the weights of a source, in float32.

    Raises:
        ConfigError: There are none as safetensors, or some are missing but for those with ``optional`` in their names.
    """
    settings = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
    try:
        model, report = kind.from_pretrained(source, config=configuration, **settings)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{setting}: expected safetensors of a {kind.__name__} in {source!r}: {error}") from error
    missing = sorted(name for name in report["missing_keys"] if not optional or optional not in name)
    if missing:
        raise ConfigError(f"{setting}: {source!r} lacks weights of its {kind.__name__}: {missing[:5]}")
    filled: nn.Module = model
    return filled


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """Return rows and columns of what may be one number for both."""
    rows, columns = (size, size) if isinstance(size, int) else size
    return int(rows), int(columns)


def configuration_of(fields: Mapping[str, Any], setting: str = "vision.encoder") -> Any:
    """Return the configuration that a description means, of a class of ``transformers``; ``setting`` is for errors."""
    known = library("transformers.models.auto.configuration_auto").CONFIG_MAPPING
    kind = fields.get("model_type")
    if kind not in known:
        version = library("transformers").__version__
        raise ConfigError(f"{setting}: expected a model that transformers {version} knows, got model_type {kind!r}")
    return known[kind].from_dict(plain(fields))


def _class(configuration: Any) -> Any:
    """Return the class of a model, if it sees images and needs nothing else."""
    found: Any = library("transformers.models.auto.modeling_auto").MODEL_MAPPING.get(type(configuration), None)
    forward = getattr(found, "forward", None)
    takes = {} if forward is None else inspect.signature(forward).parameters
    needed = {name for name, one in takes.items() if one.default is one.empty and one.kind is not one.VAR_KEYWORD} - {"self"}
    if "pixel_values" not in takes or needed - {"pixel_values"}:
        raise ConfigError(
            f"vision.encoder: expected a model of images alone, got {configuration.model_type}, which takes "
            f"{', '.join(sorted(needed)) or 'something else'}"
        )
    return found


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a configuration, and of those within, that are data."""
    kept = {name: value for name, value in fields.items() if not name.startswith("_") and name not in _NO_DATA}
    return {name: plain(value) if isinstance(value, Mapping) else value for name, value in kept.items()}


def _preprocessing(images: Mapping[str, Any]) -> dict[str, Any]:
    crops = images.get("crop_size") is not None and images.get("do_center_crop", True)
    size = images["crop_size" if crops else "size"]
    if isinstance(size, Mapping):
        size = size.get("shortest_edge") or (size["height"], size["width"])
    standardises = images.get("do_normalize", True)
    return {
        "size": list(pair(size)),
        "mean": list(images["image_mean"]) if standardises else [0.0] * 3,
        "std": list(images["image_std"]) if standardises else [1.0] * 3,
        "resampling": _RESAMPLING.get(images.get("resample", 3), "bicubic"),
    }
