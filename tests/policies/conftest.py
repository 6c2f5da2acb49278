"""Settings of the policies' tests."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Compute on one thread: tiny networks on several wait for one another where another process has a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
