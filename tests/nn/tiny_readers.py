"""Tiny text models with random weights, saved with a tokenizer as published ones are."""

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, CLIPConfig, CLIPModel, PreTrainedTokenizerFast

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "open", "close", "the", "drawer", "push", "red", "button")
ENCODER = "robot_learning.nn.sentences.SentenceEncoder"


def save_reader(kind, folder):
    """Save a model and its tokenizer, and return both."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    text = {**SIZES, "vocab_size": len(WORDS), "max_position_embeddings": 12}
    if kind == "bert":
        model = tower = BertModel(BertConfig(**text))
    else:
        text |= {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
        model = CLIPModel(CLIPConfig(text_config=text, vision_config={**SIZES, "image_size": 28, "patch_size": 14}))
        tower = model.text_model
    model.eval().save_pretrained(folder)
    return tower, fast
