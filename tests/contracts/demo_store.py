"""What every kind of demonstration store must do; inherit :class:`DemoStoreContract` and say how to make one."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from robot_learning.core.errors import ConfigError, SpecMismatch, StoreLocked
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.stores import merge, open_stores
from tests.datasets.episodes import assert_same, make_episode


class DemoStoreContract:
    """Inherit, and set what is stored."""

    spec = None
    options: ClassVar[dict] = {}
    tolerance = 0
    """Grey levels by which images may differ from what was appended."""

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "demos.zarr"

    @pytest.fixture
    def episodes(self):
        return [
            make_episode(self.spec, 7, seed=0),
            make_episode(self.spec, 1, seed=1, streams=("camera",), success=None),
            make_episode(self.spec, 5, seed=2, last_observation=False, success=False),
        ]

    @pytest.fixture
    def filled(self, path, episodes):
        with DemoStore.create(path, self.spec, meta={"note": "test"}, **self.options) as store:
            for episode in episodes:
                store.append(episode)
        return path

    def test_what_was_appended_is_read_back(self, filled, episodes):
        store = DemoStore.open(filled)
        assert len(store) == 3
        assert store.n_steps == 13
        assert store.n_rows == 8 + 2 + 5
        assert store.spec == self.spec
        assert store.meta == {"note": "test"}
        np.testing.assert_array_equal(store.spec.observation["joint_position"].low, -np.inf)
        for expected, got in zip(episodes, store, strict=True):
            assert_same(expected, got, tolerance=self.tolerance)
        assert_same(episodes[-1], store[-1], tolerance=self.tolerance)
        with pytest.raises(IndexError):
            store[3]

    def test_the_row_after_the_last_action_is_nan(self, filled):
        store = DemoStore.open(filled)
        action = store.read("action", 0, store.n_rows)
        assert np.flatnonzero(np.isnan(action).any(axis=1)).tolist() == [7, 9]
        np.testing.assert_array_equal(store.read("source", 7, 10), [-1, 1, -1])

    def test_appending_goes_on_after_reopening(self, filled, episodes):
        for seed in (3, 4):
            with DemoStore.open(filled, "a") as store:
                assert store.append(make_episode(self.spec, 4, seed=seed)) == seed
        store = DemoStore.open(filled)
        assert len(store) == 5
        assert_same(episodes[1], store[1], tolerance=self.tolerance)
        assert store.verify() == []

    def test_the_table_has_one_column_per_fact(self, filled):
        table = DemoStore.open(filled).table
        assert table["success"] == [True, None, False]
        assert table["steps"] == [7, 1, 5]
        assert table["seed"] == [0, 1, 2]
        assert table["instruction"] == ["move 0", "move 1", "move 2"]
        assert table["operator"] == ["tester"] * 3
        assert {len(column) for column in table.values()} == {3}

    def test_only_one_writer(self, filled):
        with DemoStore.open(filled, "a"):
            with pytest.raises(StoreLocked, match="being written by process"):
                DemoStore.open(filled, "a")
            assert len(DemoStore.open(filled)) == 3
        DemoStore.open(filled, "a").close()

    def test_a_reader_cannot_append(self, filled):
        with pytest.raises(ConfigError, match="mode='a'"):
            DemoStore.open(filled).append(make_episode(self.spec))

    def test_nothing_is_overwritten(self, filled):
        with pytest.raises(ConfigError, match="expected no file or folder"):
            DemoStore.create(filled, self.spec)

    def test_an_episode_of_another_robot_is_refused(self, filled):
        episode = make_episode(self.spec)
        wrong_shape = {**episode.observation, "pose": np.zeros((8, 3, 2))}
        missing = {key: value for key, value in episode.observation.items() if key != "pose"}
        with DemoStore.open(filled, "a") as store:
            for observation in (wrong_shape, missing):
                with pytest.raises(SpecMismatch, match="pose"):
                    store.append(dataclasses.replace(episode, observation=observation))
            assert len(store) == 3
            assert store.verify() == []

    @pytest.mark.parametrize("name", ["action", "applied"])
    def test_an_action_that_is_not_finite_is_refused(self, filled, name):
        episode = make_episode(self.spec)
        wrong = getattr(episode, name).copy()
        wrong[2, 1] = np.nan
        with DemoStore.open(filled, "a") as store, pytest.raises(SpecMismatch, match=f"{name}.*step 2"):
            store.append(dataclasses.replace(episode, **{name: wrong}))

    def test_time_that_runs_backwards_is_refused(self, filled):
        episode = make_episode(self.spec)
        with DemoStore.open(filled, "a") as store, pytest.raises(SpecMismatch, match="never fall"):
            store.append(dataclasses.replace(episode, time=episode.time[::-1]))

    def test_a_sound_store_verifies(self, filled):
        assert DemoStore.open(filled).verify() == []

    def test_statistics_are_those_of_all_rows(self, filled):
        store = DemoStore.open(filled)
        statistics = store.statistics()
        assert set(statistics) == {*self.spec.observation, "action"}
        for key, stats in statistics.items():
            exact = 1e-9
            if key in self.spec.image_keys:
                values = store.read(key, 0, store.n_rows).reshape(-1, self.spec.observation[key].shape[-1]).astype(float)
                if self.spec.observation[key].is_depth:  # counted in bins
                    values, exact = values // 16 * 16, 1e-6
            else:
                values = store.read(key, 0, store.n_rows).astype(float)
                values = values[np.isfinite(values).reshape(len(values), -1).all(axis=1)]
                assert stats.count == len(values)
            np.testing.assert_allclose(stats.mean, values.mean(axis=0), atol=exact)
            np.testing.assert_allclose(stats.std, values.std(axis=0), atol=exact)
            np.testing.assert_array_equal(stats.low, values.min(axis=0))
            np.testing.assert_array_equal(stats.high, values.max(axis=0))

    def test_many_stores_read_as_one(self, filled, tmp_path, episodes):
        other = tmp_path / "other.zarr"
        with DemoStore.create(other, self.spec, **self.options) as store:
            store.append(make_episode(self.spec, 3, seed=9))
        stores = open_stores([filled, other])
        assert len(stores) == 4
        assert stores.n_steps == 16
        assert stores.episode_ends.tolist() == [8, 10, 15, 19]
        assert_same(episodes[2], stores[2], tolerance=self.tolerance)
        assert_same(make_episode(self.spec, 3, seed=9), stores[3], tolerance=self.tolerance)
        both = np.concatenate([store.read("pose", 0, store.n_rows) for store in stores.stores])
        np.testing.assert_array_equal(stores.read("pose", 7, 17), both[7:17])
        assert stores.verify() == []

    def test_merging_keeps_everything(self, filled, tmp_path, episodes):
        other, merged = tmp_path / "other.zarr", tmp_path / "merged.zarr"
        with DemoStore.create(other, self.spec, **self.options) as store:
            store.append(make_episode(self.spec, 3, seed=9))
        merge([other, filled], merged).close()
        store = DemoStore.open(merged)
        for got, expected in zip(store, open_stores([other, filled]), strict=True):
            assert_same(expected, got)
        assert store.verify() == []
        assert [item["fingerprint"] for item in store.meta["merged_from"]] == [
            DemoStore.open(path).fingerprint() for path in (other, filled)
        ]

    def test_the_fingerprint_is_of_the_content(self, filled, tmp_path):
        fingerprint = DemoStore.open(filled).fingerprint()
        copy = tmp_path / "copy.zarr"
        merge([filled], copy).close()
        assert DemoStore.open(copy).fingerprint() == fingerprint
        with DemoStore.open(copy, "a") as store:
            store.append(make_episode(self.spec))
            assert store.fingerprint() != fingerprint
