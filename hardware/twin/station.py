"""Twins that run: one process per arm, each behind a serial port of its own, keeping what its servos keep when it ends."""

import json
import multiprocessing
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from robot_learning.core.errors import HardwareError, RobotLearningError, UnknownName
from robot_learning.hardware.buses.feetech import FeetechWire
from robot_learning.hardware.twin.arm import MODELS, ArmBody
from robot_learning.hardware.twin.bank import ServoBank
from robot_learning.hardware.twin.faults import command
from robot_learning.hardware.twin.feetech import FeetechServo
from robot_learning.hardware.twin.hand import REST
from robot_learning.hardware.twin.line import Line
from robot_learning.hardware.twin.terminal import Terminal

_SAVE_EVERY_S = 0.5
_START_S = 30.0


class Station:
    """Virtual arms, each in a process of its own.

    Args:
        model: Kind of arm, one of :data:`robot_learning.hardware.twin.arm.MODELS`.
        names: What the arms are called, e.g. ``leader`` and ``follower``.
        folder: Where their ports and memories are kept.

    Attributes:
        ports: Path of each arm's serial port by name.
    """

    def __init__(self, model: str, names: Sequence[str], folder: Path) -> None:
        """Describe the arms; entering the context starts them."""
        if model not in MODELS:
            raise UnknownName("arm", model, MODELS)
        self._model = model
        self.ports = {name: folder / f"{model}-{name}" for name in names}
        self._processes: dict[str, multiprocessing.process.BaseProcess] = {}
        self._lines: dict[str, Connection] = {}

    def __enter__(self) -> "Station":
        """Start the arms and wait until their ports are there."""
        spawn = multiprocessing.get_context("spawn")
        for number, (name, port) in enumerate(self.ports.items()):
            port.parent.mkdir(parents=True, exist_ok=True)
            near, far = spawn.Pipe()
            process = spawn.Process(target=_run, args=(self._model, port, number, far), daemon=True)
            process.start()
            self._processes[name], self._lines[name] = process, near
        for name, line in self._lines.items():
            if not line.poll(_START_S) or line.recv() != "ready":
                self.__exit__()
                raise HardwareError(f"twin {name}: expected it to start within {_START_S:.0f} s; its errors stand above")
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the arms and take their ports away."""
        for line in self._lines.values():
            line.close()
        for process in self._processes.values():
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()

    def wait(self) -> None:
        """Wait until the arms end, which they do when somebody stops them."""
        for process in self._processes.values():
            process.join()

    def tell(self, name: str, words: Sequence[str]) -> None:
        """Do something to an arm, see :mod:`.faults`. Raises what the command raises."""
        if name not in self._lines:
            raise UnknownName("arm", name, self._lines)
        self._lines[name].send(list(words))
        answer = self._lines[name].recv()
        if answer:
            raise HardwareError(answer)


def make_line(model: str, number: int) -> Line:
    """Return an arm as it comes from assembly: encoders wherever they came to stand, folded as it was laid down."""
    body = ArmBody(model)
    body.place(REST)
    servos = [
        FeetechServo(index + 1, mounted=(2048 + 577 * (index + 1) * (number + 1)) % 4096) for index in range(len(body.joints))
    ]
    return Line(ServoBank(FeetechWire(), servos, body), seed=number)


def remember(line: Line, path: Path) -> None:
    """Give servos back what they kept when the twin ran last."""
    if path.exists():
        for servo, kept in zip(line.bank.servos, json.loads(path.read_text(encoding="utf-8")), strict=True):
            servo.memory.kept[:] = bytes.fromhex(kept)
            servo.power_cycle()


def _run(model: str, port: Path, number: int, commands: Connection) -> None:
    """Serve one arm until the other end of ``commands`` closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the line
    line, memory = make_line(model, number), port.with_suffix(".memory.json")
    remember(line, memory)
    kept, due = _kept(line), time.monotonic() + _SAVE_EVERY_S
    with Terminal(line, port) as terminal:
        commands.send("ready")

        def running() -> bool:
            nonlocal kept, due
            if time.monotonic() >= due:
                kept, due = _save(line, kept, memory), time.monotonic() + _SAVE_EVERY_S
            return _obey(line, commands)

        terminal.serve(running)
    _save(line, kept, memory)


def _obey(line: Line, commands: Connection) -> bool:
    """Do what was told since the last time, and return whether to go on."""
    try:
        while commands.poll():
            words = commands.recv()
            try:
                command(line, words)
            except RobotLearningError as error:
                commands.send(str(error))
            else:
                commands.send("")
    except (EOFError, OSError):
        return False
    return True


def _kept(line: Line) -> list[str]:
    return [bytes(servo.memory.kept).hex() for servo in line.bank.servos]


def _save(line: Line, before: list[str], path: Path) -> list[str]:
    """Write down what the servos keep, where it changed."""
    kept = _kept(line)
    if kept != before:
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps(kept), encoding="utf-8")
        draft.replace(path)
    return kept
