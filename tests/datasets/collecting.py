"""A process that records episodes until it is killed, and says after each commit that it is finished."""

import numpy as np

from robot_learning.core.types import Step
from robot_learning.datasets.recorder import Recorder
from robot_learning.datasets.store import DemoStore
from tests.datasets.episodes import IMAGE_SPEC, make_episode


def episode(seed):
    """The episode that the process records for ``seed``."""
    steps = int(np.random.default_rng(seed).integers(3, 20))
    return make_episode(IMAGE_SPEC, steps, seed=seed, streams=("camera",) if seed % 3 else (), success=None)


def observation(source, row):
    frame = {key: value[row] for key, value in source.observation.items()}
    streams = {f"time/{name}": value[row] for name, value in source.stream_time.items()}
    return {**frame, **streams, "time": source.time[row]}


def play(recorder, source, *, end=True):
    """Show an episode to a recorder step by step, as the loop would."""
    recorder.annotate(source.instruction, **source.meta)
    recorder.on_reset(observation(source, 0), goal=None, seed=None)
    for index in range(source.steps):
        recorder.on_step(
            Step(
                index=index,
                observation=observation(source, index),
                requested=source.action[index],
                applied=source.applied[index],
                source=source.source[index],
                next_observation=observation(source, index + 1),
                reward=float(source.reward[index]),
            )
        )
    if end:
        recorder.on_end(source.outcome)


def collect(path, flush_every, pipe):
    """Append episodes to the store at ``path`` for ever."""
    store = DemoStore.open(path, "a") if path.exists() else DemoStore.create(path, IMAGE_SPEC)
    recorder = Recorder(store, flush_every=flush_every)
    pipe.send(("opened", len(store)))
    while True:
        seed = len(store)
        recorder.annotate(marker=seed)
        play(recorder, episode(seed))
        pipe.send(("finished", seed))
