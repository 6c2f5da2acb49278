"""What the wire formats of servo buses have in common: how packets are found in a stream of bytes.

A bus sends an *instruction* to one servo or to all; a servo answers with a *status*. Both are packets with a header, an id, a
length, a body and a check. :class:`Wire` says how one maker writes them; :class:`Decoder` finds whole packets in what arrives,
whatever noise stands between them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

BROADCAST = 0xFE
"""The id that every servo listens to."""


@dataclass(frozen=True)
class Instructions:
    """The codes of a maker's instructions.

    Those that a maker does not have are None.
    """

    ping: int = 0x01
    read: int = 0x02
    write: int = 0x03
    reg_write: int = 0x04
    action: int = 0x05
    sync_read: int = 0x82
    sync_write: int = 0x83
    bulk_read: int | None = None
    bulk_write: int | None = None
    reboot: int | None = None


@dataclass(frozen=True)
class Packet:
    """One packet.

    Attributes:
        id: Servo that it is for or from, or :data:`BROADCAST`.
        code: Instruction, or in a status its error byte, 0 when all is well.
        data: Parameters.
    """

    id: int
    code: int
    data: bytes = b""


class Wire(Protocol):
    """One maker's packets."""

    @property
    def name(self) -> str:
        """Return the maker's name for the format."""
        ...

    @property
    def instructions(self) -> Instructions:
        """Return the codes of the instructions."""
        ...

    @property
    def address_size(self) -> int:
        """Return how many bytes an address or a length takes in parameters."""
        ...

    @property
    def header(self) -> bytes:
        """Return what every packet begins with."""
        ...

    @property
    def prefix(self) -> int:
        """Return how many bytes, from the header on, tell a packet's size."""
        ...

    def size(self, prefix: bytes) -> int | None:
        """Return the size of the whole packet that begins like this, None where no packet does."""
        ...

    def instruction(self, packet: Packet) -> bytes:
        """Return the bytes of an instruction."""
        ...

    def status(self, packet: Packet) -> bytes:
        """Return the bytes of a status."""
        ...

    def read_instruction(self, packet: bytes) -> Packet | None:
        """Return the instruction in the bytes of one packet, None where they are corrupt or a status."""
        ...

    def read_status(self, packet: bytes) -> Packet | None:
        """Return the status in the bytes of one packet, None where they are corrupt or an instruction."""
        ...

    def status_size(self, data: int) -> int:
        """Return the size of a status with so many bytes of data, for time limits."""
        ...

    def misheard(self, code: int) -> bool:
        """Return whether a servo says that the instruction came in damaged: send it again."""
        ...

    def refused(self, code: int) -> str:
        """Return in words why a servo did not do what it was told; empty where it did."""
        ...

    def alerts(self, code: int) -> tuple[str, ...]:
        """Return what a servo complains of in a status, in words."""
        ...


class Decoder:
    """Finds packets in a stream of bytes.

    Args:
        wire: The format.

    Attributes:
        corrupt: How often something began like a packet and was none.
    """

    def __init__(self, wire: Wire) -> None:
        """Begin with nothing received."""
        self.corrupt = 0
        self._wire = wire
        self._received = bytearray()

    def clear(self) -> None:
        """Forget what was received so far."""
        self._received.clear()

    def statuses(self, received: bytes) -> Iterator[Packet]:
        """Yield the statuses that are whole now that ``received`` came in."""
        return self._packets(received, status=True)

    def instructions(self, received: bytes) -> Iterator[Packet]:
        """Yield the instructions that are whole now that ``received`` came in."""
        return self._packets(received, status=False)

    def _packets(self, received: bytes, *, status: bool) -> Iterator[Packet]:
        self._received += received
        read = self._wire.read_status if status else self._wire.read_instruction
        while (packet := self._candidate()) is not None:
            found = read(packet)
            if found is None:
                self._false_start()
                continue
            del self._received[: len(packet)]
            yield found

    def _candidate(self) -> bytes | None:
        """Return the bytes that the header at the front calls a packet, None while they are not all there."""
        wire, received = self._wire, self._received
        while True:
            start = received.find(wire.header)
            if start < 0:
                kept = len(wire.header) - 1  # it may be the beginning of a header
                del received[: max(0, len(received) - kept)]
                return None
            del received[:start]
            if len(received) < wire.prefix:
                return None
            size = wire.size(bytes(received[: wire.prefix]))
            if size is not None:
                return bytes(received[:size]) if len(received) >= size else None
            self._false_start()

    def _false_start(self) -> None:
        """Count the packet at the front as corrupt and look for one right behind its first byte."""
        self.corrupt += 1
        del self._received[:1]
