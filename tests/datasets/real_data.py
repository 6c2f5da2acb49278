"""Where other people's data sets are; tests that need one skip with the reason where it is absent."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def real_data(name):
    """Return the folder of a real data set, or skip the test."""
    folder = Path(os.environ.get("ROBOT_LEARNING_DATA", ROOT.parent / "shared" / "data")) / name
    if not folder.exists():
        pytest.skip(f"{folder} is absent; set ROBOT_LEARNING_DATA to a folder that holds {name} (docs/store.md)")
    return folder
