"""Vision models of ``transformers`` as data: described in JSON, built empty from that, filled from safetensors.

The class of a model is always one of ``transformers`` itself. Whatever in a description could name other code is left out.
"""

import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from robot_learning.core.errors import ConfigError, MissingExtra

_RESAMPLING = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, as preprocessor configurations have them."""
_PREPARATION = (
    *("size", "do_center_crop", "crop_size", "resample", "do_flip_channel_order"),
    *("do_rescale", "rescale_factor", "rescale_offset", "do_normalize", "image_mean", "image_std"),
)
"""Fields of a preprocessor that say what it makes of an image."""
_NO_DATA = ("auto_map", "attn_implementation", "experts_implementation", "quantization_config")
"""Fields of a configuration that name code; fields that begin with an underscore go, too."""
_DOWNLOADS = "use_pretrained_backbone"
"""Field of a configuration that asks for more weights from the hub; left out, some classes take it for granted."""


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
    _class(tower)
    try:
        preprocessing = _preprocessing(images)
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise ConfigError(
            f"vision.encoder.source: {source!r} wants images prepared in a way that is not known here, see its "
            f"preprocessor_config.json: {what}"
        ) from error
    return plain(json.loads(tower.to_json_string(use_diff=False))), preprocessing


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
        ConfigError: There are none as safetensors, they have other shapes, or some are missing but for those with ``optional``
            in their names.
    """
    settings = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
    try:
        model, report = kind.from_pretrained(source, config=configuration, **settings)
    except (ImportError, OSError, RuntimeError, SafetensorError, ValueError) as error:
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
    """Return the configuration that a description means, of a class of ``transformers``; ``setting`` is for errors.

    Raises:
        ConfigError: Of no model of ``transformers``, not valid, or part of the model is from elsewhere: timm, the hub.
    """
    known = library("transformers.models.auto.configuration_auto").CONFIG_MAPPING
    kind = fields.get("model_type")
    if kind not in known:
        version = library("transformers").__version__
        raise ConfigError(f"{setting}: expected a model that transformers {version} knows, got model_type {kind!r}")
    _check_whole(fields, setting)
    invalid = library("huggingface_hub.errors").StrictDataclassError
    try:
        configuration = known[kind].from_dict(plain(fields))
    except (AttributeError, ImportError, LookupError, TypeError, ValueError, invalid) as error:
        raise ConfigError(f"{setting}: expected the configuration of a {kind}: {error}") from error
    _check_whole(configuration.to_dict(), setting)  # with what the class adds: DETR's backbone is one of timm
    return configuration


def _check_whole(fields: Mapping[str, Any], setting: str) -> None:
    kind, backbone = str(fields.get("model_type", "")), fields.get("backbone")
    if kind.startswith("timm") or fields.get("use_timm_backbone") or isinstance(backbone, str):
        raise ConfigError(
            f"{setting}: expected a model that is of transformers as a whole, got {backbone or kind or 'a backbone'} of timm "
            "or from elsewhere; take another model"
        )
    for value in fields.values():
        if isinstance(value, Mapping):
            _check_whole(value, setting)


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
    """Return the fields of a configuration, and of those within, that are data, and have nothing downloaded."""
    kept = {name: value for name, value in fields.items() if not name.startswith("_") and name not in _NO_DATA}
    if _DOWNLOADS in kept or "model_type" in kept:
        kept[_DOWNLOADS] = False
    return {name: plain(value) if isinstance(value, Mapping) else value for name, value in kept.items()}


def _preprocessing(images: Mapping[str, Any]) -> dict[str, Any]:
    """Return how images are prepared, see :func:`describe`; a field that is missing is as its class in ``transformers`` has it.

    Raises:
        KeyError: A field that is missing in both.
        ValueError: It does something that we do not.
    """
    known = _defaults(images) | {name: images[name] for name in _PREPARATION if images.get(name) is not None}
    factor, resample = known.get("rescale_factor", 1 / 255), known["resample"]
    if known.get("do_flip_channel_order"):
        raise ValueError("do_flip_channel_order: expected colours from red to blue")
    if not known.get("do_rescale", True) or known.get("rescale_offset") or abs(255 * factor - 1) > 1e-3:
        raise ValueError(f"rescale_factor: expected pixels times 1/255 and no offset, got {factor}")
    if resample not in _RESAMPLING:
        raise ValueError(f"resample: expected 2 (bilinear) or 3 (bicubic), got {resample}")
    crops = known.get("crop_size") is not None and known.get("do_center_crop", True)
    size = known["crop_size" if crops else "size"]
    if isinstance(size, Mapping):
        if "shortest_edge" not in size and not {"height", "width"} <= set(size):
            raise ValueError(f"size: expected shortest_edge, or height and width, got {dict(size)}")
        size = size.get("shortest_edge") or (size["height"], size["width"])
    standardises = known.get("do_normalize", True)
    return {
        "size": list(pair(size)),
        "mean": list(known["image_mean"]) if standardises else [0.0] * 3,
        "std": list(known["image_std"]) if standardises else [1.0] * 3,
        "resampling": _RESAMPLING[resample],
    }


def _defaults(images: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that the preprocessor's class in ``transformers`` sets; none if it has no class for Pillow."""
    name = str(images.get("image_processor_type") or images.get("feature_extractor_type"))
    name = name.removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor") + "Pil"  # older files have older names
    kind = getattr(library("transformers"), name, None)
    return {field: getattr(kind, field) for field in _PREPARATION if hasattr(kind, field)}
