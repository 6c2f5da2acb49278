"""The twins behind a serial port of the operating system: our bus, and the makers' own libraries."""

import os

import pytest

from robot_learning.core.errors import BusError, NotConnected
from robot_learning.hardware.buses.bus import Patience
from robot_learning.hardware.buses.port import SerialPort, serial_ports
from tests.hardware.twins import MAKERS, make_line, serial_bus, served

FAST = {"feetech": {"return_delay": 0}, "dynamixel": {"return_delay": 0, "baud_rate": 3}}
PATIENT = Patience(answer_s=0.1, tries=20, budget_s=5.0)
"""For a test machine that may be busy; what is tested here is never how fast it is."""

makers = pytest.mark.parametrize("maker", MAKERS)


@pytest.fixture
def line(maker):
    return make_line(maker, **FAST[maker])


@makers
def test_our_bus_reads_and_writes_through_it(maker, line, tmp_path):
    with served(tmp_path, line) as terminal:
        bus = serial_bus(terminal, maker, patience=PATIENT)
        bus.connect()
        assert bus.scan(range(1, 4)) == dict.fromkeys((1, 2, 3), line.bank.servos[0].memory["model"])
        bus.write("torque_enable", "gripper", 1)
        assert bus.read("torque_enable", "gripper") == 1
        assert len(bus.sync_read(["present_position", "present_velocity"])) == 6
        bus.close()


@makers
def test_a_wrong_rate_is_silence_here_too(maker, line, tmp_path):
    with served(tmp_path, line) as terminal:
        bus = serial_bus(terminal, maker, baud=115_200, patience=Patience(0.02, 2, 0.1))
        bus.connect()
        with pytest.raises(BusError, match="no answer"):
            bus.read("present_position", "gripper")
        bus.close()


@pytest.mark.parametrize("maker", ["feetech"])
def test_a_pulled_cable_is_told_and_survived(maker, line, tmp_path):
    with served(tmp_path, line) as terminal:
        bus = serial_bus(terminal, maker, patience=PATIENT)
        bus.connect()
        bus.sync_read("present_position")
        line.plugged = False
        while terminal.name.exists():
            os.sched_yield()
        with pytest.raises(NotConnected, match="went away"):
            bus.sync_read("present_position")
        with pytest.raises(NotConnected, match=r"ports here: .*is the cable in"):
            bus.connect()
        line.plugged = True
        while not terminal.name.exists():
            os.sched_yield()
        bus.connect()
        assert len(bus.sync_read("present_position")) == 6
        bus.close()


@pytest.mark.parametrize("maker", ["feetech"])
def test_one_program_at_a_time(maker, line, tmp_path):
    with served(tmp_path, line) as terminal:
        first, second = SerialPort(str(terminal.name)), SerialPort(str(terminal.name))
        first.open()
        with pytest.raises(NotConnected, match=r"another program holds; close that program \(`fuser"):
            second.open()
        first.close()
        second.open()
        second.close()


def test_a_port_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(NotConnected, match=r"/dev/ttyNOWHERE: .*ports here: "):
        SerialPort("/dev/ttyNOWHERE").open()
    assert all(len(entry) == 2 for entry in serial_ports())


def test_no_permission_is_told_with_the_rule_to_add(monkeypatch):
    import serial

    def refuse(*_, **__):
        raise serial.SerialException(13, "could not open port: [Errno 13] Permission denied")

    monkeypatch.setattr(serial, "Serial", refuse)  # tests may run as root, whom nothing is forbidden
    with pytest.raises(NotConnected, match=r"no permission(?s:.)*udev/rules\.d(?s:.)*usermod -aG dialout"):
        SerialPort("/dev/ttyACM0").open()


@pytest.mark.parametrize("maker", ["feetech"])
def test_feetechs_own_library_talks_to_it(maker, line, tmp_path, monkeypatch):
    sdk = pytest.importorskip("scservo_sdk")
    monkeypatch.setattr(sdk.port_handler, "LATENCY_TIMER", 1000)  # it polls, and the machine may be busy
    with served(tmp_path, line) as terminal:
        port, packets = sdk.PortHandler(str(terminal.name)), sdk.PacketHandler(0)
        assert port.openPort()
        assert port.setBaudRate(1_000_000)
        assert packets.ping(port, 1) == (777, sdk.COMM_SUCCESS, 0)
        assert packets.write1ByteTxRx(port, 6, 40, 1) == (sdk.COMM_SUCCESS, 0)
        assert packets.read1ByteTxRx(port, 6, 40) == (1, sdk.COMM_SUCCESS, 0)
        reader, writer = sdk.GroupSyncRead(port, packets, 56, 2), sdk.GroupSyncWrite(port, packets, 42, 2)
        for number in range(1, 7):
            assert reader.addParam(number)
            assert writer.addParam(number, [sdk.SCS_LOBYTE(2000 + number), sdk.SCS_HIBYTE(2000 + number)])
        assert reader.txRxPacket() == sdk.COMM_SUCCESS
        assert all(reader.isAvailable(number, 56, 2) for number in range(1, 7))
        assert abs(reader.getData(6, 56, 2) - 2048) < 200
        assert writer.txPacket() == sdk.COMM_SUCCESS
        assert packets.read2ByteTxRx(port, 5, 42) == (2005, sdk.COMM_SUCCESS, 0)
        port.closePort()


@pytest.mark.parametrize("maker", ["dynamixel"])
def test_dynamixels_own_library_talks_to_it(maker, line, tmp_path, monkeypatch):
    sdk = pytest.importorskip("dynamixel_sdk")
    monkeypatch.setattr(sdk.port_handler, "LATENCY_TIMER", 1000)
    with served(tmp_path, line) as terminal:
        port, packets = sdk.PortHandler(str(terminal.name)), sdk.PacketHandler(2.0)
        assert port.openPort()
        assert port.setBaudRate(1_000_000)
        assert packets.ping(port, 1) == (1200, sdk.COMM_SUCCESS, 0)
        assert packets.broadcastPing(port) == ({number: [1200, 46] for number in range(1, 7)}, sdk.COMM_SUCCESS)
        assert packets.write1ByteTxRx(port, 6, 64, 1) == (sdk.COMM_SUCCESS, 0)
        assert packets.read1ByteTxRx(port, 6, 64) == (1, sdk.COMM_SUCCESS, 0)
        result, error = packets.write1ByteTxRx(port, 6, 11, 4)
        assert (result, packets.getRxPacketError(error)) == (
            sdk.COMM_SUCCESS,
            "[RxPacketError] Writing or Reading is not available to target address!",
        )
        reader, writer = sdk.GroupSyncRead(port, packets, 132, 4), sdk.GroupSyncWrite(port, packets, 116, 4)
        bulk = sdk.GroupBulkRead(port, packets)
        for number in range(1, 7):
            assert reader.addParam(number)
            assert writer.addParam(number, (2000 + number).to_bytes(4, "little"))
            assert bulk.addParam(number, 146, 1)
        assert reader.txRxPacket() == sdk.COMM_SUCCESS
        assert abs(reader.getData(6, 132, 4) - 2048) < 200
        assert writer.txPacket() == sdk.COMM_SUCCESS
        assert packets.read4ByteTxRx(port, 5, 116) == (2005, sdk.COMM_SUCCESS, 0)
        assert bulk.txRxPacket() == sdk.COMM_SUCCESS
        assert bulk.getData(3, 146, 1) == 25
        assert packets.reboot(port, 6) == (sdk.COMM_SUCCESS, 0)
        assert packets.read1ByteTxRx(port, 6, 64) == (0, sdk.COMM_SUCCESS, 0)
        port.closePort()
