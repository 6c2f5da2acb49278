"""Tiny vision models with random weights, saved as published ones are."""

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    SiglipVisionModel,
)

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
IMAGES = {"image_size": 28, "patch_size": 14}
ENCODER = "robot_learning.nn.pretrained.PretrainedEncoder"
KINDS = ("dinov2", "siglip", "clip")


def save_tiny(kind, folder):
    """Save a model and its preprocessor, and return the model that sees the images."""
    torch.manual_seed(0)
    if kind == "siglip":
        SiglipImageProcessorPil(size={"height": 28, "width": 28}).save_pretrained(folder)
        model = tower = SiglipVisionModel(SiglipVisionConfig(**SIZES, **IMAGES))
    else:
        sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}}
        CLIPImageProcessorPil(**sizes).save_pretrained(folder)
        if kind == "dinov2":
            model = tower = Dinov2Model(Dinov2Config(**SIZES, **IMAGES))
        else:
            text = {**SIZES, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
            model = CLIPModel(CLIPConfig(text_config=text, vision_config={**SIZES, **IMAGES}, projection_dim=8))
            tower = model.vision_model
    model.eval().save_pretrained(folder)
    return tower
