"""Instructions as goals: a text travels as the fixed-size array of its bytes, like any other goal.

A tokenizer would belong to one policy; bytes belong to all of them, so that windows, servers and exported graphs need not know
how a policy reads.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import SpecMismatch, UnknownName
from robot_learning.core.spec import ArraySpec, RobotSpec

INSTRUCTION = "instruction"
"""Goal key of what was asked in words; no robot observes it."""
MAX_BYTES = 128
"""Longest instruction; those of common data sets have 20 to 80 letters."""
INSTRUCTION_SPEC = ArraySpec((MAX_BYTES,), "uint8", "utf-8")
"""UTF-8, padded with zeros; nothing but zeros is no instruction."""


def encode_instruction(text: str, what: str = INSTRUCTION) -> NDArray[np.uint8]:
    """Return a text as :data:`INSTRUCTION_SPEC` says; raises :class:`SpecMismatch` for one that does not fit."""
    content = text.strip().encode()
    if len(content) > MAX_BYTES or 0 in content:
        raise SpecMismatch(
            f"{what}: expected at most {MAX_BYTES} bytes of UTF-8 and no zeros, got {len(content)}: {text!r}; say it shorter"
        )
    return np.frombuffer(content.ljust(MAX_BYTES, b"\0"), np.uint8).copy()


def decode_instruction(array: NDArray[Any]) -> str:
    """Return the text of an array ``[MAX_BYTES]``; bytes that are no UTF-8 become replacement characters."""
    return np.asarray(array, np.uint8).tobytes().rstrip(b"\0").decode(errors="replace")


def goal_spec(spec: RobotSpec, key: str) -> ArraySpec:
    """Return what a goal key holds: an instruction, or what the robot observes under that name."""
    if key == INSTRUCTION:
        return INSTRUCTION_SPEC
    if key not in spec.observation:
        raise UnknownName("observation key", key, (*spec.observation, INSTRUCTION))
    return spec.observation[key]
