"""Virtual servos on one line: instructions in, answers out, and the joints that they drive.

Time passes only in :meth:`ServoBank.advance`, so the same servos run against the wall clock behind a pseudo-terminal
(:mod:`.terminal`) and as fast as the machine can behind a :class:`~robot_learning.hardware.twin.direct.DirectPort`.
"""

from collections.abc import Callable, Iterable, Sequence

from robot_learning.core.errors import UnknownName
from robot_learning.hardware.buses.wire import BROADCAST, Decoder, Packet, Wire
from robot_learning.hardware.twin.body import Body, Motion
from robot_learning.hardware.twin.servos import Servo

STEP_S = 0.002
"""Longest stretch of time between two looks of a servo's electronics at its joint [s]."""
GAP_S = 0.003
"""After so long a silence on the line a servo takes what comes for the beginning of a packet [s]."""

Answer = tuple[Servo, bytes]
"""A servo and the bytes that it sends."""


class ServoBank:
    """Servos that share a line and a body.

    Args:
        wire: The maker's packets.
        servos: The servos, in the order of the body's joints.
        body: The joints that they drive.
    """

    def __init__(self, wire: Wire, servos: Sequence[Servo], body: Body) -> None:
        """Connect servos and joints."""
        self.servos, self.body = tuple(servos), body
        self._wire = wire
        self._decoder = Decoder(wire)
        self._registered: dict[int, bytes] = {}
        self._silence_s = 0.0
        self.advance(0.0)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._silence_s += seconds
        while True:
            step = min(seconds, STEP_S)
            motion = self.body.advance(step, [servo.drive() for servo in self.servos])
            for servo, *felt in zip(self.servos, motion.position, motion.velocity, motion.effort, strict=True):
                servo.feel(step, *map(float, felt))
            seconds -= step
            if seconds <= 1e-9:
                return

    def by_id(self, number: int) -> Servo:
        """Return the servo with this id; raises :class:`UnknownName`."""
        for servo in self.servos:
            if servo.id == number:
                return servo
        raise UnknownName("servo", str(number), [str(servo.id) for servo in self.servos])

    def motion(self) -> Motion:
        """Return what the joints do now."""
        return self.body.advance(0.0, [servo.drive() for servo in self.servos])

    def receive(self, data: bytes, baud: int) -> list[Answer]:
        """Return the answers to what comes in at a rate [bit/s], each with its servo, in their order on the line."""
        if self._silence_s > GAP_S:
            self._decoder.clear()
        self._silence_s = 0.0
        answers: list[Answer] = []
        for packet in self._decoder.instructions(data):
            answers += self._obey(packet, [servo for servo in self.servos if servo.baud == baud])
        return answers

    def _obey(self, packet: Packet, listening: Iterable[Servo]) -> list[Answer]:
        codes = self._wire.instructions
        ways: dict[int | None, Callable[[Packet, list[Servo]], list[Answer]]] = {
            codes.ping: self._ping,
            codes.read: self._read,
            codes.write: self._write,
            codes.reg_write: self._register,
            codes.action: self._act,
            codes.reboot: self._reboot,
            codes.sync_read: self._sync_read,
            codes.sync_write: self._sync_write,
            codes.bulk_read: self._bulk_read,
            codes.bulk_write: self._bulk_write,
        }
        servos = [servo for servo in listening if packet.id in (servo.id, BROADCAST)]
        return ways[packet.code](packet, servos) if packet.code in ways else []

    def _ping(self, packet: Packet, servos: list[Servo]) -> list[Answer]:  # noqa: ARG002 - as the others
        return [(servo, self._status(servo.id, servo.error, servo.identity)) for servo in servos if servo.powered]

    def _read(self, packet: Packet, servos: list[Servo]) -> list[Answer]:
        if packet.id == BROADCAST or len(packet.data) != 2 * self._wire.address_size:
            return []
        return self._fetched([(servo, self._span(packet.data)) for servo in servos])

    def _sync_read(self, packet: Packet, servos: list[Servo]) -> list[Answer]:
        head, by_id = 2 * self._wire.address_size, {servo.id: servo for servo in servos}
        where = self._span(packet.data[:head])
        return self._fetched([(by_id[number], where) for number in packet.data[head:] if number in by_id])

    def _bulk_read(self, packet: Packet, servos: list[Servo]) -> list[Answer]:
        block, by_id = 1 + 2 * self._wire.address_size, {servo.id: servo for servo in servos}
        blocks = [packet.data[start : start + block] for start in range(0, len(packet.data) - block + 1, block)]
        return self._fetched([(by_id[entry[0]], self._span(entry[1:])) for entry in blocks if entry[0] in by_id])

    def _write(self, packet: Packet, servos: list[Servo]) -> list[Answer]:
        return self._acknowledged(packet, [(servo, self._stored(servo, packet.data)) for servo in servos])

    def _register(self, packet: Packet, servos: list[Servo]) -> list[Answer]:
        self._registered |= {servo.id: packet.data for servo in servos}
        return self._acknowledged(packet, [(servo, servo.error) for servo in servos])

    def _act(self, packet: Packet, servos: list[Servo]) -> list[Answer]:
        errors = [(servo, self._stored(servo, self._registered.pop(servo.id, b""))) for servo in servos]
        return self._acknowledged(packet, errors)

    def _reboot(self, packet: Packet, servos: list[Servo]) -> list[Answer]:
        for servo in servos:
            servo.power_cycle()
        return self._acknowledged(packet, [(servo, servo.error) for servo in servos])

    def _sync_write(self, packet: Packet, servos: list[Servo]) -> list[Answer]:
        width, by_id = self._wire.address_size, {servo.id: servo for servo in servos}
        address, (_, size) = packet.data[:width], self._span(packet.data[: 2 * width])
        blocks = packet.data[2 * width :]
        for start in range(0, len(blocks) - size, size + 1):
            if blocks[start] in by_id:
                self._stored(by_id[blocks[start]], address + blocks[start + 1 : start + 1 + size])
        return []

    def _bulk_write(self, packet: Packet, servos: list[Servo]) -> list[Answer]:
        width, by_id = self._wire.address_size, {servo.id: servo for servo in servos}
        head, rest = 1 + 2 * width, packet.data
        while len(rest) > head:
            _, size = self._span(rest[1:head])
            if rest[0] in by_id:
                self._stored(by_id[rest[0]], rest[1 : 1 + width] + rest[head : head + size])
            rest = rest[head + size :]
        return []

    def _stored(self, servo: Servo, data: bytes) -> int:
        """Write what stands behind an address and return the error byte."""
        width = self._wire.address_size
        return servo.store(int.from_bytes(data[:width], "little"), data[width:]) if len(data) > width else servo.error

    def _fetched(self, asked: Iterable[tuple[Servo, tuple[int, int]]]) -> list[Answer]:
        """Return the answers to reads."""
        return [(servo, self._status(servo.id, *servo.fetch(*where))) for servo, where in asked if servo.answers(read=True)]

    def _acknowledged(self, packet: Packet, errors: Iterable[tuple[Servo, int]]) -> list[Answer]:
        """Return the answers to whatever changes a servo, under the id that it was asked by; nobody answers a broadcast."""
        if packet.id == BROADCAST:
            return []
        return [(servo, self._status(packet.id, error)) for servo, error in errors if servo.answers(read=False)]

    def _status(self, number: int, error: int, data: bytes = b"") -> bytes:
        return self._wire.status(Packet(number, error, data))

    def _span(self, data: bytes) -> tuple[int, int]:
        width = self._wire.address_size
        return int.from_bytes(data[:width], "little"), int.from_bytes(data[width:], "little")
