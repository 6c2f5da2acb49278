"""Attention, positions and sequence predictors against torch's own layers and what masks and symmetry promise."""

import math

import pytest
import torch
from torch import nn

from robot_learning.core.errors import ConfigError
from robot_learning.nn.attention import Attention, DecoderLayer, EncoderLayer, QueryDecoder, SequencePredictor, Sizes
from robot_learning.nn.attention import TransformerEncoder as Encoder
from robot_learning.nn.positions import sine_positions, sine_positions_2d

SMALL = Sizes(width=12, layers=2, heads=3, feedforward=20, dropout=0.0)
MASK = torch.tensor([[True, True, False, True, False], [True] * 5])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def copy_attention(mine: Attention, theirs: nn.MultiheadAttention):
    theirs.in_proj_weight.data = torch.cat([mine.query.weight, mine.key.weight, mine.value.weight])
    theirs.in_proj_bias.data = torch.cat([mine.query.bias, mine.key.bias, mine.value.bias])
    theirs.out_proj.load_state_dict(mine.project.state_dict())


def copy_rest(mine, theirs, norms):
    theirs.linear1.load_state_dict(mine.mlp[0].state_dict())
    theirs.linear2.load_state_dict(mine.mlp[3].state_dict())
    for index, norm in enumerate(norms, start=1):
        getattr(theirs, f"norm{index}").load_state_dict(norm.state_dict())


def randomise(module):
    """Move every weight away from where it began, biases and norms too."""
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.3)
    return module


def test_an_encoder_layer_is_that_of_torch():
    mine = randomise(EncoderLayer(SMALL))
    theirs = nn.TransformerEncoderLayer(12, 3, 20, dropout=0.0, batch_first=True)
    copy_attention(mine.attention, theirs.self_attn)
    copy_rest(mine, theirs, (mine.norm_attention, mine.norm_mlp))
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(mine(x, mask=MASK), theirs(x, src_key_padding_mask=~MASK))


def test_a_decoder_layer_is_that_of_torch():
    mine = randomise(DecoderLayer(SMALL))
    theirs = nn.TransformerDecoderLayer(12, 3, 20, dropout=0.0, batch_first=True)
    copy_attention(mine.attention, theirs.self_attn)
    copy_attention(mine.look, theirs.multihead_attn)
    copy_rest(mine, theirs, (mine.norm_attention, mine.norm_look, mine.norm_mlp))
    x, memory = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    torch.testing.assert_close(mine(x, memory, mask=MASK), theirs(x, memory, tgt_key_padding_mask=~MASK))


def test_positions_are_added_to_queries_and_keys_alone():
    layer, x, positions = randomise(EncoderLayer(SMALL)), torch.randn(1, 4, 12), torch.randn(4, 12)
    mixed = layer.attention(x + positions, x + positions, x)
    once = layer.norm_attention(x + mixed)
    torch.testing.assert_close(layer(x, positions), layer.norm_mlp(once + layer.mlp(once)))


def test_what_a_mask_hides_has_no_say():
    encoder, x = Encoder(SMALL).eval(), torch.randn(2, 5, 12)
    other = x.clone()
    other[0, ~MASK[0]] += 5.0
    seen = MASK.unsqueeze(-1)
    torch.testing.assert_close(encoder(x, mask=MASK) * seen, encoder(other, mask=MASK) * seen)
    other[0, 0] += 5.0
    assert not torch.allclose(encoder(x, mask=MASK)[0, 1], encoder(other, mask=MASK)[0, 1])


def test_without_positions_tokens_are_a_set():
    encoder, x, order = Encoder(SMALL).eval(), torch.randn(2, 5, 12), [3, 1, 4, 0, 2]
    torch.testing.assert_close(encoder(x[:, order]), encoder(x)[:, order])
    places = sine_positions(5, 12)
    assert not torch.allclose(encoder(x[:, order], places), encoder(x, places)[:, order])


@pytest.mark.parametrize("as_positions", [True, False])
def test_queries_answer_in_their_own_place(as_positions):
    decoder, memory = QueryDecoder(SMALL, 3, as_positions=as_positions).eval(), torch.randn(2, 5, 12)
    before = decoder(memory)
    assert before.shape == (2, 3, 12)
    torch.testing.assert_close(decoder(memory[:, [4, 0, 3, 1, 2]]), before)
    decoder.queries.data = decoder.queries[[2, 0, 1]]
    torch.testing.assert_close(decoder(memory), before[:, [2, 0, 1]])


def test_padded_steps_of_a_sequence_have_no_say():
    predictor = SequencePredictor(6, 4, 5, width=12, layers=2, heads=3, feedforward=20).eval()
    memory = torch.randn(2, 3, 6)
    before = predictor(memory, MASK)
    assert before.shape == (2, 5, 4)
    predictor.decoder.queries.data[2] += 3.0
    after = predictor(memory, MASK)
    torch.testing.assert_close(after[0, MASK[0]], before[0, MASK[0]])
    assert not torch.allclose(after[1, 0], before[1, 0]), "the second sequence has no padding"


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="width 10 and 3 heads"):
        Sizes(width=10, heads=3)


def test_positions_by_hand():
    places = sine_positions(3, 4)
    wanted = [[math.sin(p), math.cos(p), math.sin(p / 100), math.cos(p / 100)] for p in range(3)]
    torch.testing.assert_close(places, torch.tensor(wanted))


def test_positions_of_a_grid_by_hand():
    """Two rows and one column: y is pi and 2 pi, x is 2 pi; two features each."""
    wanted = [[0.0, -1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]]
    torch.testing.assert_close(sine_positions_2d(2, 1, 4), torch.tensor(wanted), atol=1e-6, rtol=0)
    assert sine_positions_2d(3, 5, 8).unique(dim=0).shape == (15, 8), "every cell has a place of its own"
