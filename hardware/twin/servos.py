"""Virtual servos: a memory of which a part outlasts the power, electronics that heat, trip and protect themselves.

What the two makers have in common is here; what differs, which register means what, is in :mod:`.feetech` and
:mod:`.dynamixel`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from robot_learning.hardware.buses.registers import ControlTable
from robot_learning.hardware.twin.body import Drive

AMBIENT_C = 25.0
HEATING_C = 60.0
"""How much hotter than its surroundings a motor gets at full load for ever [K]; with :data:`HEATING_S` about a minute at stall
brings it to where it protects itself, as stalled hobby servos do."""
HEATING_S = 90.0
"""Time constant of heating and cooling [s]."""


@dataclass
class Heat:
    """The temperature of a motor that warms with the square of its load."""

    celsius: float = AMBIENT_C

    def advance(self, seconds: float, load: float) -> None:
        """Let time pass at a load (a fraction of full torque)."""
        settled = AMBIENT_C + HEATING_C * load * load
        self.celsius += (settled - self.celsius) * min(1.0, seconds / HEATING_S)


@dataclass
class Memory:
    """A servo's registers, and what of them outlasts the power.

    Attributes:
        table: Where numbers stand.
        size: Bytes; reading or writing beyond them is an error.
        defaults: Values by name.
        live: What is in force.
        kept: What comes back with the power.
    """

    table: ControlTable
    size: int
    defaults: Mapping[str, int] = field(default_factory=dict)
    live: bytearray = field(init=False)
    kept: bytearray = field(init=False)

    def __post_init__(self) -> None:
        """Fill in the defaults."""
        self.live = bytearray(self.size)
        for name, value in self.defaults.items():
            self[name] = value
        self.kept = bytearray(self.live)

    def __getitem__(self, name: str) -> int:
        """Return a register's number."""
        entry = self.table[name]
        return entry.decode(bytes(self.live[entry.address : entry.address + entry.size]))

    def __setitem__(self, name: str, value: int) -> None:
        """Set a register's number, whoever may write it; numbers too large are cut off, as a small chip does."""
        entry, (low, high) = self.table[name], self.table[name].limits
        self.live[entry.address : entry.address + entry.size] = entry.encode(min(max(value, low), high), name)

    def keep(self, start: int, stop: int) -> None:
        """Make what stands there now outlast the power."""
        self.kept[start:stop] = self.live[start:stop]

    def power_cycle(self) -> None:
        """Lose what was not kept."""
        self.live = bytearray(self.kept)


class Servo(Protocol):
    """One virtual servo.

    Attributes:
        memory: Its registers.
        heat: Its temperature.
        volts: What it is supplied with [V]; set it to starve the servo.
        supply: What it should be supplied with [V].
        load: Load beyond the joint's own [fraction of full torque].
    """

    memory: Memory
    heat: Heat
    volts: float
    supply: float
    load: float

    @property
    def id(self) -> int:
        """Return the id that it answers to now."""
        ...

    @property
    def baud(self) -> int:
        """Return the rate that it understands now [bit/s]."""
        ...

    @property
    def return_delay(self) -> int:
        """Return how long it waits before it answers [2 us]."""
        ...

    @property
    def error(self) -> int:
        """Return the error byte that its answers carry."""
        ...

    @property
    def identity(self) -> bytes:
        """Return the data of its answer to a ping."""
        ...

    @property
    def powered(self) -> bool:
        """Return whether its controller runs at all."""
        ...

    def answers(self, *, read: bool) -> bool:
        """Return whether it answers reads, or writes, at all (its response level)."""
        ...

    def fetch(self, address: int, size: int) -> tuple[int, bytes]:
        """Return an error byte and the bytes asked for."""
        ...

    def store(self, address: int, data: bytes) -> int:
        """Write bytes and return the error byte."""
        ...

    def drive(self) -> Drive:
        """Return what its electronics want of the joint now."""
        ...

    def feel(self, seconds: float, position: float, velocity: float, effort: float) -> None:
        """Learn what its joint did while ``seconds`` passed, and see to its own protection."""
        ...

    def power_cycle(self) -> None:
        """Come back from a loss of power."""
        ...

    def reset(self) -> None:
        """Go back to what it left the factory with, its id excepted."""
        ...


@dataclass
class Fuse:
    """Trips when something has been too high for too long, and stays so until it is cleared."""

    tripped: bool = False
    above_s: float = 0.0

    def watch(self, seconds: float, *, too_high: bool, patience_s: float) -> None:
        """Let time pass."""
        self.above_s = self.above_s + seconds if too_high else 0.0
        self.tripped = self.tripped or self.above_s > patience_s

    def clear(self) -> None:
        """Work again."""
        self.tripped, self.above_s = False, 0.0
