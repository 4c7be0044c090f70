"""A signal asks first and insists second; where it is ignored, it stays ignored, and none is lost."""

import signal
import time
from collections.abc import Iterator

import pytest

from sycophancy_core.runs import interrupts
from sycophancy_core.runs.interrupts import Interrupt, deferred_interrupt, kept_by, signals_stop


@pytest.fixture(autouse=True)
def handlers_stay() -> Iterator[None]:
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    yield
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == before


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_the_first_asks_and_the_second_insists(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Interrupt) as stopped, deferred_interrupt("finishing this") as flag:
        signal.raise_signal(number)
        assert flag.raised
        signal.raise_signal(number)
    assert stopped.value.number == number
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    assert capsys.readouterr().err == f"\n{name}: finishing this (4 s at most); repeat it to stop at once\n"


def test_one_that_nobody_heeds_is_raised_at_the_end() -> None:
    with pytest.raises(Interrupt), deferred_interrupt():
        signal.raise_signal(signal.SIGINT)


def test_a_few_seconds_without_an_end_count_as_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "GRACE_SECONDS", 0.05)
    with pytest.raises(Interrupt), deferred_interrupt():
        signal.raise_signal(signal.SIGTERM)
        time.sleep(60)


def test_work_that_ends_in_time_is_not_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "GRACE_SECONDS", 0.05)
    done = False
    with pytest.raises(Interrupt), deferred_interrupt(insist=False):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.2)
        done = True
    assert done


def test_what_must_not_be_done_by_halves_ends_first() -> None:
    done = []
    with pytest.raises(Interrupt), deferred_interrupt() as flag:
        with flag.hold():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("whole")
        done.append("more")
    assert done == ["whole"]


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_job_in_the_background_that_ignores_it_goes_on(number: signal.Signals) -> None:
    earlier = signal.signal(number, signal.SIG_IGN)
    try:
        with signals_stop(), deferred_interrupt() as flag:
            signal.raise_signal(number)
        assert not flag.raised
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, earlier)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_scheduler_stops_the_work_as_ctrl_c_does(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt, match=f"stopped by {number.name}") as stopped, signals_stop():
        signal.raise_signal(number)
    assert kept_by(stopped.value) is None
