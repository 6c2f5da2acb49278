"""Dynamixel's serial bus, protocol 2.0, as X-series servos speak it (Koch, ALOHA, GELLO): packets and registers.

    FF FF FD 00 | id | length (2) | instruction | parameters | CRC (2)             length = parameters + 3
    FF FF FD 00 | id | length (2) | 55 | error | parameters | CRC (2)              length = parameters + 4

Numbers are little endian. Behind every FF FF FD within instruction and parameters stands one more FD, so that no packet holds a
header inside. The CRC-16 has the polynomial 8005, begins with 0 and covers all bytes before it. Registers below 64 are kept
without power and are writable with the torque off only. Source: the maker's manual of protocol 2.0 and the control table of the
X series; examples in ``tests/hardware/test_dynamixel.py``.
"""

from robot_learning.hardware.buses.registers import ControlTable, Register
from robot_learning.hardware.buses.wire import Instructions, Packet

BAUD_RATES = (9_600, 57_600, 115_200, 1_000_000, 2_000_000, 3_000_000, 4_000_000)
"""Rates [bit/s] by the value of the register ``baud_rate``."""

RESOLUTION = 4096
"""Steps of a turn."""

MODELS = {
    "xl330-m077": 1190,
    "xl330-m288": 1200,
    "xl430-w250": 1060,
    "xm430-w350": 1020,
    "xm540-w270": 1120,
    "xc430-w150": 1070,
    "xh540-w150": 1110,
    "xc330-t288": 1220,
    "xc330-t181": 1210,
}
"""Model numbers."""

X_SERIES: ControlTable = {
    "model": Register(0, 2, kept=True),
    "firmware": Register(6, 1, kept=True),
    "id": Register(7, 1, kept=True),
    "baud_rate": Register(8, 1, kept=True),
    "return_delay": Register(9, 1, kept=True),
    "drive_mode": Register(10, 1, kept=True),
    "operating_mode": Register(11, 1, kept=True),
    "homing_offset": Register(20, 4, signed=True, kept=True),
    "max_temperature": Register(31, 1, kept=True),
    "max_voltage": Register(32, 2, kept=True),
    "min_voltage": Register(34, 2, kept=True),
    "pwm_limit": Register(36, 2, kept=True),
    "current_limit": Register(38, 2, kept=True),
    "velocity_limit": Register(44, 4, kept=True),
    "max_position": Register(48, 4, kept=True),
    "min_position": Register(52, 4, kept=True),
    "shutdown": Register(63, 1, kept=True),
    "torque_enable": Register(64, 1),
    "led": Register(65, 1),
    "response_level": Register(68, 1),
    "hardware_error": Register(70, 1),
    "velocity_i": Register(76, 2),
    "velocity_p": Register(78, 2),
    "position_d": Register(80, 2),
    "position_i": Register(82, 2),
    "position_p": Register(84, 2),
    "bus_watchdog": Register(98, 1),
    "goal_pwm": Register(100, 2, signed=True),
    "goal_current": Register(102, 2, signed=True),
    "goal_velocity": Register(104, 4, signed=True),
    "profile_acceleration": Register(108, 4),
    "profile_velocity": Register(112, 4),
    "goal_position": Register(116, 4, signed=True),
    "moving": Register(122, 1),
    "present_pwm": Register(124, 2, signed=True),
    "present_current": Register(126, 2, signed=True),
    "present_velocity": Register(128, 4, signed=True),
    "present_position": Register(132, 4, signed=True),
    "present_voltage": Register(144, 2),
    "present_temperature": Register(146, 1),
}
"""Registers of X-series servos. Positions in steps, velocities in 0.229 rpm, voltage in 0.1 V, temperature in degrees
Celsius."""

_STATUS, _WRONG_CRC = 0x55, 3
_REFUSALS = (
    "",
    "it could not process the instruction",
    "unknown instruction",
    "wrong CRC",
    "value out of range",
    "wrong length",
    "value beyond the limit",
    "access denied (kept registers need the torque off)",
)
_MARK, _STUFFED = b"\xff\xff\xfd", b"\xff\xff\xfd\xfd"


class DynamixelWire:
    """Dynamixel's packets (protocol 2.0)."""

    name = "dynamixel"
    instructions = Instructions(bulk_read=0x92, bulk_write=0x93, reboot=0x08)
    address_size = 2
    header = b"\xff\xff\xfd\x00"
    prefix = 7

    def size(self, prefix: bytes) -> int | None:
        """Return the size of the packet; its length counts at least the instruction and the CRC."""
        length = prefix[5] | prefix[6] << 8
        return None if prefix[4] == 0xFF or length < 3 else length + 7

    def instruction(self, packet: Packet) -> bytes:
        """Return the bytes of an instruction."""
        return self._packet(packet.id, bytes((packet.code,)) + packet.data)

    def status(self, packet: Packet) -> bytes:
        """Return the bytes of a status."""
        return self._packet(packet.id, bytes((_STATUS, packet.code)) + packet.data)

    def read_instruction(self, packet: bytes) -> Packet | None:
        """Return the instruction, None where the CRC is wrong or it is a status."""
        body = self._body(packet)
        return None if not body or body[0] == _STATUS else Packet(packet[4], body[0], body[1:])

    def read_status(self, packet: bytes) -> Packet | None:
        """Return the status, None where the CRC is wrong or it is an instruction."""
        body = self._body(packet)
        return None if len(body) < 2 or body[0] != _STATUS else Packet(packet[4], body[1], body[2:])

    def status_size(self, data: int) -> int:
        """Return the size of a status with so many bytes of data, none of them stuffed."""
        return 11 + data

    def misheard(self, code: int) -> bool:
        """Return whether the servo saw a wrong CRC."""
        return code & 0x7F == _WRONG_CRC

    def refused(self, code: int) -> str:
        """Return why the instruction was refused, from the low seven bits."""
        number = code & 0x7F
        return _REFUSALS[number] if number < len(_REFUSALS) else f"error {number}"

    def alerts(self, code: int) -> tuple[str, ...]:
        """Return that there is an alert where the highest bit is set; the register ``hardware_error`` says which."""
        return ("hardware alert",) if code & 0x80 else ()

    def _packet(self, number: int, body: bytes) -> bytes:
        stuffed = body.replace(_MARK, _STUFFED)
        head = self.header + bytes((number,)) + (len(stuffed) + 2).to_bytes(2, "little") + stuffed
        return head + crc16(head).to_bytes(2, "little")

    def _body(self, packet: bytes) -> bytes:
        """Return instruction and parameters; nothing where the CRC is wrong."""
        if crc16(packet[:-2]) != int.from_bytes(packet[-2:], "little"):
            return b""
        return packet[7:-2].replace(_STUFFED, _MARK)


def _crc_of_byte(byte: int) -> int:
    value = byte << 8
    for _ in range(8):
        value = (value << 1 ^ 0x8005 if value & 0x8000 else value << 1) & 0xFFFF
    return value


_CRC = tuple(_crc_of_byte(byte) for byte in range(256))


def crc16(data: bytes) -> int:
    """Return the CRC-16 of ``data``: polynomial 8005, begun with 0, not reflected."""
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ _CRC[value >> 8 ^ byte]
    return value
