"""Work that is done again and again in a thread of its own, whatever fails."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from labkit.tracking.contact import describe
from labkit.tracking.lane import LARGEST_BATCH

SECONDS_BETWEEN_BATCHES: Final = 1.0
SHARE_OF_TIME: Final = 0.2
"""What carrying takes of the time at most, unless it is to hurry: the training may need the same cores as the store."""
SECONDS_BETWEEN_TRIES: Final = (0.5, 1.0, 2.0, 5.0, 10.0)


class Carrier:
    """Carries what there is to carry, and knows how it is getting on.

    :ivar name: What it carries.
    :ivar error: Why the last try failed, if it did.
    :ivar gate: While this is not set, it stands still.
    """

    def __init__(self, name: str, advance: Callable[[], int], *, seconds_for_a_try: float) -> None:
        """Prepare to carry.

        :param name: What is carried.
        :param advance: Carries some of it and returns how much, or raises.
        :param seconds_for_a_try: How long one try may take before there is no use in waiting for it.
        """
        self.name = name
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._advance = advance
        self._seconds_for_a_try = seconds_for_a_try
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._wake = threading.Event()
        self._is_abandoned = self._hurries = False
        self._trying_since: float | None = None
        self._failing_since: float | None = None
        self._failed_at = self._empty_at = 0.0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def hurry(self) -> None:
        """Try now, rather than when it is time, and from now on without rests."""
        self._hurries = True
        self._wake.set()

    def abandon(self) -> None:
        """End; a try that hangs is left alone."""
        self._is_abandoned = True
        self.gate.set()
        self._wake.set()
        self._thread.join(timeout=1)

    def is_done_since(self, moment: float) -> bool:
        """Tell whether a look after a moment, on the monotonic clock, found nothing left to carry."""
        return self._empty_at > moment

    def is_hopeless_since(self, moment: float, patience: float) -> bool:
        """Tell whether there is no use in waiting.

        :param moment: When the run ended, on the monotonic clock.
        :param patience: How long tries may fail, in seconds.
        :return: Whether tries have failed for so long, also after that moment, or one of them hangs.
        """
        now = time.monotonic()
        trying_since, failing_since = self._trying_since, self._failing_since
        if trying_since is not None and now - max(trying_since, moment) > self._seconds_for_a_try:
            return True
        return failing_since is not None and self._failed_at > moment and now - failing_since >= patience

    def _run(self) -> None:
        failures = 0
        while self.gate.wait() and not self._is_abandoned:
            began = self._trying_since = time.monotonic()
            try:
                amount = self._advance()
            except Exception as error:
                wait = SECONDS_BETWEEN_TRIES[min(failures, len(SECONDS_BETWEEN_TRIES) - 1)]
                failures += 1
                self._note_failure(error, began)
            else:
                wait = choose_wait(amount, 0.0 if self._hurries else time.monotonic() - began)
                failures = 0
                self._note_success(amount, began)
            self._trying_since = None
            if self._wake.wait(wait):
                self._wake.clear()

    def _note_failure(self, error: Exception, began: float) -> None:
        if self.error is None:
            report(f"{self.name}: {describe(error)}")
            self._failing_since = began
        self.error = error
        self._failed_at = began

    def _note_success(self, amount: int, began: float) -> None:
        if self.error is not None:
            report(f"{self.name}: goes on")
        self.error = self._failing_since = None
        if not amount:
            self._empty_at = began


def choose_wait(amount: int, seconds: float) -> float:
    """Choose how long to wait until the next look; pure.

    :param amount: How much the last one has carried.
    :param seconds: How long that took; 0 where there is no time for rests.
    :return: Seconds.
    """
    rest = seconds * (1 / SHARE_OF_TIME - 1)
    return rest if amount >= LARGEST_BATCH else max(rest, SECONDS_BETWEEN_BATCHES)


def report(message: str) -> None:
    """Write a line to the sender's log."""
    print(time.strftime("%Y-%m-%d %H:%M:%S"), message, file=sys.stderr, flush=True)
