"""The scripted operator as an actor: one task at a time, or endless play."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from robot_learning.core.types import Action, End, Goal, Observation
from robot_learning.sim.operator.blocks import let_go
from robot_learning.sim.operator.motion import Hand, Skill, Style
from robot_learning.sim.operator.skills import WAYS
from robot_learning.sim.scene import Scene
from robot_learning.sim.tasks.table import TASKS, Task, task

MAX_TRIES = 3
"""Attempts at one task before the operator gives it up."""


class _Attempt:
    """One task being done: puts down what the hand holds, then does the task in one of its ways."""

    def __init__(self, chosen: Task, scene: Scene, rng: np.random.Generator) -> None:
        self.task = chosen
        self._rng = rng
        style = Style.draw(rng)
        self._hand = Hand(rng, style)
        self._skill = self._script(scene, style)
        self._waypoint = next(self._skill, None)
        self.before: Scene | None = None

    def _script(self, scene: Scene, style: Style) -> Skill:
        scene = yield from let_go(scene, self._rng, style)
        self.before = scene
        candidates = self.task.candidates(scene)
        if candidates:
            block = int(self._rng.choice(candidates))
            ways = WAYS[self.task.name]
            way = ways[int(self._rng.integers(len(ways)))]
            scene = yield from way(scene, self._rng, style, block)
        return scene

    def act(self, scene: Scene) -> Action | None:
        """Return the next action, None when the skill has run its course."""
        if self._waypoint is None:
            return None
        action = self._hand.action(scene, self._waypoint)
        self._last = scene
        return action

    def see(self, scene: Scene) -> None:
        """Let the skill see what the last action led to."""
        try:
            self._waypoint = self._skill.send(scene)
        except StopIteration:
            self._waypoint = None


class TaskOperator:
    """Does one task, tries again when it failed, then ends.

    Args:
        name: Which of the 18 tasks.
    """

    source = "operator"

    def __init__(self, name: str) -> None:
        """Look the task up."""
        self._task = task(name)
        self.reset()

    def reset(self, *, seed: int | None = None, goal: Goal | None = None) -> None:  # noqa: ARG002
        """Start anew; the seed draws the manner."""
        self._rng = np.random.default_rng(seed)
        self._attempt: _Attempt | None = None
        self._first: Scene | None = None
        self._tries = 0

    def act(self, observation: Observation) -> Action | End:
        """Return the next action, or End with the verdict."""
        scene = Scene.of(observation)
        if self._first is None:
            self._first = scene
        if self._attempt is not None:
            self._attempt.see(scene)
        while True:
            if self._attempt is not None:
                action = self._attempt.act(scene)
                if action is not None:
                    return action
                if self._task.success(self._first, scene):
                    return End("task done", success=True)
                self._tries += 1
            if self._tries >= MAX_TRIES or not self._task.feasible(scene):
                return End("gave up", success=False)
            self._attempt = _Attempt(self._task, scene, self._rng)


class PlayOperator:
    """Plays: chains feasible tasks at random, the rarer ones first, without resets and without labels.

    Args:
        tasks: Which tasks to play with; all 18 by default.
        chain: Tasks until the operator ends the episode; None: play never ends by itself.
    """

    source = "operator"

    def __init__(self, tasks: Sequence[str] | None = None, chain: int | None = None) -> None:
        """Look the tasks up."""
        self._chain = chain
        self._tasks = [task(name) for name in (TASKS if tasks is None else tasks)]
        self.counts: Counter[str] = Counter()
        self.reset()

    @property
    def current_task(self) -> str | None:
        """Return what is being done now (for bookkeeping; play carries no labels)."""
        return self._attempt.task.name if self._attempt else None

    def reset(self, *, seed: int | None = None, goal: Goal | None = None) -> None:  # noqa: ARG002
        """Start a new stretch of play; the seed draws everything."""
        self._rng = np.random.default_rng(seed)
        self._attempt: _Attempt | None = None
        self._recent: Counter[str] = Counter()

    def act(self, observation: Observation) -> Action | End:
        """Return the next action, or End after ``chain`` tasks."""
        scene = Scene.of(observation)
        if self._attempt is not None:
            self._attempt.see(scene)
        for _ in range(20):
            if self._attempt is not None:
                action = self._attempt.act(scene)
                if action is not None:
                    return action
                self.counts[self._attempt.task.name] += 1
                if self._chain is not None and self._recent.total() >= self._chain:
                    return End("chain done")
            self._attempt = _Attempt(self._choose(scene), scene, self._rng)
        return End("nothing left to play with")

    def _choose(self, scene: Scene) -> Task:
        """Draw a feasible task; what was done often in this stretch of play comes up less."""
        feasible = [one for one in self._tasks if one.feasible(scene)] or [task("push_red_button")]
        weights = np.array([_RARITY.get(one.name, 1.0) / (1.0 + self._recent[one.name]) ** 2 for one in feasible])
        chosen = feasible[int(self._rng.choice(len(feasible), p=weights / weights.sum()))]
        self._recent[chosen.name] += 1
        return chosen


_RARITY = {
    "grasp_lift": 10.0,
    "sweep_object": 14.0,
    "put_into_shelf": 3.0,
    "pull_out_of_shelf": 5.0,
    "knock_object": 5.0,
    "grasp_upright": 16.0,
    "sweep_left": 3.0,
    "sweep_right": 3.0,
}
"""Tasks that need a rare scene are chosen more eagerly when it is there."""
