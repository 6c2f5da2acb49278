import numpy as np
import pytest
import torch

from robot_learning.core.errors import ConfigError
from robot_learning.datasets import columns
from robot_learning.datasets.loader import WindowLoader
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.windows import Windows, WindowSpec
from tests.datasets.episodes import IMAGE_SPEC, make_episode

KEYS = ["joint_position", "contact", "camera", "depth"]


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
        "observation/depth": ((6, 2, 12, 16, 1), torch.uint16),
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


SPECS = {
    "one step": WindowSpec(),
    "uniform goals": WindowSpec(2, 3, "future", (1, 5), final_probability=0.3),
    "geometric goals and a future": WindowSpec(1, 4, "future", (0, 9), "geometric", n_future=3),
    "final goals": WindowSpec(3, 1, "final"),
    "goals some steps ahead": WindowSpec(2, 2, "n_step", (1, 4), n_future=1),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("image_budget", [None, 0])
def test_where_the_data_lie_changes_nothing(store, spec, image_budget):
    keys = {"observation_keys": KEYS, "goal_keys": ["pose", "camera"], "future_keys": ["camera"], "episodes": [3, 0, 1]}
    plain = WindowLoader(Windows(store, spec, **keys), 7, seed=3)
    there = Windows(store, spec, **keys, image_budget=image_budget)
    resident = WindowLoader(there, 7, seed=3, resident=True, num_workers=2)
    for _ in range(9):
        assert_equal(next(plain), next(resident))
    again = WindowLoader(there, 7, seed=3, resident=True)  # what the first one took over is read again
    again.load_state_dict(plain.state_dict())
    for _ in range(9):
        assert_equal(next(plain), next(again))


def test_long_images_become_resident_block_by_block(store, monkeypatch):
    monkeypatch.setattr(columns, "_BLOCK", 7)
    disk = Windows(store, WindowSpec(), ["camera"], image_budget=0)
    assert [len(block) for block in disk.columns.blocks("camera")] == [7] * 9 + [1]
    memory = WindowLoader(Windows(store, WindowSpec(), ["camera"]), 9, seed=0)
    assert_equal(next(memory), next(WindowLoader(disk, 9, seed=0, resident=True)))


def test_only_a_gpu_is_chosen_by_itself(windows):
    assert not WindowLoader(windows, 8, seed=0, resident="auto").resident
    with pytest.raises(ConfigError, match=r"data\.resident: expected auto, true or false, got 'gpu'"):
        WindowLoader(windows, 8, seed=0, resident="gpu")


def test_the_size_of_the_data(windows):
    row = {"joint_position": 3 * 4, "contact": 1, "camera": 12 * 16 * 3, "depth": 12 * 16 * 2, "pose": 4 * 8, "action": 2 * 4}
    assert windows.columns.nbytes == 4 * 16 * sum(row.values())


@pytest.mark.parametrize("resident", [False, True])
def test_parts_make_up_the_batch(store, resident):
    options = {"seed": 2, "resident": resident}
    make = lambda: Windows(store, SPECS["uniform goals"], KEYS, ["pose"])  # noqa: E731
    whole, parts = WindowLoader(make(), 6, seed=2), [WindowLoader(make(), 6, part=(i, 3), **options) for i in range(3)]
    for _ in range(12):
        pieces = [dict(flat(next(part))) for part in parts]
        for name, value in flat(next(whole)):
            assert torch.equal(value, torch.cat([piece[name] for piece in pieces])), name
    parts[1].load_state_dict(whole.state_dict())
    with pytest.raises(ConfigError, match="batch_size: expected a multiple of the 4 processes that share a batch, got 6"):
        WindowLoader(make(), 6, seed=2, part=(1, 4))


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


GPU = {
    "copied": {"resident": False},
    "copied ahead by threads": {"resident": False, "num_workers": 2},
    "resident": {"resident": "auto"},
}


@pytest.mark.gpu
@pytest.mark.parametrize("options", GPU.values(), ids=GPU)
def test_batches_land_on_the_device(store, options):
    keys = (KEYS, ["pose", "camera"])
    spec = SPECS["uniform goals"]
    plain = WindowLoader(Windows(store, spec, *keys), 8, seed=1)
    loader = WindowLoader(Windows(store, spec, *keys), 8, seed=1, device="cuda", **options)
    assert loader.resident == (options["resident"] == "auto")
    busy = torch.randn(4096, 4096, device="cuda")
    for _ in range(20):
        batch = next(loader)
        busy = torch.tanh(busy @ busy)  # batches of later steps are made while the device computes
        assert {value.device.type for _, value in flat(batch)} == {"cuda"}
        assert_equal(next(plain), _to_cpu(batch))
    loader.close()


def test_data_larger_than_the_device_are_refused(windows, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (windows.columns.nbytes - 1, 1 << 40))
    assert not WindowLoader(windows, 8, seed=1, device="cuda", resident="auto").resident
    with pytest.raises(ConfigError, match=r"data\.resident=true: expected at most"):
        WindowLoader(windows, 8, seed=1, device="cuda", resident=True)


def _to_cpu(batch):
    return {key: _to_cpu(value) if isinstance(value, dict) else value.cpu() for key, value in batch.items()}
