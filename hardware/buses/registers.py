"""Registers of a servo: where a number stands in its memory and how it is written there."""

from collections.abc import Mapping
from dataclasses import dataclass

from robot_learning.core.errors import ConfigError, UnknownName


@dataclass(frozen=True)
class Register:
    """One number in a servo's memory, little endian.

    Attributes:
        address: Its first byte.
        size: Bytes: 1, 2 or 4.
        sign_bit: Bit that holds the sign, beside a magnitude in the bits below it; None where there is none.
        signed: Negative numbers as two's complement.
        kept: Stands in the part of the memory that outlasts the power, writable with the torque off only.
    """

    address: int
    size: int
    sign_bit: int | None = None
    signed: bool = False
    kept: bool = False

    @property
    def limits(self) -> tuple[int, int]:
        """Return the smallest and the largest number that fit."""
        bits = 8 * self.size
        if self.sign_bit is not None:
            largest = (1 << self.sign_bit) - 1
            return -largest, largest
        return (-(1 << bits - 1), (1 << bits - 1) - 1) if self.signed else (0, (1 << bits) - 1)

    def encode(self, value: int, name: str = "register") -> bytes:
        """Return the bytes of a number; raises :class:`ConfigError` where it does not fit."""
        low, high = self.limits
        if not low <= value <= high:
            raise ConfigError(f"{name}: expected {low} to {high}, got {value}")
        if self.sign_bit is not None and value < 0:
            value = -value | 1 << self.sign_bit
        return value.to_bytes(self.size, "little", signed=self.signed)

    def decode(self, data: bytes) -> int:
        """Return the number that the bytes hold."""
        value = int.from_bytes(data, "little", signed=self.signed)
        if self.sign_bit is None:
            return value
        magnitude = value & ((1 << self.sign_bit) - 1)
        return -magnitude if value >> self.sign_bit & 1 else magnitude


ControlTable = Mapping[str, Register]
"""The registers of a family of servos by name."""


def register(table: ControlTable, name: str) -> Register:
    """Return a register by name; raises :class:`UnknownName`."""
    if name not in table:
        raise UnknownName("register", name, table)
    return table[name]
