"""Every error the stack raises on purpose.

    RobotLearningError
    |- SpecMismatch      (ValueError)    shapes, keys or units of two sides differ
    |- UnknownName       (KeyError)      a task, robot, key or option that does not exist
    |- ConfigError       (ValueError)    a setting that cannot be read or has the wrong type
    |- StoreCorrupt      (ValueError)    a demonstration store that cannot be trusted
    |- StoreLocked       (RuntimeError)  another process is writing the store
    |- StoreWriteFailed  (OSError)       a full disk or the like; finished episodes are safe
    |- CheckpointError   (ValueError)    a checkpoint that is truncated, newer or foreign
    |- Diverged          (ArithmeticError) training reached NaN or infinity
    |- PolicyFailed      (RuntimeError)  a policy in another process raised an error or went away
    |- MissingExtra      (ImportError)   an optional dependency that is not installed
    |- SafetyStop        (RuntimeError)  a guard refused to let the robot go on
    |- HardwareError     (RuntimeError)
       |- NotConnected
       |- BusError                         a device that did not answer, however often it was asked
       |- MotorFault                       a servo that refused, or that complains of heat, load or voltage
       |- Stale          (TimeoutError)  an observation older than its limit

Messages follow one formula: *thing*: expected X, got Y; what to do. They name the key, index or file.
"""

import difflib
from collections.abc import Iterable


class RobotLearningError(Exception):
    """Base of all errors raised on purpose by robot-learning."""


class SpecMismatch(RobotLearningError, ValueError):
    """Two sides (policy and robot, store and recorder) disagree on keys, shapes, dtypes or units."""


class UnknownName(RobotLearningError, KeyError):
    """A name that does not exist; the message lists the nearest ones."""

    def __init__(self, kind: str, name: str, available: Iterable[str]) -> None:
        """Build the message, e.g. ``UnknownName("task", "open_drawr", TASKS)``."""
        known = sorted(str(item) for item in available)
        super().__init__(unknown_name_message(kind, name, known))

    def __str__(self) -> str:
        """Return the message itself (``KeyError`` would show it quoted)."""
        return str(self.args[0])


class ConfigError(RobotLearningError, ValueError):
    """A setting that cannot be parsed, has the wrong type, or contradicts another one."""


class StoreCorrupt(RobotLearningError, ValueError):
    """A demonstration store whose content contradicts its own tables."""


class StoreLocked(RobotLearningError, RuntimeError):
    """Another live process holds the store's writer lock."""


class StoreWriteFailed(RobotLearningError, OSError):
    """An episode could not be written (disk full, ...); the message says what was lost, finished episodes are safe."""


class CheckpointError(RobotLearningError, ValueError):
    """A checkpoint that is truncated, from a newer version, or not what was asked for."""


class Diverged(RobotLearningError, ArithmeticError):
    """Training reached NaN or infinity; the message names the step, the batch and the last good checkpoint."""


class PolicyFailed(RobotLearningError, RuntimeError):
    """A policy in another process raised an error, or the process ended."""


class MissingExtra(RobotLearningError, ImportError):
    """An optional dependency is missing; the message names the extra to install."""

    def __init__(self, package: str, extra: str) -> None:
        """Build the message from the package that failed to import and the extra that brings it."""
        super().__init__(f"{package} is not installed: pip install 'robot-learning[{extra}]'")


class SafetyStop(RobotLearningError, RuntimeError):
    """A guard refused an action; the loop stops the robot and reports the reason."""


class HardwareError(RobotLearningError, RuntimeError):
    """A device failed or answered nonsense."""


class NotConnected(HardwareError):
    """A device was used before ``connect`` or after it went away."""


class BusError(HardwareError):
    """A device on a bus did not answer within the time that one call may take; the message names joint, id and register."""


class MotorFault(HardwareError):
    """A servo refused an instruction, or complains of heat, load or voltage."""


class Stale(HardwareError, TimeoutError):
    """The newest observation is older than the limit."""


def unknown_name_message(kind: str, name: str, available: Iterable[str]) -> str:
    """Return "unknown KIND 'NAME'; nearest: ...; available: ..." for an error or a log line."""
    known = sorted(available)
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    message = f"unknown {kind} {name!r}"
    if nearest:
        message += f"; nearest: {', '.join(nearest)}"
    return f"{message}; available: {', '.join(known) or 'none'}"
