"""Feetech's serial bus as STS and SMS servos speak it (STS3215 of the SO-100 and SO-101): packets and registers.

    FF FF | id | length | instruction or error | parameters | check        length = parameters + 2
    check = ~(id + length + instruction + parameters) & FF                 numbers little endian

Signed registers hold a magnitude and a sign bit. Registers below 40 are kept without power; what is written to them while
``lock`` is 1 is lost with the power. Source: the maker's memory table of the STS3215; examples in
``tests/hardware/test_feetech.py``.
"""

from robot_learning.hardware.buses.registers import ControlTable, Register
from robot_learning.hardware.buses.wire import Instructions, Packet

BAUD_RATES = (1_000_000, 500_000, 250_000, 128_000, 115_200, 57_600, 38_400, 19_200)
"""Rates [bit/s] by the value of the register ``baud_rate``."""

RESOLUTION = 4096
"""Steps of a turn."""

MODELS = {"sts3215": 777, "sts3250": 2825, "sm8512bl": 11272}
"""Model numbers."""

MIDDLE = 128
"""Written to ``torque_enable`` it makes the present position the middle one (2048)."""

_ALERTS = ("voltage out of range", "angle sensor fault", "overheated", "over-current", "angle out of range", "overloaded")

STS: ControlTable = {
    "firmware_major": Register(0, 1, kept=True),
    "firmware_minor": Register(1, 1, kept=True),
    "model": Register(3, 2, kept=True),
    "id": Register(5, 1, kept=True),
    "baud_rate": Register(6, 1, kept=True),
    "return_delay": Register(7, 1, kept=True),
    "response_level": Register(8, 1, kept=True),
    "min_position": Register(9, 2, kept=True),
    "max_position": Register(11, 2, kept=True),
    "max_temperature": Register(13, 1, kept=True),
    "max_voltage": Register(14, 1, kept=True),
    "min_voltage": Register(15, 1, kept=True),
    "max_torque": Register(16, 2, kept=True),
    "phase": Register(18, 1, kept=True),
    "unloading_condition": Register(19, 1, kept=True),
    "position_p": Register(21, 1, kept=True),
    "position_d": Register(22, 1, kept=True),
    "position_i": Register(23, 1, kept=True),
    "min_start_force": Register(24, 2, kept=True),
    "protection_current": Register(28, 2, kept=True),
    "homing_offset": Register(31, 2, sign_bit=11, kept=True),
    "operating_mode": Register(33, 1, kept=True),
    "protective_torque": Register(34, 1, kept=True),
    "protection_time": Register(35, 1, kept=True),
    "overload_torque": Register(36, 1, kept=True),
    "torque_enable": Register(40, 1),
    "acceleration": Register(41, 1),
    "goal_position": Register(42, 2, sign_bit=15),
    "goal_time": Register(44, 2),
    "goal_velocity": Register(46, 2, sign_bit=15),
    "torque_limit": Register(48, 2),
    "lock": Register(55, 1),
    "present_position": Register(56, 2, sign_bit=15),
    "present_velocity": Register(58, 2, sign_bit=15),
    "present_load": Register(60, 2, sign_bit=10),
    "present_voltage": Register(62, 1),
    "present_temperature": Register(63, 1),
    "status": Register(65, 1),
    "moving": Register(66, 1),
    "present_current": Register(69, 2, sign_bit=15),
    "max_velocity": Register(84, 1),
    "max_acceleration": Register(85, 1),
}
"""Registers of STS and SMS servos. Positions in steps, velocities in steps/s, load in 0.1 % of the full torque, voltage in
0.1 V, temperature in degrees Celsius."""


class FeetechWire:
    """Feetech's packets (protocol 0)."""

    name = "feetech"
    instructions = Instructions()
    address_size = 1
    header = b"\xff\xff"
    prefix = 4

    def size(self, prefix: bytes) -> int | None:
        """Return the size of the packet; an id of FF is one header byte too many, no servo."""
        return None if prefix[2] == 0xFF or prefix[3] < 2 else prefix[3] + 4

    def instruction(self, packet: Packet) -> bytes:
        """Return the bytes of an instruction; a status looks the same."""
        body = bytes((packet.id, len(packet.data) + 2, packet.code)) + packet.data
        return self.header + body + bytes((_check(body),))

    status = instruction

    def read_instruction(self, packet: bytes) -> Packet | None:
        """Return the packet, None where its check is wrong."""
        body = packet[2:-1]
        return Packet(packet[2], packet[4], packet[5:-1]) if packet[-1] == _check(body) else None

    read_status = read_instruction

    def status_size(self, data: int) -> int:
        """Return the size of a status with so many bytes of data."""
        return 6 + data

    def misheard(self, code: int) -> bool:  # noqa: ARG002 - the protocol's signature
        """Return False: these servos do not answer what they cannot read."""
        return False

    def refused(self, code: int) -> str:  # noqa: ARG002 - the protocol's signature
        """Return nothing: the error byte of these servos only holds alerts."""
        return ""

    def alerts(self, code: int) -> tuple[str, ...]:
        """Return the alerts whose bits are set."""
        return tuple(text for bit, text in enumerate(_ALERTS) if code >> bit & 1)


def _check(body: bytes) -> int:
    return ~sum(body) & 0xFF
