"""Parts settle themselves wherever they stand, once, and nobody else is asked."""

import pytest
from torch import nn

from robot_learning.core.errors import ConfigError
from robot_learning.nn import parts
from robot_learning.nn.parts import settle, unsettled


class Part(nn.Module):
    asked = 0
    settled_by = ("found",)

    @classmethod
    def settle(cls, config):
        cls.asked += 1
        return {**config, "found": f"in {config['source']}"}


@pytest.fixture
def target(monkeypatch):
    monkeypatch.setattr(parts, "Part", Part, raising=False)
    monkeypatch.setattr(Part, "asked", 0)
    return {"_target_": "robot_learning.nn.parts.Part", "source": "here"}


def test_they_are_found_at_any_depth(target):
    plain = {"_target_": "robot_learning.nn.mlp.ResidualMLP", "width": 3, "keys": ("a", "b"), "none": None}
    settled = settle({**plain, "vision": {"encoder": target, "more": [target]}})
    found = {**target, "found": "in here"}
    assert settled == {**plain, "keys": ["a", "b"], "vision": {"encoder": found, "more": [found]}}
    assert target == {"_target_": "robot_learning.nn.parts.Part", "source": "here"}, "the configuration is left alone"
    assert settle(plain)["none"] is None


def test_what_was_settled_before_is_kept_unless_it_was_asked_for_otherwise(target):
    former = settle({"encoder": target})
    assert settle({"encoder": target}, former) == former
    assert Part.asked == 1
    moved = {**target, "source": "there"}
    assert settle({"encoder": moved}, former)["encoder"]["found"] == "in there"
    assert Part.asked == 2


def test_who_would_look_outside_is_told_without_looking(target):
    plain = {"_target_": "robot_learning.nn.mlp.ResidualMLP", "width": 3}
    within = {**plain, "vision": {"encoder": target, "more": [{**target, "found": None}]}}
    assert unsettled(within) == [target["_target_"]] * 2
    assert not Part.asked
    assert unsettled(settle(within)) == unsettled(plain) == []


def test_a_name_that_is_none_of_ours_is_refused():
    with pytest.raises(ConfigError, match="expected a name in robot_learning"):
        settle({"vision": {"_target_": "os.system"}})
