"""What can be done to a twin while it runs, in words: a person's hand, and everything that goes wrong on real arms."""

import random
from collections.abc import Callable, Sequence

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.hardware.twin.line import Line

HELP = """hand middle|sweep|rest|wave|off   a hand moves the arm (motors that hold are stronger)
noise SHARE                       share of bytes lost or damaged, e.g. noise 0.01
checks SHARE                      share of answers with a wrong check
silent ID [ID ...]                these servos answer nothing; silent alone: all answer again
late MS                           answers come later by this much
unplug, plug                      the cable
volts V                           supply of all servos; below 4 they restart
heat ID C                         temperature of a servo
load ID SHARE                     more load on a servo, e.g. load 2 0.95
clear                             everything as it should be"""


def command(line: Line, words: Sequence[str]) -> None:
    """Do to a twin what a command says. Raises :class:`UnknownName` and :class:`ConfigError`."""
    if not words or words[0] not in _COMMANDS:
        raise UnknownName("command", words[0] if words else "", _COMMANDS)
    try:
        _COMMANDS[words[0]](line, *words[1:])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{' '.join(words)}: expected one of\n{HELP}") from error


def random_script(seed: int, seconds: float, servos: int, *, faults: int = 4) -> list[tuple[float, str]]:
    """Return commands with their times [s] that break things and mend them again; the same ones for the same seed."""
    draw = random.Random(seed)
    script = []
    for _ in range(draw.randint(1, faults)):
        begin = draw.uniform(0.1, 0.9) * seconds
        fault = draw.choice(_RANDOM)(draw, draw.randint(1, servos))
        script += [(begin, fault), (begin + draw.choice((0.02, 0.1, 0.5, 2.0)), "clear")]
    return sorted(script)


def _hand(line: Line, action: str) -> None:
    line.bank.body.hand.do(action)


def _noise(line: Line, share: str) -> None:
    line.noise = float(share)


def _checks(line: Line, share: str) -> None:
    line.wrong_checks = float(share)


def _silent(line: Line, *ids: str) -> None:
    line.silent = frozenset(map(int, ids))


def _late(line: Line, milliseconds: str) -> None:
    line.late_s = float(milliseconds) / 1e3


def _unplug(line: Line) -> None:
    line.plugged = False


def _plug(line: Line) -> None:
    line.plugged = True


def _volts(line: Line, volts: str) -> None:
    for servo in line.bank.servos:
        servo.volts = float(volts)


def _heat(line: Line, number: str, celsius: str) -> None:
    line.bank.by_id(int(number)).heat.celsius = float(celsius)


def _load(line: Line, number: str, share: str) -> None:
    line.bank.by_id(int(number)).load = float(share)


def _clear(line: Line) -> None:
    line.noise = line.wrong_checks = line.late_s = 0.0
    line.silent, line.plugged = frozenset(), True
    for servo in line.bank.servos:
        servo.volts, servo.load = servo.supply, 0.0
        servo.heat.celsius = min(servo.heat.celsius, 45.0)


_COMMANDS: dict[str, Callable[..., None]] = {
    "hand": _hand,
    "noise": _noise,
    "checks": _checks,
    "silent": _silent,
    "late": _late,
    "unplug": _unplug,
    "plug": _plug,
    "volts": _volts,
    "heat": _heat,
    "load": _load,
    "clear": _clear,
}
_RANDOM: tuple[Callable[[random.Random, int], str], ...] = (
    lambda draw, _: f"noise {draw.choice((0.001, 0.01, 0.1, 0.5)):g}",
    lambda draw, _: f"checks {draw.choice((0.1, 0.5, 1.0)):g}",
    lambda _, servo: f"silent {servo}",
    lambda draw, _: f"late {draw.choice((2, 10, 50)):g}",
    lambda _draw, _servo: "unplug",
    lambda draw, _: f"volts {draw.choice((3.0, 3.9, 9.0)):g}",
    lambda _, servo: f"heat {servo} 85",
    lambda draw, servo: f"load {servo} {draw.choice((-1, 1)) * draw.uniform(0.5, 1.0):.2f}",
)
