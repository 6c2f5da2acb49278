"""Every task's predicate on hand-made scenes: where it holds, and the nearest thing where it does not."""

import dataclasses

import numpy as np
import pytest

from robot_learning.core.errors import UnknownName
from robot_learning.sim.tasks.table import TASKS, task
from tests.sim.scenes import IN_DRAWER, ON_SHELF, UPRIGHT, scene, turned

PAPER = {
    "grasp_lift", "grasp_upright", "grasp_flat", "open_sliding", "close_sliding", "open_drawer", "close_drawer",
    "sweep_object", "knock_object", "push_red_button", "push_green_button", "push_blue_button", "rotate_left",
    "rotate_right", "sweep_left", "sweep_right", "put_into_shelf", "pull_out_of_shelf",
}  # fmt: skip
STANDING = {"axis1": UPRIGHT, "block1": (0.52, 0.0, 0.05)}
ROOMY = {"block0": ON_SHELF, "block2": (0.52, 0.32, 0.02)}
HIGH = {"axis1": UPRIGHT, "block1": (0.52, 0.0, 0.14)}

# task, before, after in which it was done, after in which it was not
CASES = [
    (
        "grasp_lift",
        {"drawer": 1.0, "block0": IN_DRAWER},
        {"drawer": 1.0},
        {"drawer": 1.0, "block0": (0.37, -0.1, 0.12)},
    ),
    ("grasp_upright", STANDING, HIGH, {"axis1": UPRIGHT, "block1": (0.52, 0.0, 0.06)}),
    ("grasp_upright", STANDING, HIGH, {"block1": (0.52, 0.0, 0.14)}),
    ("grasp_flat", {}, {"block1": (0.52, 0.0, 0.10)}, {"block1": (0.52, 0.0, 0.03)}),
    ("open_sliding", {"door": 0.0}, {"door": 0.95}, {"door": 0.5}),
    ("close_sliding", {"door": 1.0}, {"door": 0.05}, {"door": 0.5}),
    ("open_drawer", {"drawer": 0.0}, {"drawer": 0.95}, {"drawer": 0.5}),
    ("close_drawer", {"drawer": 1.0}, {"drawer": 0.05}, {"drawer": 0.5}),
    (
        "sweep_object",
        {"drawer": 1.0, "block0": (0.505, -0.1, 0.02)},
        {"drawer": 1.0, "block0": IN_DRAWER},
        {"drawer": 1.0, "block0": (0.46, -0.1, 0.02)},
    ),
    ("knock_object", STANDING, {}, HIGH),
    ("push_red_button", {}, {"lights": (True, False, False)}, {"lights": (False, True, False)}),
    ("push_green_button", {"lights": (False, True, False)}, {}, {"lights": (True, True, False)}),
    ("push_blue_button", {}, {"lights": (False, False, True)}, {"lights": (True, True, False)}),
    ("rotate_left", {}, {"axis1": turned(60)}, {"axis1": turned(-60)}),
    ("rotate_left", {"axis1": turned(70)}, {"axis1": turned(130)}, {"axis1": turned(85)}),
    ("rotate_right", {}, {"axis1": turned(-60)}, {"axis1": turned(60)}),
    ("rotate_right", {}, {"axis1": turned(-60)}, {"axis1": turned(-60), "block1": (0.52, 0.0, 0.10)}),
    ("sweep_left", ROOMY, {**ROOMY, "block1": (0.52, 0.10, 0.02)}, {**ROOMY, "block1": (0.52, -0.10, 0.02)}),
    ("sweep_left", ROOMY, {**ROOMY, "block1": (0.52, 0.10, 0.02)}, {**ROOMY, "block1": (0.52, 0.10, 0.09)}),
    ("sweep_right", ROOMY, {**ROOMY, "block1": (0.52, -0.10, 0.02)}, {**ROOMY, "block1": (0.52, 0.10, 0.02)}),
    ("put_into_shelf", {"door": 1.0}, {"door": 1.0, "block1": ON_SHELF}, {"door": 1.0, "block1": (*ON_SHELF[:2], 0.1)}),
    ("pull_out_of_shelf", {"door": 1.0, "block1": ON_SHELF}, {"door": 1.0}, {"door": 1.0, "block1": (0.6, 0.1, 0.1)}),
]

