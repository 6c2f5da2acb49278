"""Small policies for the tests of the actors; real ones, with a formula in place of a network."""

import numpy as np

from tests.runtime.point_mass import SPEC


class GoToGoal:
    """Steers the point mass to the goal at a speed proportional to the distance, ``horizon`` steps ahead."""

    def __init__(self, n_obs=2, horizon=4, gain=4.0):
        self.spec = SPEC
        self.n_obs = n_obs
        self.horizon = horizon
        self.goal_keys = ("position",)
        self.goal_choices = (("position",),)
        self.gain = gain
        self.seeds = []
        self.windows = []
        self.goals = []

    def reset(self, *, seed=None):
        self.seeds.append(seed)

    def act(self, window, goal):
        self.windows.append({key: np.array(value) for key, value in window.items()})
        self.goals.append(goal)
        position = window["position"][:, -1].astype(np.float64)
        target = np.zeros_like(position) if goal is None else goal["position"]
        actions = []
        for _ in range(self.horizon):
            actions.append(np.clip(self.gain * (target - position), -1, 1))
            position = position + actions[-1] * self.spec.dt
        return np.stack(actions, axis=1).astype(np.float32)


class Scripted:
    """Chunk ``n`` (the n-th call) holds ``[[10 n + j] * 2 for j in range(horizon)] / 100``."""

    def __init__(self, horizon=4, n_obs=1):
        self.spec = SPEC
        self.n_obs = n_obs
        self.horizon = horizon
        self.goal_keys = self.goal_choices = ()
        self.calls = 0

    def reset(self, *, seed=None):
        self.calls = 0

    def act(self, window, goal):
        values = (10 * self.calls + np.arange(self.horizon)) / 100
        self.calls += 1
        return np.repeat(values[None, :, None], 2, axis=2).astype(np.float32)


def observation(step, position=(0.0, 0.0)):
    return {
        "position": np.array(position, np.float32),
        "velocity": np.zeros(2, np.float32),
        "time": np.asarray(step * SPEC.dt),
    }
