"""A signal is a wish inside a loop and a blow outside of it."""

import os
import signal

import pytest

from robot_learning.core.types import Outcome
from robot_learning.learning.interrupt import Gently, Interrupt


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_inside_a_loop_the_first_signal_is_a_wish_and_the_second_a_blow():
    with Interrupt(quiet=True) as interrupt:
        press()
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            press()


def test_while_the_robot_drives_to_its_start_the_first_signal_is_a_blow():
    with Interrupt(quiet=True, gently=False) as interrupt, pytest.raises(KeyboardInterrupt):
        press()
    assert not interrupt.requested


def test_the_observer_makes_it_gentle_from_the_start_to_the_end_of_an_episode():
    with Interrupt(quiet=True, gently=False) as interrupt:
        watcher = Gently(interrupt)
        watcher.on_reset({}, goal=None, seed=None)
        press()
        assert interrupt.requested
        watcher.on_end(Outcome())
        with pytest.raises(KeyboardInterrupt):
            press()


def test_signals_are_given_back():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
