"""Worker processes that do jobs for one parent, in order, and never outlive it.

Each worker holds one end of one pipe. When the parent is gone, even by ``kill -9``, the pipe ends and the worker leaves.
"""

import multiprocessing
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from robot_learning.core.errors import RobotLearningError

Job = TypeVar("Job")
Result = TypeVar("Result")
_AHEAD = 4
"""Results kept waiting for an earlier one, per worker, before no new jobs are given out."""


class WorkerFailed(RobotLearningError, RuntimeError):
    """A job raised in a worker, or a worker died; the message carries the traceback."""


class Workers(Generic[Job, Result]):
    """``setup()`` runs once in every worker process and returns the function that does a job there.

    Args:
        setup: Picklable; returns the function from a job to its result.
        count: Number of processes; 0 does the jobs here.
    """

    def __init__(self, setup: Callable[[], Callable[[Job], Result]], count: int) -> None:
        """Start the processes."""
        self._here = setup() if count == 0 else None
        context = multiprocessing.get_context("spawn")
        self._links: list[Connection] = []
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(setup, theirs), daemon=True)
            process.start()
            theirs.close()
            self._links.append(ours)
            self._processes.append(process)

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield each job's result, in the order of the jobs."""
        if self._here is not None:
            yield from map(self._here, jobs)
            return
        queue = iter(enumerate(jobs))
        idle, wanted = list(self._links), 0
        doing: dict[Connection, int] = {}
        done: dict[int, Result] = {}
        exhausted = False
        while True:
            while idle and not exhausted and len(done) < _AHEAD * len(self._links):
                try:
                    index, job = next(queue)
                except StopIteration:
                    exhausted = True
                    break
                link = idle.pop()
                self._send(link, job)
                doing[link] = index
            if not doing:
                return
            ready = wait(list(doing))
            for link in [link for link in doing if link in ready]:
                index = doing.pop(link)
                done[index] = self._receive(link)
                idle.append(link)
            while wanted in done:
                yield done.pop(wanted)
                wanted += 1

    def close(self) -> None:
        """Let the workers go; idempotent."""
        for link in self._links:
            link.close()
        for process in self._processes:
            process.join(timeout=5.0)
            if process.is_alive():
                process.terminate()
                process.join()
        self._links, self._processes = [], []

    def __enter__(self) -> "Workers[Job, Result]":
        """Return the workers."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the workers go."""
        self.close()

    def _send(self, link: Connection, job: Job) -> None:
        try:
            link.send(job)
        except OSError:
            raise self._died() from None

    def _receive(self, link: Connection) -> Any:
        try:
            failed, value = link.recv()
        except (EOFError, OSError):  # OSError: it died before it read its job
            raise self._died() from None
        if failed:
            raise WorkerFailed(f"a job failed in a worker process:\n{value}")
        return value

    def _died(self) -> WorkerFailed:
        codes = [process.exitcode for process in self._processes if process.exitcode is not None]
        return WorkerFailed(f"a worker process died (exit codes {codes})")


def _serve(setup: Callable[[], Callable[[Any], Any]], link: Connection) -> None:
    """Do jobs until the pipe ends."""
    try:
        function = setup()
        while True:
            job = link.recv()
            link.send((False, function(job)))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except BaseException:
        link.send((True, traceback.format_exc()))
