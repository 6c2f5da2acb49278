"""A bus of servos: read and write registers by the servos' names, with bounded retries and errors that name the culprit.

One bad packet is part of the job: a servo that does not answer, or answers garbage, is asked again, alone, until the time that
one call may take is spent. What happened is counted for each servo.
"""

import contextlib
import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from robot_learning.core.errors import BusError, ConfigError, MotorFault, UnknownName
from robot_learning.hardware.buses.port import Port
from robot_learning.hardware.buses.registers import ControlTable, Register, register
from robot_learning.hardware.buses.wire import BROADCAST, Decoder, Packet, Wire

LATE_ANSWERS = 4
"""An answer that did not come may come this many times ``Patience.answer_s`` later; until then nothing else is asked."""

BITS_PER_BYTE = 10
"""On the line: a start bit, eight bits, a stop bit."""


@dataclass
class Health:
    """What became of the packets to and from one servo.

    Attributes:
        answered: Answers as they should be.
        silent: Times it was asked and no answer came in time.
        malformed: Answers of the wrong length.
        alerts: What it complained of in its last answer.
    """

    answered: int = 0
    silent: int = 0
    malformed: int = 0
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Patience:
    """How long to wait for servos.

    Attributes:
        answer_s: For each round of answers, beyond the time that their bytes take: return delays and the adapter.
        tries: How often a servo is asked at most.
        budget_s: For one call with all its retries; the bound that a control loop counts on.
    """

    answer_s: float = 0.005
    tries: int = 8
    budget_s: float = 0.04

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not (self.answer_s > 0 and self.tries >= 1 and self.budget_s > 0):
            raise ConfigError(f"patience: expected times above 0 s and at least one try, got {self}")


UNHURRIED = Patience(answer_s=0.03, tries=20, budget_s=1.0)
"""Where no control loop waits: connecting, calibrating, setting up."""


