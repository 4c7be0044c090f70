"""Ctrl-C asks first and insists second; where it is ignored, it stays ignored."""

import signal

import pytest

from sycophancy_core.runs.interrupts import deferred_interrupt


def test_the_first_asks_and_the_second_insists() -> None:
    with pytest.raises(KeyboardInterrupt), deferred_interrupt() as flag:
        signal.raise_signal(signal.SIGINT)
        assert flag.raised
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_job_in_the_background_that_ignores_it_goes_on() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred_interrupt() as flag:
            signal.raise_signal(signal.SIGINT)
        assert not flag.raised
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
