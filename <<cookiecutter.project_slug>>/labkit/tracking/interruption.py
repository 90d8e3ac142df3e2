"""Signals that ask a run to stop: the first one at the next good moment, the second one at once.

Of a scheduler's, all that come within seconds are one.
"""

import contextlib
import signal
import time
from collections.abc import Generator
from types import FrameType
from typing import Final

from labkit.tracking.state import State

STATES: Final = {
    signal.SIGINT: State.KILLED,
    signal.SIGTERM: State.INTERRUPTED,
    signal.SIGUSR1: State.INTERRUPTED,
}
"""The user's Ctrl-C ends a run; a scheduler's signal interrupts it."""
SECONDS_OF_ONE_REQUEST: Final = 5.0
"""A scheduler tells a job's shell and what that has started; where the shell passes it on, it comes twice."""


class Interruption(BaseException):
    """The run stops here; no error of the program, and so no ``Exception``."""

    def __init__(self, state: State) -> None:
        """Stop with a state: interrupted, or killed where the user wanted it so."""
        super().__init__(state)
        self.state = state


class SignalWatch:
    """Turns signals into :class:`Interruption`: at once, or, while training can do better, when it asks.

    :ivar requested: How the run is to stop, once a signal has asked for it.
    """

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.requested: State | None = None
        self._deferring = False
        self._time_of_request = 0.0

    @contextlib.contextmanager
    def installed(self) -> Generator[None]:
        """Handle the signals within this context."""
        before = {number: signal.signal(number, self._handle) for number in STATES}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def defer(self) -> None:
        """From now on only take note of a first signal; whoever calls this then looks at :attr:`requested`."""
        self._deferring = True
        for number in STATES:
            signal.signal(number, self._handle)

    def resume(self) -> None:
        """Stop at once again when a signal comes, or if one came since."""
        self._deferring = False
        if self.requested:
            raise Interruption(self.requested)

    def _handle(self, number: int, _: FrameType | None) -> None:
        state = STATES[signal.Signals(number)]
        since = time.monotonic() - self._time_of_request
        if self.requested is state is State.INTERRUPTED and since < SECONDS_OF_ONE_REQUEST:
            return
        if self.requested or not self._deferring:
            raise Interruption(state)
        self.requested = state
        self._time_of_request = time.monotonic()
