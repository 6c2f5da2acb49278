"""Many simulated robots at once, in worker processes: one call resets or steps all of them."""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import RobotLearningError, SpecMismatch
from robot_learning.core.protocols import Robot
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Observation

_JOIN_S = 5.0


class WorkerError(RobotLearningError, RuntimeError):
    """A robot raised in a worker process, or the process died; the message carries its traceback."""


class RobotBatch:
    """``count`` simulated robots, spread over worker processes; rows of every array are robots.

    A row depends on its seed and its actions alone, never on the number of workers or on the other rows.

    Args:
        make_robot: Returns a new robot; must be picklable, e.g. ``partial(PlayTableRobot, cameras=...)``.
        count: Number of robots.
        workers: Number of processes; None: one per core, at most one per robot. 0 keeps the robots in this process.
    """

    def __init__(self, make_robot: Callable[[], Robot], count: int, *, workers: int | None = None) -> None:
        """Start the workers and connect the robots."""
        if count < 1:
            raise SpecMismatch(f"batch: expected at least 1 robot, got {count}")
        available = os.cpu_count() or 1
        self._workers = min(count, available if workers is None else workers)
        self.count = count
        self.spec: RobotSpec = make_robot().spec
        self._shares = [part.tolist() for part in np.array_split(np.arange(count), max(1, self._workers))]
        self._links: list[Connection] = []
        self._processes: list[Any] = []
        self._local = _Robots(make_robot, count) if self._workers == 0 else None
        self._closed = False
        try:
            for share in self._shares if self._workers else ():
                self._start(make_robot, len(share))
            for link in self._links:
                self._receive(link)
        except BaseException:
            self.close()
            raise

    @property
    def processes(self) -> tuple[int, ...]:
        """Return the process ids of the workers."""
        return tuple(process.pid for process in self._processes)

    def reset(
        self, seeds: Sequence[int] | int, starts: Sequence[Mapping[str, NDArray[Any]] | None] | None = None
    ) -> Observation:
        """Reset every robot and return their first observations, arrays ``[count, ...]``.

        Args:
            seeds: One seed per robot, or one from which a seed per robot is derived.
            starts: What each robot is to restore; None draws it from its seed.
        """
        if isinstance(seeds, int | np.integer):
            seeds = [int(seed) for seed in np.random.SeedSequence(int(seeds)).generate_state(self.count)]
        starts = [None] * self.count if starts is None else starts
        self._check_rows("seeds", len(seeds))
        self._check_rows("starts", len(starts))
        return _stack(self._call("reset", list(zip(seeds, starts, strict=True))))

    def apply(self, actions: NDArray[Any]) -> tuple[Observation, NDArray[Any]]:
        """Step every robot by one control period.

        Args:
            actions: One action per robot, ``[count, a]``.

        Returns:
            The next observations, arrays ``[count, ...]``, and the actions really sent, ``[count, a]``.
        """
        self._check_rows("actions", len(actions))
        results = self._call("apply", list(actions))
        return _stack([observation for observation, _ in results]), np.stack([applied for _, applied in results])

    def close(self) -> None:
        """End the workers; idempotent."""
        self._closed = True
        for link in self._links:
            link.close()
        for process in self._processes:
            process.join(_JOIN_S)
            if process.is_alive():
                process.terminate()
                process.join()
        if self._local is not None:
            self._local.close()
        self._links, self._processes, self._local = [], [], None

    def __enter__(self) -> "RobotBatch":
        """Return the batch."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers."""
        self.close()

    def _start(self, make_robot: Callable[[], Robot], count: int) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(make_robot, count, theirs), daemon=True)
        process.start()
        theirs.close()
        self._links.append(ours)
        self._processes.append(process)

    def _call(self, method: str, rows: Sequence[Any]) -> list[Any]:
        """Run a method of every worker's robots on its share of the rows; results come in the order of the rows."""
        if self._closed:
            raise WorkerError("batch: expected an open batch, got a closed one; make a new one")
        if self._local is not None:
            return self._local.run(method, rows)
        try:
            for link, share in zip(self._links, self._shares, strict=True):
                link.send((method, [rows[index] for index in share]))
            return [row for link in self._links for row in self._receive(link)]
        except (BrokenPipeError, ConnectionResetError):
            raise self._died() from None

    def _receive(self, link: Connection) -> list[Any]:
        try:
            failed, value = link.recv()
        except (EOFError, ConnectionResetError):
            raise self._died() from None
        if failed:
            self.close()
            raise WorkerError(f"batch: a robot failed in a worker process:\n{value}")
        rows: list[Any] = value
        return rows

    def _died(self) -> WorkerError:
        for process in self._processes:
            process.join(0.2)
        codes = [process.exitcode for process in self._processes]
        self.close()
        return WorkerError(f"batch: a worker process died; exit codes {codes} (None: still running)")

    def _check_rows(self, name: str, rows: int) -> None:
        if rows != self.count:
            raise SpecMismatch(f"batch {name}: expected {self.count} rows, one per robot, got {rows}")


class _Robots:
    """The robots of one process."""

    def __init__(self, make_robot: Callable[[], Robot], count: int) -> None:
        self._robots = [make_robot() for _ in range(count)]
        for robot in self._robots:
            robot.connect()

    def run(self, method: str, rows: Sequence[Any]) -> list[Any]:
        one = self._reset if method == "reset" else self._apply
        return [one(robot, row) for robot, row in zip(self._robots, rows, strict=True)]

    def close(self) -> None:
        for robot in self._robots:
            robot.close()

    @staticmethod
    def _reset(robot: Robot, row: tuple[int, Mapping[str, NDArray[Any]] | None]) -> Observation:
        seed, start = row
        return robot.reset(seed=seed, start=start)

    @staticmethod
    def _apply(robot: Robot, action: NDArray[Any]) -> tuple[Observation, NDArray[Any]]:
        applied = robot.apply(action)
        return robot.observe(), applied


def _serve(make_robot: Callable[[], Robot], count: int, link: Connection) -> None:
    """Serve calls until the pipe ends, which it also does when the parent is gone."""
    robots: _Robots | None = None
    try:
        robots = _Robots(make_robot, count)
        link.send((False, []))
        while True:
            method, rows = link.recv()
            link.send((False, robots.run(method, rows)))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return
    except BaseException:
        with suppress(BrokenPipeError, ConnectionResetError):  # the parent may have given up already
            link.send((True, traceback.format_exc()))
    finally:
        if robots is not None:
            robots.close()


def _stack(rows: Sequence[Observation]) -> dict[str, NDArray[Any]]:
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}
