"""Setting up servos one by one, on twins fresh from the factory."""

import numpy as np
import pytest

from robot_learning.core.errors import HardwareError
from robot_learning.hardware.arms.makers import DYNAMIXEL, FEETECH
from robot_learning.hardware.arms.setup import give_id, set_up
from robot_learning.hardware.buses import dynamixel, feetech
from robot_learning.hardware.twin.bank import ServoBank
from robot_learning.hardware.twin.body import Motion
from robot_learning.hardware.twin.direct import DirectPort
from robot_learning.hardware.twin.dynamixel import DynamixelServo
from robot_learning.hardware.twin.feetech import FeetechServo
from robot_learning.hardware.twin.hand import Hand
from robot_learning.hardware.twin.line import Line

KINDS = {"feetech": (FEETECH, feetech.BAUD_RATES, FeetechServo), "dynamixel": (DYNAMIXEL, dynamixel.BAUD_RATES, DynamixelServo)}


class Loose:
    """Servos that drive nothing."""

    def __init__(self, count):
        self.joints, self.hand = tuple(map(str, range(count))), Hand((), np.zeros((0, 2)))

    def advance(self, seconds, drives):
        still = np.zeros(len(self.joints))
        return Motion(still, still, still)


def loose(maker, *servos):
    return Line(ServoBank(maker.wire, servos, Loose(len(servos))))


class Person:
    """Plugs in one servo after the other."""

    def __init__(self, maker, servos):
        self.maker, self.servos, self.asked, self.line = maker, list(servos), [], None

    def wait(self, text):
        self.asked.append(text)
        self.line = loose(self.maker, self.servos[len(self.asked) - 1])

    def watch(self, text, poll):
        raise AssertionError


@pytest.mark.parametrize("kind", KINDS)
def test_each_servo_gets_its_id_and_the_usual_rate_for_good(kind):
    maker, rates, make = KINDS[kind]
    slow = rates.index(115_200)
    servos = [make(1), make(1, settings={"baud_rate": slow}), make(200)]
    person = Person(maker, servos)
    set_up(lambda rate: DirectPort(person.line, baud=rate), maker, rates, {"a": 1, "b": 2, "c": 3}, person)
    for servo in servos:
        servo.power_cycle()
    assert [servo.id for servo in servos] == [1, 2, 3]
    assert {servo.baud for servo in servos} == {maker.baud}
    assert len(person.asked) == 3
    assert "servo of b and no other one" in person.asked[1]


@pytest.mark.parametrize("kind", KINDS)
def test_no_servo_or_several_are_told(kind):
    maker, rates, make = KINDS[kind]
    with pytest.raises(HardwareError, match="got none; check its power"):
        give_id(lambda rate: DirectPort(loose(maker), baud=rate), maker, rates, 1)
    line = loose(maker, make(3), make(5))
    with pytest.raises(HardwareError, match=r"id 3 at \d+ bit/s, id 5 at \d+ bit/s; .*unplug the others"):
        give_id(lambda rate: DirectPort(line, baud=rate), maker, rates, 1)
