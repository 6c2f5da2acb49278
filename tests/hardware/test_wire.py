"""The packets of both makers against bytes worked out by hand from the manuals, and the decoder against noise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_learning.core.errors import ConfigError
from robot_learning.hardware.buses import dynamixel, feetech
from robot_learning.hardware.buses.dynamixel import DynamixelWire, crc16
from robot_learning.hardware.buses.feetech import FeetechWire
from robot_learning.hardware.buses.registers import Register
from robot_learning.hardware.buses.wire import Decoder, Packet

WIRES = [FeetechWire(), DynamixelWire()]


def _bytes(text):
    return bytes.fromhex(text)


FEETECH = {
    "FF FF 01 02 01 FB": Packet(1, 0x01),
    "FF FF 01 04 02 38 02 BE": Packet(1, 0x02, bytes((56, 2))),
    "FF FF 01 04 03 28 01 CE": Packet(1, 0x03, bytes((40, 1))),
    "FF FF 01 05 03 2A 00 08 C4": Packet(1, 0x03, bytes((42, 0x00, 0x08))),
    "FF FF FE 0A 82 38 02 01 02 03 04 05 06 26": Packet(0xFE, 0x82, bytes((56, 2, 1, 2, 3, 4, 5, 6))),
    "FF FF FE 0A 83 2A 02 01 00 08 02 00 04 39": Packet(0xFE, 0x83, bytes((42, 2, 1, 0, 8, 2, 0, 4))),
}
DYNAMIXEL = {
    "FF FF FD 00 01 03 00 01 19 4E": Packet(1, 0x01),
    "FF FF FD 00 FE 03 00 01 31 42": Packet(0xFE, 0x01),
    "FF FF FD 00 01 07 00 02 84 00 04 00 1D 15": Packet(1, 0x02, bytes((132, 0, 4, 0))),
    "FF FF FD 00 01 06 00 03 40 00 01 DB 66": Packet(1, 0x03, bytes((64, 0, 1))),
    "FF FF FD 00 FE 09 00 82 84 00 04 00 01 02 CE FA": Packet(0xFE, 0x82, bytes((132, 0, 4, 0, 1, 2))),
    "FF FF FD 00 FE 11 00 83 74 00 04 00 01 96 00 00 00 02 AA 00 00 00 82 87": Packet(
        0xFE, 0x83, bytes((116, 0, 4, 0, 1, 150, 0, 0, 0, 2, 170, 0, 0, 0))
    ),
}
INSTRUCTIONS = [(FeetechWire(), text, packet) for text, packet in FEETECH.items()] + [
    (DynamixelWire(), text, packet) for text, packet in DYNAMIXEL.items()
]
STATUSES = [
    (FeetechWire(), "FF FF 01 02 00 FC", Packet(1, 0)),
    (FeetechWire(), "FF FF 01 04 00 00 08 F2", Packet(1, 0, bytes((0x00, 0x08)))),
    (DynamixelWire(), "FF FF FD 00 01 08 00 55 00 A6 00 00 00 8C C0", Packet(1, 0, bytes((166, 0, 0, 0)))),
]


@pytest.mark.parametrize(("wire", "text", "packet"), INSTRUCTIONS, ids=lambda value: getattr(value, "name", None))
def test_instructions_have_the_bytes_of_the_manual(wire, text, packet):
    assert wire.instruction(packet) == _bytes(text)
    assert list(Decoder(wire).instructions(_bytes(text))) == [packet]


@pytest.mark.parametrize(("wire", "text", "packet"), STATUSES, ids=lambda value: getattr(value, "name", None))
def test_statuses_have_the_bytes_of_the_manual(wire, text, packet):
    assert wire.status(packet) == _bytes(text)
    assert list(Decoder(wire).statuses(_bytes(text))) == [packet]
    assert wire.status_size(len(packet.data)) == len(_bytes(text))


def test_crc_is_the_one_of_the_manual():
    assert crc16(_bytes("FF FF FD 00 01 03 00 01")) == 0x4E19
    assert crc16(b"123456789") == 0xFEE8  # the check value of CRC-16/UMTS: the same polynomial, start and order


def test_a_header_inside_a_dynamixel_packet_is_stuffed():
    packet = Packet(1, 3, b"\x74\x00\xff\xff\xfd\x00\xff\xff\xfd\xfd")
    sent = DynamixelWire().instruction(packet)
    assert sent.count(b"\xff\xff\xfd\x00") == 1, "the only header is the first"
    assert sent[7:-2] == b"\x03\x74\x00\xff\xff\xfd\xfd\x00\xff\xff\xfd\xfd\xfd"
    assert list(Decoder(DynamixelWire()).instructions(sent)) == [packet]


PACKETS = st.builds(Packet, st.integers(0, 253), st.integers(0, 127).filter(lambda code: code != 0x55), st.binary(max_size=60))


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
@given(packets=st.lists(PACKETS, min_size=1, max_size=4), pieces=st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_packets_survive_any_cutting(wire, packets, pieces):
    stream, decoder, found = b"".join(wire.status(packet) for packet in packets), Decoder(wire), []
    while stream:
        size, pieces = pieces[0], pieces[1:] + pieces[:1]
        found += decoder.statuses(stream[:size])
        stream = stream[size:]
    assert found == packets
    assert decoder.corrupt == 0


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
@given(packet=PACKETS, noise=st.binary(max_size=30))
def test_a_packet_after_noise_is_found(wire, packet, noise):
    decoder = Decoder(wire)
    first, last = wire.status(packet), wire.status(Packet(1, 0, bytes(300 if wire.address_size == 2 else 250)))
    # Noise may pose as the beginning of a packet, which swallows bytes until its check fails; nothing is lost for good.
    found = list(decoder.statuses(noise + first + last + last))
    assert found[-1] == Packet(1, 0, bytes(300 if wire.address_size == 2 else 250))


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
@given(packet=PACKETS, place=st.integers(0, 1000), bit=st.integers(0, 7))
def test_a_damaged_packet_is_never_taken_for_a_good_one(wire, packet, place, bit):
    sent = bytearray(wire.status(packet))
    sent[place % len(sent)] ^= 1 << bit
    assert list(Decoder(wire).statuses(bytes(sent))) == []


def test_registers_write_signs_as_the_makers_do():
    assert feetech.STS["homing_offset"].encode(-5) == _bytes("05 08"), "magnitude with the sign in bit 11"
    assert feetech.STS["homing_offset"].limits == (-2047, 2047)
    assert feetech.STS["present_load"].decode(_bytes("64 04")) == -100
    assert feetech.STS["present_position"].decode(_bytes("01 80")) == -1
    assert dynamixel.X_SERIES["homing_offset"].encode(-5) == _bytes("FB FF FF FF")
    with pytest.raises(ConfigError, match=r"elbow homing_offset: expected -2047 to 2047, got 2048"):
        feetech.STS["homing_offset"].encode(2048, "elbow homing_offset")


@given(st.sampled_from([1, 2, 4]), st.data())
def test_registers_read_back_what_they_write(size, data):
    kind = data.draw(st.sampled_from(["plain", "signed", "magnitude"]))
    sign_bit = data.draw(st.integers(1, 8 * size - 1)) if kind == "magnitude" else None
    entry = Register(0, size, sign_bit=sign_bit, signed=kind == "signed")
    value = data.draw(st.integers(*entry.limits))
    assert entry.decode(entry.encode(value)) == value