# task, a scene in which it must not be offered
INFEASIBLE = [
    ("grasp_lift", {"drawer": 0.0, "block0": (IN_DRAWER[0] + 0.155, *IN_DRAWER[1:])}),
    ("grasp_lift", {"drawer": 1.0}),
    ("grasp_upright", {}),
    ("grasp_flat", {**STANDING, "block0": ON_SHELF, "block2": (*ON_SHELF[:2], 0.06)}),
    ("open_sliding", {"door": 1.0}),
    ("close_sliding", {"door": 0.0}),
    ("open_drawer", {"drawer": 1.0}),
    ("close_drawer", {"drawer": 0.0}),
    ("close_drawer", {"drawer": 1.0, "block0": IN_DRAWER, "axis0": UPRIGHT}),
    ("sweep_object", {"drawer": 0.0, "block0": (0.505, -0.1, 0.02)}),
    ("sweep_object", {"drawer": 1.0, "block0": IN_DRAWER, "block1": (0.52, -0.1, 0.02)}),
    ("knock_object", {}),
    ("put_into_shelf", {"door": 0.0}),
    ("put_into_shelf", {"door": 1.0, "block0": ON_SHELF}),
    ("pull_out_of_shelf", {"door": 0.0, "block0": ON_SHELF}),
    ("pull_out_of_shelf", {"door": 1.0}),
]


def test_they_are_the_18_of_the_paper():
    assert set(TASKS) == PAPER
    assert {case[0] for case in CASES} == PAPER


@pytest.mark.parametrize(("name", "before", "done", "not_done"), CASES)
def test_success_compares_before_and_after(name, before, done, not_done):
    first = scene(**before)
    assert task(name).feasible(first)
    assert task(name).success(first, scene(**done))
    assert not task(name).success(first, scene(**not_done))
    assert not task(name).success(first, first)


@pytest.mark.parametrize(("name", "before"), INFEASIBLE)
def test_a_task_is_not_offered_where_it_cannot_be_done(name, before):
    assert not task(name).feasible(scene(**before))


def test_blocks_too_close_together_are_not_grasped():
    crowded = scene(block0=(0.52, -0.05, 0.02), block1=(0.52, 0.0, 0.02), block2=(0.52, 0.05, 0.02))
    for name in ("grasp_flat", "rotate_left", "sweep_left", "sweep_right"):
        assert not task(name).feasible(crowded)


def test_sweeping_wants_a_free_way():
    assert 1 in task("sweep_left").candidates(scene(**ROOMY))
    assert 1 not in task("sweep_left").candidates(scene(block0=ON_SHELF, block2=(0.52, 0.18, 0.02)))


@pytest.mark.parametrize("name", sorted(PAPER))
def test_five_different_wordings(name):
    wordings = TASKS[name].instructions
    assert len(set(wordings)) == 5
    for wording in wordings:
        assert wording == wording.lower().strip()
    said = {TASKS[name].instruction(np.random.default_rng(seed), 2) for seed in range(60)}
    assert len(said) == 5
    assert not any("{" in sentence for sentence in said)


def test_no_wording_means_two_tasks():
    said = [wording for one in TASKS.values() for wording in one.instructions]
    assert len(said) == len(set(said))


def test_predicates_do_not_change_the_scene():
    first = scene()
    copies = {field.name: np.array(getattr(first, field.name)) for field in dataclasses.fields(first)}
    for one in TASKS.values():
        one.success(first, first)
    for name, value in copies.items():
        np.testing.assert_array_equal(getattr(first, name), value)


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(UnknownName, match="open_drawer"):
        task("open_drawr")