@dataclass(eq=False)
class ServoBus:
    """Servos on one line. Calls from several threads take turns.

    Attributes:
        port: The line; opened by :meth:`connect`.
        wire: The maker's packets.
        table: The servos' registers.
        motors: Ids by name, in the order that answers are returned in.
        patience: How long to wait.
        health: What became of the packets, by name.
    """

    port: Port
    wire: Wire
    table: ControlTable
    motors: Mapping[str, int]
    patience: Patience = field(default_factory=Patience)
    health: dict[str, Health] = field(init=False)

    def __post_init__(self) -> None:
        """Check the ids."""
        ids = list(self.motors.values())
        if len(set(ids)) != len(ids) or not all(0 <= number < BROADCAST for number in ids):
            raise ConfigError(
                f"{self.port.name}: expected a different id from 0 to 253 for each motor, got {dict(self.motors)}"
            )
        self.health = {name: Health() for name in self.motors}
        self._names = {number: name for name, number in self.motors.items()}
        self._decoder = Decoder(self.wire)
        self._turn = threading.RLock()
        self._asked: tuple[int, bytes] = (0, b"")
        self._owed_until = -math.inf

    @property
    def corrupt(self) -> int:
        """Return how many packets came in damaged; nobody can say whose they were."""
        return self._decoder.corrupt

    def connect(self) -> None:
        """Open the line; idempotent."""
        self.port.open()

    def close(self) -> None:
        """Close the line; idempotent. The servos go on doing what they were told last."""
        self.port.close()

    @contextlib.contextmanager
    def unhurried(self) -> Iterator[None]:
        """Wait longer for answers while the context lasts, as no control loop does."""
        before, self.patience = self.patience, UNHURRIED
        try:
            yield
        finally:
            self.patience = before

    def ping(self, number: int) -> bool:
        """Return whether a servo with this id answers."""
        return number in self._ask(Packet(number, self.wire.instructions.ping), {number: None})

    def scan(self, numbers: Iterable[int] = range(BROADCAST), *, tries: int = 2) -> dict[int, int]:
        """Return the model numbers of the servos that answer, by id. All ids take about three seconds."""
        once = Patience(self.patience.answer_s, tries, self.patience.budget_s)
        model = register(self.table, "model")
        found = {}
        for number in numbers:
            answers = self._ask(self._read_packet(number, model.address, model.size), {number: model.size}, once)
            if number in answers:
                found[number] = model.decode(answers[number])
        return found

    def read(self, name: str, motor: str) -> int:
        """Return a register of one servo. Raises :class:`BusError` where it does not answer."""
        entry, number = register(self.table, name), self._id(motor)
        answers = self._ask(self._read_packet(number, entry.address, entry.size), {number: entry.size})
        if number not in answers:
            raise self._no_answer([number], f"read {name}")
        return entry.decode(answers[number])

    def write(self, name: str, motor: str, value: int) -> None:
        """Write a register of one servo, and see that it was accepted. Raises :class:`BusError`, :class:`MotorFault`."""
        entry, number = register(self.table, name), self._id(motor)
        address = entry.address.to_bytes(self.wire.address_size, "little")
        data = address + entry.encode(value, f"{motor} {name}")
        if number not in self._ask(Packet(number, self.wire.instructions.write, data), {number: None}):
            raise self._no_answer([number], f"write {name}={value}")

    def tell(self, name: str, motor: str, value: int) -> None:
        """Write a register of one servo and wait for no answer, as after a change of its id or its rate."""
        entry, number = register(self.table, name), self._id(motor)
        data = entry.address.to_bytes(self.wire.address_size, "little") + entry.encode(value, f"{motor} {name}")
        with self._turn:
            self.port.write(self.wire.instruction(Packet(number, self.wire.instructions.write, data)))
            self._owed_until = self.port.now() + LATE_ANSWERS * self.patience.answer_s

    def sync_read(self, names: str | Sequence[str], motors: Iterable[str] | None = None) -> dict[str, list[int]]:
        """Return registers of many servos in one bus cycle, by servo, in the order of ``names``.

        Registers that stand apart are read together with what stands between them.

        Raises:
            BusError: Some servo did not answer, however often it was asked.
        """
        entries = [register(self.table, name) for name in ([names] if isinstance(names, str) else names)]
        first = min(entry.address for entry in entries)
        size = max(entry.address + entry.size for entry in entries) - first
        numbers = [self._id(motor) for motor in (self.motors if motors is None else motors)]
        answers = self._sync_ask(first, size, numbers)
        missing = [number for number in numbers if number not in answers]
        if missing:
            raise self._no_answer(missing, f"read {names}")
        return {self._names[number]: [_number(entry, answers[number], first) for entry in entries] for number in numbers}

    def sync_write(self, name: str, values: Mapping[str, int]) -> None:
        """Write one register of many servos with one packet. Nobody answers it: read back what matters."""
        entry = register(self.table, name)
        numbers = b"".join(
            bytes((self._id(motor),)) + entry.encode(value, f"{motor} {name}") for motor, value in values.items()
        )
        data = self._span(entry.address, entry.size) + numbers
        with self._turn:
            self.port.write(self.wire.instruction(Packet(BROADCAST, self.wire.instructions.sync_write, data)))

    def _id(self, motor: str) -> int:
        if motor not in self.motors:
            raise UnknownName("motor", motor, self.motors)
        return self.motors[motor]

    def _span(self, address: int, size: int) -> bytes:
        width = self.wire.address_size
        return address.to_bytes(width, "little") + size.to_bytes(width, "little")

    def _read_packet(self, number: int, address: int, size: int) -> Packet:
        return Packet(number, self.wire.instructions.read, self._span(address, size))

    def _sync_ask(self, address: int, size: int, numbers: Sequence[int]) -> dict[int, bytes]:
        """Ask servos at once, then those that did not answer again, until the budget is spent."""
        span = self._span(address, size)
        answers: dict[int, bytes] = {}
        with self._turn:
            until = self.port.now() + self.patience.budget_s
            self._outlast_late_answers(self.wire.instructions.sync_read, span)
            for _ in range(self.patience.tries):
                missing = [number for number in numbers if number not in answers]
                if not missing or self.port.now() >= until:
                    break
                packet = Packet(BROADCAST, self.wire.instructions.sync_read, span + bytes(missing))
                answers |= self._round(packet, dict.fromkeys(missing, size), until)
        return answers

    def _ask(self, packet: Packet, wanted: Mapping[int, int | None], patience: Patience | None = None) -> dict[int, bytes]:
        """Ask one servo until it answers or the budget is spent."""
        patience = patience or self.patience
        with self._turn:
            until = self.port.now() + patience.budget_s
            self._outlast_late_answers(packet.code, packet.data)
            for _ in range(patience.tries):
                answers = self._round(packet, wanted, until)
                if answers or self.port.now() >= until:
                    return answers
        return {}

    def _round(self, packet: Packet, wanted: Mapping[int, int | None], until: float) -> dict[int, bytes]:
        """Send one packet and collect the answers that come in time: bytes of data by id.

        Args:
            packet: Any instruction.
            wanted: Bytes of data expected from each servo; None takes any number.
            until: When to give up whatever is missing.
        """
        sent = self.wire.instruction(packet)
        size = len(sent) + sum(self.wire.status_size(data or 0) for data in wanted.values())
        self.port.discard()
        self._decoder.clear()
        self.port.write(sent)
        due = min(until, self.port.now() + size * BITS_PER_BYTE / self.port.baud + self.patience.answer_s)
        answers: dict[int, bytes] = {}
        while len(answers) < len(wanted):
            received = self.port.read(due)
            for status in self._decoder.statuses(received):
                if status.id in wanted and status.id not in answers and self._accept(status, wanted[status.id]):
                    answers[status.id] = status.data
            if self.port.now() >= due:  # whatever still comes in: a line may never be quiet
                break
        silent = [number for number in wanted if number not in answers]
        if silent:
            self._owed_until = self.port.now() + LATE_ANSWERS * self.patience.answer_s
        for number in silent:
            if number in self._names:
                self.health[self._names[number]].silent += 1
        return answers

    def _outlast_late_answers(self, code: int, what: bytes) -> None:
        """Wait until no answer to something else can come any more: it might look like the answer to this."""
        if (code, what) != self._asked:
            self._asked = code, what
            while self.port.now() < self._owed_until:
                self.port.read(self._owed_until)

    def _accept(self, status: Packet, size: int | None) -> bool:
        """Count a status and tell whether it can be used; raises :class:`MotorFault` where the servo refused."""
        health = self.health[self._names[status.id]] if status.id in self._names else Health()
        if self.wire.misheard(status.code):
            self._decoder.corrupt += 1
            return False
        refused = self.wire.refused(status.code)
        health.alerts = self.wire.alerts(status.code)
        if refused:
            raise MotorFault(f"{self.port.name}, {self._called(status.id)}: {refused}")
        if size is not None and len(status.data) != size:
            health.malformed += 1
            return False
        health.answered += 1
        return True

    def _called(self, number: int) -> str:
        name = self._names.get(number)
        return f"id {number}" if name is None else f"{name} (id {number})"

    def _no_answer(self, numbers: Sequence[int], what: str) -> BusError:
        who = ", ".join(self._called(number) for number in numbers)
        return BusError(
            f"{self.port.name}, {who}: no answer to `{what}` in {1e3 * self.patience.budget_s:.0f} ms; check power, cables and "
            f"ids (`robot-learning find motors --port {self.port.name}` lists who answers)"
        )


def _number(entry: Register, data: bytes, first: int) -> int:
    begin = entry.address - first
    return entry.decode(data[begin : begin + entry.size])
