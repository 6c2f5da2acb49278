import json

import cv2
import numpy as np
import pytest

from robot_learning.core.errors import ConfigError, SpecMismatch, UnknownName
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Episode
from robot_learning.datasets.store import DemoStore
from robot_learning.serving.goals import check_goal, read_goal
from tests.runtime.policies import GoToGoal, Scripted

SPEC = RobotSpec(
    observation={"position": ArraySpec((2,), unit="m"), "rgb": ArraySpec((4, 6, 3), "uint8")},
    action=ArraySpec((2,)),
    control_hz=10.0,
)
STEPS = 5


def episode(number):
    rows = np.arange(STEPS + 1, dtype=np.float32)
    return Episode(
        observation={
            "position": np.stack([rows, np.full_like(rows, number)], axis=1),
            "rgb": np.broadcast_to(rows.astype(np.uint8)[:, None, None, None], (STEPS + 1, 4, 6, 3)).copy(),
        },
        action=np.zeros((STEPS, 2), np.float32),
        applied=np.zeros((STEPS, 2), np.float32),
        time=rows.astype(np.float64),
        source=("human",) * STEPS,
        reward=np.full(STEPS, np.nan, np.float32),
        instruction="open the drawer" if number else "",
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("goals") / "play.zarr"
    with DemoStore.create(path, SPEC) as created:
        for number in range(3):
            created.append(episode(number))
    return path


@pytest.mark.parametrize("text", [None, ""])
def test_no_goal(text):
    assert read_goal(text, spec=SPEC) == {}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{store}:2@end", (5, 2)),
        ("store:{store}:1@end", (5, 1)),
        ("store:1@3", (3, 1)),
        ("1@0", (0, 1)),
        ("store:-1@-2", (4, 2)),
    ],
)
def test_a_frame_of_a_store(store, form, expected):
    goal = read_goal(form.format(store=store), spec=SPEC, store=store)
    np.testing.assert_array_equal(goal["position"], expected)
    assert goal["position"].dtype == np.float32
    assert goal["rgb"].shape == (4, 6, 3)
    assert np.all(goal["rgb"] == expected[0])
    assert goal["instruction"] == "open the drawer"


def test_an_episode_without_instruction(store):
    assert "instruction" not in read_goal("store:0@end", spec=SPEC, store=store)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("store:3@end", r"expected an episode from 0 to 2, got 3"),
        ("store:-4@end", r"expected an episode from 0 to 2, got -4"),
        ("store:0@6", r"expected a frame from 0 to 5 or `end`, got 6"),
        ("goal.txt", r"goal 'goal.txt': expected STORE:EPISODE@FRAME"),
        ("nowhere.npz", r"goal nowhere.npz: expected a file, got none there"),
    ],
)
def test_what_does_not_exist(store, text, message):
    with pytest.raises(ConfigError, match=message):
        read_goal(text, spec=SPEC, store=store)


def test_a_frame_without_a_store():
    with pytest.raises(ConfigError, match=r"set goal_store=PATH or write PATH:42@end"):
        read_goal("store:42@end", spec=SPEC)


def test_a_store_that_does_not_exist(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.zarr"):
        read_goal(f"{tmp_path}/none.zarr:0@end", spec=SPEC)


def test_a_state_file(tmp_path):
    np.savez(tmp_path / "goal.npz", position=np.array([1.0, 2.0], np.float32), time=np.asarray(3.0))
    goal = read_goal(str(tmp_path / "goal.npz"), spec=SPEC)
    assert list(goal) == ["position"]
    np.testing.assert_array_equal(goal["position"], [1, 2])


def test_a_json_file_with_whole_numbers(tmp_path):
    (tmp_path / "goal.json").write_text(json.dumps({"position": [1, 2], "instruction": "go"}))
    goal = read_goal(str(tmp_path / "goal.json"), spec=SPEC)
    np.testing.assert_array_equal(goal["position"], [1, 2])
    assert goal["position"].dtype == np.float32
    assert goal["instruction"] == "go"


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", ConfigError, "expected JSON"),
        ("[1, 2]", ConfigError, "expected observation keys with their values, got list"),
        ('{"position": [1, 2, 3]}', SpecMismatch, r"goal 'position': expected shape \(2,\), got \(3,\)"),
        ('{"positoin": [1, 2]}', UnknownName, "nearest: position"),
        ('{"position": ["a", "b"]}', SpecMismatch, "expected dtype float32"),
    ],
)
def test_a_broken_json_file(tmp_path, content, error, message):
    (tmp_path / "goal.json").write_text(content)
    with pytest.raises(error, match=message):
        read_goal(str(tmp_path / "goal.json"), spec=SPEC)


def test_a_npz_file_with_objects_is_not_executed(tmp_path):
    np.savez(tmp_path / "goal.npz", position=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ConfigError, match="expected plain arrays"):
        read_goal(str(tmp_path / "goal.npz"), spec=SPEC)


def test_an_image_becomes_the_policys_one_goal_image(tmp_path):
    picture = np.zeros((8, 12, 3), np.uint8)
    picture[..., 2] = 200  # red in OpenCV's order
    cv2.imwrite(str(tmp_path / "goal.png"), picture)
    goal = read_goal(str(tmp_path / "goal.png"), spec=SPEC, keys=("position", "rgb"))
    assert list(goal) == ["rgb"]
    assert goal["rgb"].shape == (4, 6, 3)
    np.testing.assert_array_equal(goal["rgb"][0, 0], [200, 0, 0])
    with pytest.raises(ConfigError, match="expected a policy with one goal image, got none"):
        read_goal(str(tmp_path / "goal.png"), spec=SPEC, keys=("position",))


def test_a_file_that_only_looks_like_an_image(tmp_path):
    (tmp_path / "goal.png").write_text("hello")
    with pytest.raises(ConfigError, match="expected an image, got something else"):
        read_goal(str(tmp_path / "goal.png"), spec=SPEC, keys=("rgb",))


def test_a_sentence():
    assert read_goal("text: open the drawer", spec=SPEC) == {"instruction": "open the drawer"}


def test_a_goal_that_a_policy_would_ignore_is_refused():
    reader = GoToGoal()
    reader.goal_keys, reader.goal_choices = ("instruction",), (("instruction",),)
    check_goal(reader, {"instruction": "go home"})
    check_goal(GoToGoal(), {"position": np.zeros(2), "instruction": "go home"})
    check_goal(Scripted(), {})
    with pytest.raises(SpecMismatch, match=r"trained without language; expected a goal with \['position'\]"):
        check_goal(GoToGoal(), {"instruction": "go home"})
    with pytest.raises(SpecMismatch, match=r"trained without goals; got \['instruction'\]"):
        check_goal(Scripted(), {"instruction": "go home"})
    with pytest.raises(SpecMismatch, match=r"goal: expected \['instruction'\], which the policy reads, got \['position'\]"):
        check_goal(reader, {"position": np.zeros(2)})
    with pytest.raises(SpecMismatch, match="instruction: expected words, got none"):
        check_goal(reader, {"instruction": " "})
    with pytest.raises(SpecMismatch, match="128 bytes"):
        check_goal(reader, {"instruction": "go " * 50})
