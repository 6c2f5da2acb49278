"""A policy in a process of its own, for one whose Python work would hold the control loop's interpreter up.

It is a policy like any other: give it to :class:`~robot_learning.runtime.asynchronous.AsyncActor`. Window and chunk
cross a pipe, which takes 0.1 ms for state observations. Threads (the default) are enough while inference spends its
time in PyTorch, which lets other threads run.
"""

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from robot_learning.core.errors import PolicyFailed
from robot_learning.core.protocols import Policy
from robot_learning.core.spec import RobotSpec


class ProcessPolicy:
    """A policy that lives in another process. Close it, or use it as a context manager.

    Args:
        make: Makes the policy, in the other process; must be picklable: ``functools.partial(load_policy, folder)``.
    """

    def __init__(self, make: Callable[[], Policy]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, theirs), name="policy", daemon=True)
        self._process.start()
        theirs.close()
        self.spec: RobotSpec
        self.n_obs: int
        self.horizon: int
        self.goal_keys: tuple[str, ...]
        self.goal_choices: tuple[tuple[str, ...], ...]
        self.spec, self.n_obs, self.horizon, self.goal_keys, self.goal_choices = self._receive()

    def __enter__(self) -> Self:
        """Return the policy."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the policy."""
        self.close()

    def reset(self, *, seed: int | None = None) -> None:
        """Start an episode."""
        self._call("reset", {"seed": seed})

    def act(self, window: Mapping[str, NDArray[Any]], goal: Mapping[str, NDArray[Any]] | None) -> NDArray[Any]:
        """Return a chunk of actions ``[b, h, a]``."""
        chunk: NDArray[Any] = self._call("act", {"window": window, "goal": goal})
        return chunk

    def close(self, timeout_s: float = 5.0) -> None:
        """End the process; idempotent."""
        self._pipe.close()
        self._process.join(timeout_s)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def _call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        try:
            self._pipe.send((name, arguments))
        except OSError as error:
            raise self._ended() from error
        return self._receive()

    def _receive(self) -> Any:
        try:
            error, result = self._pipe.recv()
        except (EOFError, OSError) as broken:
            raise self._ended() from broken
        if error is not None:
            raise PolicyFailed(f"policy process: {error}")
        return result

    def _ended(self) -> PolicyFailed:
        self._process.join(1.0)
        return PolicyFailed(f"policy process: expected an answer, but it ended (exit code {self._process.exitcode})")


def _serve(make: Callable[[], Policy], pipe: "Connection[Any, Any]") -> None:
    """Answer calls until the other side closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the control loop decides
    try:
        policy = make()
        pipe.send((None, (policy.spec, policy.n_obs, policy.horizon, policy.goal_keys, policy.goal_choices)))
        while True:
            name, arguments = pipe.recv()
            try:
                pipe.send((None, getattr(policy, name)(**arguments)))
            except Exception:
                pipe.send((traceback.format_exc().strip(), None))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception:
        pipe.send((traceback.format_exc().strip(), None))
