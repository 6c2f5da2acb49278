"""How fast six servos are read and written over a serial port: our bus beside the maker's own library, on the same twin.

A cycle reads the position of all six servos with one sync read and writes their goals with one sync write. The twin takes as
long as the bytes of a real bus at 1 Mbit/s and the servos' return delay (0). Needs `pip install 'robot-learning[so101]'
feetech-servo-sdk`.

    python benchmarks/servo_bus.py
    python benchmarks/servo_bus.py --port /dev/ttyACM0     # a real arm, limp: goals are written with the torque off
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from robot_learning.hardware.arms import so101
from robot_learning.hardware.buses.bus import UNHURRIED
from robot_learning.hardware.twin.station import Station


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", help="serial port of a real arm; a twin unless given")
    parser.add_argument("--cycles", type=int, default=500, help="cycles of each in a round (default: 500)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default: 7)")
    arguments = parser.parse_args()
    sides = {"ours": ours, "feetech-servo-sdk": theirs}
    taken: dict[str, list[np.ndarray]] = {name: [] for name in sides}
    with _port(arguments.port) as port:
        for _ in range(arguments.rounds):  # in turns, so that other work on the machine meets both
            for name, cycle in sides.items():
                with cycle(port) as once:
                    taken[name].append(measure(once, arguments.cycles))
    rates = {name: np.array([1 / seconds.mean() for seconds in rounds]) for name, rounds in taken.items()}
    for name, rounds in taken.items():
        p50, p99, worst = np.percentile(np.concatenate(rounds), (50, 99, 100)) * 1e3
        print(f"{name:<20}{np.median(rates[name]):5.0f} Hz   p50 {p50:.2f} ms   p99 {p99:.2f} ms   max {worst:.2f} ms")
    print(f"ours / feetech-servo-sdk: {np.median(rates['ours'] / rates['feetech-servo-sdk']):.2f} (median of the rounds)")


def measure(once: Callable[[], None], cycles: int) -> np.ndarray:
    """Return how long each cycle took [s]."""
    seconds = np.empty(cycles)
    for index in range(cycles):
        began = time.perf_counter()
        once()
        seconds[index] = time.perf_counter() - began
    return seconds


@contextlib.contextmanager
def ours(port: str) -> Iterator[Callable[[], None]]:
    """Yield a cycle of our bus."""
    bus = so101.bus(port, UNHURRIED)  # a busy machine may stop the twin for longer than a control loop would wait
    bus.connect()
    for joint in bus.motors:
        bus.write("torque_enable", joint, 0)
        bus.write("return_delay", joint, 0)

    def once() -> None:
        positions = bus.sync_read("present_position")
        bus.sync_write("goal_position", {joint: position for joint, (position,) in positions.items()})

    yield once
    bus.close()


@contextlib.contextmanager
def theirs(port: str) -> Iterator[Callable[[], None]]:
    """Yield the same cycle of the maker's library."""
    import scservo_sdk as sdk

    line, packets = sdk.PortHandler(port), sdk.PacketHandler(0)
    line.openPort()
    line.setBaudRate(1_000_000)
    reader, writer = sdk.GroupSyncRead(line, packets, 56, 2), sdk.GroupSyncWrite(line, packets, 42, 2)
    for number in range(1, 7):
        reader.addParam(number)
        writer.addParam(number, [0, 8])

    def once() -> None:
        if reader.txRxPacket() != sdk.COMM_SUCCESS:
            raise RuntimeError("feetech-servo-sdk: a sync read failed")
        for number in range(1, 7):
            position = reader.getData(number, 56, 2)
            writer.changeParam(number, [sdk.SCS_LOBYTE(position), sdk.SCS_HIBYTE(position)])
        writer.txPacket()

    yield once
    line.closePort()


@contextlib.contextmanager
def _port(given: str | None) -> Iterator[str]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder, Station("so101", ("follower",), Path(folder)) as station:
        yield str(station.ports["follower"])


if __name__ == "__main__":
    main()
