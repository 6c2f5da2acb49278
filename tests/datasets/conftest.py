import os
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path():
    """A folder in memory where the system has one: stores flush every file, and a busy disk makes that slow."""
    memory = "/dev/shm"
    folder = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=folder, prefix="robot-learning-") as name:
        yield Path(name)
