"""Words are hashed by their letters alone, and texts travel as bytes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robot_learning.core.errors import SpecMismatch
from robot_learning.core.language import INSTRUCTION_SPEC, MAX_BYTES, decode_instruction, encode_instruction
from robot_learning.nn.language import InstructionEncoder

PRIME = 2_147_483_647


def texts(*lines):
    return torch.as_tensor(np.stack([encode_instruction(line) for line in lines]))


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return InstructionEncoder(8).eval()


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30))
def test_a_text_comes_back_from_its_bytes(text):
    array = encode_instruction(text)
    assert INSTRUCTION_SPEC.validate(array) is array
    assert decode_instruction(array) == text.strip()


def test_what_does_not_fit_is_refused():
    assert decode_instruction(encode_instruction("ü" * (MAX_BYTES // 2))) == "ü" * (MAX_BYTES // 2)
    with pytest.raises(SpecMismatch, match=f"episode 3: expected at most {MAX_BYTES} bytes.*got {MAX_BYTES + 1}.*shorter"):
        encode_instruction("a" * (MAX_BYTES + 1), "episode 3")
    with pytest.raises(SpecMismatch, match="zeros"):
        encode_instruction("open\0close")


def test_hashes_are_those_of_rabin_and_karp(encoder):
    """Sum of letter times base ** place modulo a prime, with Python's own integers."""
    line = "Öffne the  drawer, 2 times!"
    keys, present = encoder.hash_words(texts(line))
    words = ["Öffne", "the", "drawer", "2", "times"]
    assert present[0].tolist() == [True] * 5 + [False] * 19
    for base, hashed in zip((257, 65_599), keys, strict=True):
        wanted = [sum(letter * base**place for place, letter in enumerate(word.encode())) % PRIME for word in words]
        assert hashed[0, :5].tolist() == wanted


def test_a_word_is_the_same_wherever_it_stands(encoder):
    (first, second), _ = encoder.hash_words(texts("Drawer", "please, open the drawer!"))
    assert first[0, 0] == first[1, 3]
    assert second[0, 0] == second[1, 3]
    with torch.inference_mode():
        plain, loud, other = encoder(texts("open the drawer", "OPEN   the drawer!", "the drawer open"))
    torch.testing.assert_close(plain, loud)
    assert not torch.allclose(plain, other), "order matters"


def test_words_beyond_the_most_are_ignored_and_nothing_is_a_text_too():
    short = InstructionEncoder(8, most_words=3).eval()
    with torch.inference_mode():
        two, same, empty = short(texts("a b c d", "a b c x", ""))
    torch.testing.assert_close(two, same)
    assert torch.isfinite(empty).all()
