from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_learning.core.errors import ConfigError, SpecMismatch, UnknownName
from robot_learning.core.language import decode_instruction
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Episode
from robot_learning.datasets.randomness import KeyedRandom
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.stores import open_stores
from robot_learning.datasets.windows import Windows, WindowSpec, goal_offsets, split_episodes
from tests.datasets.episodes import IMAGE_SPEC, make_episode

SPEC = RobotSpec({"row": ArraySpec((1,), "float32"), "count": ArraySpec((2,), "int32")}, ArraySpec((1,)), 10.0)
LENGTHS = [(5, True), (1, True), (3, False), (9, True)]
"""Steps of the episodes, and whether the observation after the last action is there."""


def counting_episode(number, steps, last):
    """Row i of episode e observes 100 e + i; the action in row i is that plus a half."""
    rows = 100.0 * number + np.arange(steps + int(last))
    return Episode(
        observation={"row": rows[:, None].astype("f4"), "count": np.stack([rows, -rows], 1).astype("i4")},
        action=(rows[:steps, None] + 0.5).astype("f4"),
        applied=(rows[:steps, None] + 0.5).astype("f4"),
        time=np.arange(len(rows)) * 0.1,
        source=("test",) * steps,
        reward=np.zeros(steps, "f4"),
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("windows")
    for part in (0, 1):
        with DemoStore.create(folder / f"{part}.zarr", SPEC) as store:
            for number in (0, 1) if part == 0 else (2, 3):
                store.append(counting_episode(number, *LENGTHS[number]))
    return open_stores([folder / "0.zarr", folder / "1.zarr"])


def test_a_window_by_hand(stores):
    windows = Windows(stores, WindowSpec(n_obs=3, n_action=2, goal="final"), ["row", "count"], ["row"])
    assert len(windows) == 5 + 1 + 3 + 9
    batch = windows.gather(np.array([1, 4, 5, 8]))
    assert batch["observation"]["row"].tolist() == [
        [[0], [0], [1]],
        [[2], [3], [4]],
        [[100], [100], [100]],
        [[200], [201], [202]],
    ]
    assert batch["observation"]["count"][1].tolist() == [[2, -2], [3, -3], [4, -4]]
    assert batch["observation"]["count"].dtype == np.int32
    assert batch["observation_mask"].tolist() == [[False, True, True], [True] * 3, [False, False, True], [True] * 3]
    assert batch["action"][..., 0].tolist() == [
        [0, 0.5, 1.5, 2.5],
        [2.5, 3.5, 4.5, 4.5],
        [0, 0, 100.5, 100.5],
        [200.5, 201.5, 202.5, 202.5],
    ]
    assert batch["action_mask"].tolist() == [
        [False, True, True, True],
        [True, True, True, False],
        [False, False, True, False],
        [True, True, True, False],
    ]
    assert batch["goal"]["row"].ravel().tolist() == [5, 5, 101, 202]
    assert batch["index"].tolist() == [1, 4, 5, 8]


def test_what_comes_next_by_hand(stores):
    """Future rows end with the episode: the observation after the last action belongs to it."""
    spec = WindowSpec(n_future=2, goal="n_step", goal_range=(1, 4))
    windows = Windows(stores, spec, ["row"], ["row"], future_keys=["count"])
    batch = windows.gather(np.array([0, 3, 4, 5, 8]))
    assert batch["future"]["count"][..., 0].tolist() == [[1, 2], [4, 5], [5, 5], [101, 101], [202, 202]]
    assert batch["future_mask"].tolist() == [[True, True], [True, True], [True, False], [True, False], [False, False]]
    assert batch["goal"]["row"].ravel().tolist() == [4, 5, 5, 101, 202]
    assert batch["goal_steps"].tolist() == [4, 2, 1, 1, 0]
    assert "future" not in Windows(stores, WindowSpec(), ["row"], future_keys=["count"]).gather(np.array([0]))


def test_windows_of_some_episodes(stores):
    windows = Windows(stores, WindowSpec(), ["row"], episodes=[3, 1])
    assert len(windows) == 10
    assert windows.gather(np.arange(10))["observation"]["row"].ravel().tolist() == [*range(300, 309), 100]
    assert len(windows.columns.actions) == 12
    backwards = Windows(stores, WindowSpec(), ["row"], episodes=[3, 2, 1, 0])
    assert backwards.gather(np.array([0, 17]))["observation"]["row"].ravel().tolist() == [300, 4]
    assert len(Windows(stores, WindowSpec(), ["row"], episodes=[])) == 0


def test_goals_a_fixed_number_of_steps_ahead(stores):
    windows = Windows(stores, WindowSpec(goal="n_step", goal_range=(2, 2)), ["row"], ["row"])
    goals = windows.gather(np.arange(5))["goal"]["row"].ravel()
    assert goals.tolist() == [2, 3, 4, 5, 5]


def test_no_goal_without_goals(stores):
    assert "goal" not in Windows(stores, WindowSpec(), ["row"]).gather(np.arange(3))


def test_a_batch_may_be_written_to(stores):
    windows = Windows(stores, WindowSpec(), ["row"])
    batch = windows.gather(np.arange(4))
    batch["action"][:] = 7
    batch["observation"]["row"][:] = 7
    assert windows.gather(np.arange(4))["action"].ravel().tolist() == [0.5, 1.5, 2.5, 3.5]
    assert windows.gather(np.arange(4))["observation"]["row"].ravel().tolist() == [0, 1, 2, 3]


@settings(max_examples=150, deadline=None)
@given(
    n_obs=st.integers(1, 6),
    n_action=st.integers(1, 12),
    goal=st.sampled_from(["final", "future", "n_step"]),
    goal_range=st.tuples(st.integers(0, 8), st.integers(0, 8)).map(lambda pair: tuple(sorted(pair))),
    sampling=st.sampled_from(["uniform", "geometric"]),
    final=st.sampled_from([0.0, 0.5, 1.0]),
    indices=st.lists(st.integers(0, 17), min_size=1, max_size=20),
    seed=st.integers(0, 5),
)
def test_windows_stay_within_their_episode(stores, n_obs, n_action, goal, goal_range, sampling, final, indices, seed):
    spec = WindowSpec(n_obs, n_action, goal, goal_range, sampling, final_probability=final)
    batch = Windows(stores, spec, ["row"], ["row"]).gather(np.array(indices), KeyedRandom(seed))
    row, action, reached = (batch[name] for name in ("observation", "action", "goal"))
    row, action, reached = row["row"][..., 0], action[..., 0], reached["row"][..., 0]
    episode = (row[:, -1] // 100).astype(int)
    newest = row[:, -1] - 100 * episode
    steps = np.array([length for length, _ in LENGTHS])[episode]
    last_row = np.array([length - 1 + last for length, last in LENGTHS])[episode]
    assert (row // 100 == episode[:, None]).all()
    assert (reached // 100 == episode).all()
    wanted = newest[:, None] + np.arange(1 - n_obs, 1)
    np.testing.assert_array_equal(batch["observation_mask"], wanted >= 0)
    np.testing.assert_array_equal(row - 100 * episode[:, None], np.maximum(wanted, 0))
    wanted = newest[:, None] + np.arange(1 - n_obs, n_action)
    np.testing.assert_array_equal(batch["action_mask"], (wanted >= 0) & (wanted < steps[:, None]))
    held = 100 * episode[:, None] + np.minimum(wanted, steps[:, None] - 1) + 0.5
    np.testing.assert_array_equal(action, np.where(wanted < 0, 0, held))
    ahead = reached - row[:, -1]
    if goal == "future":
        is_last = reached - 100 * episode == last_row
        assert (is_last | ((ahead >= goal_range[0]) & (ahead <= goal_range[1]))).all()
        assert final < 1.0 or is_last.all()
    assert (ahead >= 0).all()


@given(seed=st.integers(0, 1000), epoch=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_keyed_numbers_depend_on_their_key_alone(seed, epoch):
    rng = KeyedRandom(seed, epoch)
    indices = np.arange(2000)
    numbers = rng.uniform(indices, 0)
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert abs(numbers.mean() - 0.5) < 0.04
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.12
    np.testing.assert_array_equal(rng.uniform(indices[::-7], 0), numbers[::-7])
    for other in (KeyedRandom(seed + 1, epoch), KeyedRandom(seed, epoch + 1)):
        assert not np.intersect1d(numbers, other.uniform(indices, 0)).size
    assert not np.intersect1d(numbers, rng.uniform(indices, 1)).size


def test_future_goals_follow_their_distribution():
    uniform = (np.arange(100_000) + 0.5) / 100_000
    steps = goal_offsets(WindowSpec(goal="future", goal_range=(3, 6)), uniform)
    assert np.unique(steps, return_counts=True)[1].tolist() == [25_000] * 4
    spec = WindowSpec(goal="future", goal_range=(1, 500), goal_sampling="geometric", goal_mean=10.0)
    steps = goal_offsets(spec, uniform)
    assert steps.min() == 1
    assert steps.mean() == pytest.approx(10.0, rel=0.01)
    counts = np.bincount(steps)
    assert counts[2] / counts[1] == pytest.approx(0.9, rel=0.01)
    narrow = goal_offsets(WindowSpec(goal="future", goal_range=(2, 4), goal_sampling="geometric"), uniform)
    assert set(narrow) == {2, 3, 4}


def test_the_split_holds_out_whole_episodes():
    training, held_out = split_episodes(100, 0.05, seed=0)
    assert len(held_out) == 5
    assert sorted(training + held_out) == list(range(100))
    assert split_episodes(100, 0.05, seed=0)[1] == held_out
    assert split_episodes(100, 0.05, seed=1)[1] != held_out
    assert [len(part) for part in split_episodes(3, 0.05, seed=0)] == [2, 1]
    assert split_episodes(1, 0.5, seed=0) == ([0], [])
    assert split_episodes(4, 0.0, seed=0) == ([0, 1, 2, 3], [])


@pytest.mark.parametrize("budget", [None, 0, 6000])
@pytest.mark.parametrize("codec", ["zstd", "jpeg"])
def test_images_are_the_same_in_memory_and_from_disk(tmp_path, codec, budget):
    for part in (0, 1):
        with DemoStore.create(tmp_path / f"{part}.zarr", IMAGE_SPEC, image_codec=codec) as store:
            for seed in range(3):
                store.append(make_episode(IMAGE_SPEC, 90, seed=10 * part + seed))
    stores = open_stores([tmp_path / "0.zarr", tmp_path / "1.zarr"])
    spec = WindowSpec(n_obs=2, goal="final")
    windows = Windows(stores, spec, ["camera", "pose"], ["camera"], episodes=[4, 1], image_budget=budget)
    assert bool(windows.columns.images) == (budget is None)
    for _ in range(2):
        batch = windows.gather(np.array([0, 1, 89, 95, 95, 0]))
        expected = [stores[4], stores[4], stores[4], stores[1], stores[1], stores[4]]
        for got, goal, episode, row in zip(
            batch["observation"]["camera"], batch["goal"]["camera"], expected, [0, 1, 89, 5, 5, 0], strict=True
        ):
            np.testing.assert_array_equal(got, episode.observation["camera"][[max(row - 1, 0), row]])
            np.testing.assert_array_equal(goal, episode.observation["camera"][-1])


def test_wrong_settings_are_refused(stores):
    with pytest.raises(UnknownName, match="nearest: row"):
        Windows(stores, WindowSpec(), ["rov"])
    with pytest.raises(UnknownName, match="nearest: future"):
        WindowSpec(goal="futre")
    with pytest.raises(ConfigError, match="goal_keys"):
        Windows(stores, WindowSpec(goal="final"), ["row"])
    with pytest.raises(ConfigError, match="goal_range"):
        WindowSpec(goal="future", goal_range=(5, 2))
    with pytest.raises(ConfigError, match="n_obs"):
        WindowSpec(n_obs=0)
    with pytest.raises(ConfigError, match="rng"):
        Windows(stores, WindowSpec(goal="future"), ["row"], ["row"]).gather(np.arange(2))
    with pytest.raises(IndexError, match="below 18"):
        Windows(stores, WindowSpec(), ["row"]).gather(np.array([18]))


def test_windows_carry_what_their_episode_was_asked(tmp_path):
    """Beside goals of rows, over two stores, some episodes left out, and none where nothing was asked."""
    asked = ["open the drawer", "", "schließ die Tür", "push"]
    for part in (0, 1):
        with DemoStore.create(tmp_path / f"{part}.zarr", SPEC) as store:
            for number in (2 * part, 2 * part + 1):
                store.append(replace(counting_episode(number, *LENGTHS[number]), instruction=asked[number]))
    stores = open_stores([tmp_path / "0.zarr", tmp_path / "1.zarr"])
    windows = Windows(stores, WindowSpec(goal="final"), ["row"], ["row", "instruction"], episodes=[2, 0, 1])
    goal = windows.gather(np.array([0, 2, 3, 7, 8]))["goal"]
    assert goal["row"].tolist() == [[202], [202], [5], [5], [101]]
    assert [decode_instruction(text) for text in goal["instruction"]] == [asked[2]] * 2 + [asked[0]] * 2 + [""]
    words = Windows(stores, WindowSpec(goal="final"), ["row"], ["instruction"]).gather(np.array([17]))["goal"]
    assert decode_instruction(words["instruction"][0]) == "push"
    with DemoStore.open(tmp_path / "0.zarr", "a") as store:
        store.append(replace(counting_episode(4, 2, False), instruction="word " * 40))
        with pytest.raises(SpecMismatch, match="instruction of episode 2: expected at most 128 bytes"):
            Windows(store, WindowSpec(goal="final"), ["row"], ["instruction"])
