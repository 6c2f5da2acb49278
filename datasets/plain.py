"""Turn specs and metadata into strict JSON and back.

JSON has no infinity and no NaN, and Zarr readers in other languages refuse a file that has them, so such numbers are
written as ``{"$number": "inf"}``. NumPy scalars and arrays become numbers and lists.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

_NUMBER = "$number"


def to_plain(value: Any) -> Any:
    """Return ``value`` built of dicts, lists, strings, finite numbers, booleans and None only."""
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {_NUMBER: repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def from_plain(value: Any) -> Any:
    """Return what :func:`to_plain` was given, up to tuples and NumPy types."""
    if isinstance(value, dict):
        if value.keys() == {_NUMBER}:
            return float(value[_NUMBER])
        return {key: from_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    return value


def dump(value: Any) -> bytes:
    """Return ``value`` as strict JSON."""
    return json.dumps(to_plain(value), allow_nan=False, indent=1).encode()


def digest(value: Any) -> str:
    """Return a hash of ``value`` that depends neither on key order nor on formatting."""
    text = json.dumps(to_plain(value), allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
