import os
import signal
import time

import pytest

from labkit.tracking.interruption import SECONDS_OF_ONE_REQUEST, Interruption, SignalWatch
from labkit.tracking.state import State

MEANINGS = [
    (signal.SIGINT, State.KILLED),
    (signal.SIGTERM, State.INTERRUPTED),
    (signal.SIGUSR1, State.INTERRUPTED),
]


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "state"), MEANINGS)
def test_a_signal_stops_at_once(number: signal.Signals, state: State) -> None:
    with SignalWatch().installed(), pytest.raises(Interruption) as stop:
        send(number)
    assert stop.value.state is state


@pytest.mark.parametrize(("number", "state"), MEANINGS)
def test_while_training_can_do_better_a_signal_only_asks(number: signal.Signals, state: State) -> None:
    watch = SignalWatch()
    with watch.installed():
        watch.defer()
        assert watch.requested is None
        send(number)
        assert watch.requested is state


def test_a_second_signal_stops_at_once_and_says_how() -> None:
    watch = SignalWatch()
    with watch.installed():
        watch.defer()
        send(signal.SIGTERM)
        with pytest.raises(Interruption) as stop:
            send(signal.SIGINT)
    assert stop.value.state is State.KILLED


def test_what_a_scheduler_says_twice_in_a_moment_is_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = SignalWatch()
    with watch.installed():
        watch.defer()
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        send(signal.SIGUSR1)
        assert watch.requested is State.INTERRUPTED
        later = time.monotonic() + SECONDS_OF_ONE_REQUEST
        monkeypatch.setattr(time, "monotonic", lambda: later)
        with pytest.raises(Interruption):
            send(signal.SIGTERM)


def test_what_was_asked_for_happens_when_training_is_over() -> None:
    watch = SignalWatch()
    with watch.installed():
        watch.defer()
        send(signal.SIGUSR1)
        with pytest.raises(Interruption) as stop:
            watch.resume()
    assert stop.value.state is State.INTERRUPTED


def test_signals_stop_at_once_again_when_training_is_over() -> None:
    watch = SignalWatch()
    with watch.installed():
        watch.defer()
        watch.resume()
        with pytest.raises(Interruption):
            send(signal.SIGTERM)


def test_afterwards_signals_are_handled_as_before() -> None:
    before = {number: signal.getsignal(number) for number, _ in MEANINGS}
    watch = SignalWatch()
    with watch.installed():
        watch.defer()
    assert {number: signal.getsignal(number) for number, _ in MEANINGS} == before


def test_no_handler_for_errors_of_the_program_catches_an_interruption() -> None:
    assert not issubclass(Interruption, Exception)
