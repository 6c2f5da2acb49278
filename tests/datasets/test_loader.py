import numpy as np
import pytest
import torch

from robot_learning.core.errors import ConfigError
from robot_learning.datasets.loader import WindowLoader
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.windows import Windows, WindowSpec
from tests.datasets.episodes import IMAGE_SPEC, make_episode

KEYS = ["joint_position", "contact", "camera"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("loader") / "demos.zarr"
    with DemoStore.create(path, IMAGE_SPEC) as store:
        for seed in range(4):
            store.append(make_episode(IMAGE_SPEC, 15, seed=seed))
    return DemoStore.open(path)


@pytest.fixture
def windows(store):
    return Windows(store, WindowSpec(2, 3, "future", (1, 5)), KEYS, ["pose"])


def flat(batch, prefix=""):
    for key, value in batch.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def assert_equal(first, second):
    for (name, left), (other, right) in zip(flat(first), flat(second), strict=True):
        assert name == other
        assert left.dtype == right.dtype
        assert torch.equal(left, right), name


def test_a_batch_is_torch(windows):
    batch = next(WindowLoader(windows, 6, seed=0))
    shapes = {name: (tuple(value.shape), value.dtype) for name, value in flat(batch)}
    assert shapes == {
        "observation/joint_position": ((6, 2, 3), torch.float32),
        "observation/contact": ((6, 2), torch.bool),
        "observation/camera": ((6, 2, 12, 16, 3), torch.uint8),
        "action": ((6, 4, 2), torch.float32),
        "observation_mask": ((6, 2), torch.bool),
        "action_mask": ((6, 4), torch.bool),
        "index": ((6,), torch.int64),
        "goal_steps": ((6,), torch.int64),
        "goal/pose": ((6, 2, 2), torch.float64),
    }


@pytest.mark.parametrize("num_workers", [1, 3])
@pytest.mark.parametrize("image_budget", [None, 0])
def test_workers_change_nothing(store, windows, num_workers, image_budget):
    others = Windows(store, windows.spec, KEYS, ["pose"], image_budget=image_budget)
    plain, ahead = WindowLoader(windows, 7, seed=3), WindowLoader(others, 7, seed=3, num_workers=num_workers)
    for _ in range(25):
        assert_equal(next(plain), next(ahead))
    ahead.close()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resuming_goes_on_with_the_next_batch(windows, num_workers):
    straight = WindowLoader(windows, 8, seed=1)
    stopped = WindowLoader(windows, 8, seed=1, num_workers=num_workers)
    for _ in range(11):
        next(straight), next(stopped)
    state = stopped.state_dict()
    resumed = WindowLoader(windows, 8, seed=1, num_workers=num_workers)
    next(resumed)
    resumed.load_state_dict(state)
    for _ in range(11):
        assert_equal(next(straight), next(resumed))
    assert resumed.epoch == 22 // 7
    stopped.close(), resumed.close()


def test_an_epoch_visits_every_window_once(windows):
    loader = WindowLoader(windows, 7, seed=0, drop_last=False)
    assert loader.epoch_steps == 9
    epochs = [np.concatenate([next(loader)["index"].numpy() for _ in range(9)]) for _ in range(2)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(60))
    assert epochs[0].tolist() != epochs[1].tolist()
    assert WindowLoader(windows, 7, seed=0).epoch_steps == 8


def test_goals_change_from_epoch_to_epoch(windows):
    loader = WindowLoader(windows, 60, seed=0)
    first, second = next(loader), next(loader)
    order = [batch["index"].argsort() for batch in (first, second)]
    assert not torch.equal(first["goal"]["pose"][order[0]], second["goal"]["pose"][order[1]])


def test_a_fraction_of_the_windows(windows):
    loader = WindowLoader(windows, 5, seed=0, fraction=0.25)
    assert loader.epoch_steps == 3
    seen = [{int(i) for _ in range(3) for i in next(loader)["index"]} for _ in range(2)]
    assert len(seen[0]) == len(seen[1]) == 15
    assert seen[0] != seen[1]


def test_wrong_settings_are_refused(store, windows):
    with pytest.raises(ConfigError, match="expected 1 to 60"):
        WindowLoader(windows, 61, seed=0)
    assert len(next(WindowLoader(windows, 61, seed=0, drop_last=False))["index"]) == 60
    with pytest.raises(ConfigError, match="fraction"):
        WindowLoader(windows, 1, seed=0, fraction=0.0)
    with pytest.raises(ConfigError, match="number of windows"):
        WindowLoader(Windows(store, WindowSpec(), ["pose"], episodes=[]), 1, seed=0)
    state = WindowLoader(windows, 8, seed=1).state_dict()
    with pytest.raises(ConfigError, match="batch: expected 8, got 9"):
        WindowLoader(windows, 9, seed=1).load_state_dict(state)
    with pytest.raises(ConfigError, match="epoch_steps: expected 7, got 3"):
        WindowLoader(windows, 8, seed=1, fraction=0.5).load_state_dict(state)


@pytest.mark.gpu
def test_batches_land_on_the_device(windows):
    for num_workers in (0, 2):
        loader = WindowLoader(windows, 8, seed=1, device="cuda", num_workers=num_workers)
        plain = WindowLoader(windows, 8, seed=1)
        for _ in range(5):
            batch = next(loader)
            assert {value.device.type for _, value in flat(batch)} == {"cuda"}
            assert_equal(next(plain), _to_cpu(batch))
        loader.close()


def _to_cpu(batch):
    return {key: _to_cpu(value) if isinstance(value, dict) else value.cpu() for key, value in batch.items()}
