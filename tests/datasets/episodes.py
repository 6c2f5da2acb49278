"""Small episodes to store, the same ones for the same seed."""

import numpy as np

from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Episode, Outcome

STATE_SPEC = RobotSpec(
    observation={
        "joint_position": ArraySpec((3,), "float32", "rad", ("a", "b", "c"), low=-np.inf, high=3.0),
        "contact": ArraySpec((), "bool"),
        "pose": ArraySpec((2, 2), "float64", "m"),
    },
    action=ArraySpec((2,), "float32", "rad/s", low=-1.0, high=1.0),
    control_hz=10.0,
    name="toy",
)
IMAGE_SPEC = RobotSpec(
    observation={
        **STATE_SPEC.observation,
        "camera": ArraySpec((12, 16, 3), "uint8", "rgb"),
        "depth": ArraySpec((12, 16, 1), "uint16", "mm"),
    },
    action=STATE_SPEC.action,
    control_hz=10.0,
    name="toy",
)


def smooth_image(phase, shape=(12, 16, 3)):
    """A picture without hard edges, so that JPEG keeps it nearly."""
    y, x, c = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    return (127 + 100 * np.sin(0.1 * (x + y) + c + phase)).astype(np.uint8)


def make_episode(spec=STATE_SPEC, steps=7, *, seed=0, last_observation=True, streams=(), success=True, start=0.0):
    rng = np.random.default_rng(seed)
    rows = steps + int(last_observation)
    observation = {}
    for key, array in spec.observation.items():
        if array.is_image:
            observation[key] = np.stack([smooth_image(seed + 0.1 * row, array.shape) for row in range(rows)])
            if array.is_depth:
                observation[key] = observation[key].astype(np.uint16) * 17  # up to 3.9 m, beyond what a byte holds
        elif array.dtype == "bool":
            observation[key] = rng.random((rows, *array.shape)) > 0.5
        else:
            observation[key] = rng.normal(size=(rows, *array.shape)).astype(array.dtype)
    action = rng.uniform(-1, 1, size=(steps, *spec.action.shape)).astype(spec.action.dtype)
    return Episode(
        observation=observation,
        action=action,
        applied=np.clip(action, -0.5, 0.5),
        time=start + np.arange(rows) / spec.control_hz,
        source=("human",) * (steps - 1) + ("policy",),
        reward=np.where(np.arange(steps) == steps - 1, 1.0, np.nan).astype(np.float32),
        stream_time={name: start + np.arange(rows) / spec.control_hz - 0.01 for name in streams},
        outcome=Outcome(success, "done", steps, steps / spec.control_hz, overruns=1, interventions=2),
        instruction=f"move {seed}",
        meta={"seed": seed, "operator": "tester", "score": float("nan"), "numbers": [1, 2]},
    )


def assert_same(expected, got, *, tolerance=0):
    """Compare two episodes, everything included; images within ``tolerance`` grey levels."""
    assert set(expected.observation) == set(got.observation)
    for key, value in expected.observation.items():
        assert value.dtype == got.observation[key].dtype
        if value.dtype == np.uint8:
            assert np.abs(value.astype(int) - got.observation[key]).max() <= tolerance
        else:
            np.testing.assert_array_equal(value, got.observation[key])
    for name in ("action", "applied", "reward", "time"):
        np.testing.assert_array_equal(getattr(expected, name), getattr(got, name))
    assert expected.source == got.source
    assert set(expected.stream_time) == set(got.stream_time)
    for name, value in expected.stream_time.items():
        np.testing.assert_array_equal(value, got.stream_time[name])
    assert expected.outcome == got.outcome
    assert expected.instruction == got.instruction
    assert repr(sorted(expected.meta.items())) == repr(sorted(got.meta.items()))
