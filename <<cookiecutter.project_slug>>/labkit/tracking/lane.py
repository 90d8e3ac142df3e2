"""One kind of record's way from a run's spool to where it belongs, with its own place in the spool."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from labkit.tracking.spool import FILE_NAME, read_records

LARGEST_BATCH: Final = 1000
"""Metrics that MLflow takes at once."""

Record = dict[str, Any]


class Lane:
    """One way from the spool, which neither waits for the other ones nor holds them up.

    What was sent is noted after it was sent: a sender that is killed in between sends it once more, and so whatever
    receives it has to take the same thing twice as once.

    :ivar name: What goes this way.
    :ivar sent: How much has gone this way since the lane was made.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        weigh: Callable[[Record], int],
        send: Callable[[list[Record]], int],
        *,
        largest_batch: float = LARGEST_BATCH,
        is_durable: bool = True,
    ) -> None:
        """Prepare a lane.

        :param folder: The run's folder.
        :param name: The lane's name, part of the name of the file that holds its place.
        :param weigh: Says how many entries of this lane a record holds; 0 for a record of other lanes.
        :param send: Sends records and returns how much that was, or raises.
        :param largest_batch: How many entries are sent at once.
        :param is_durable: Whether another sender goes on where this one ended, or begins anew.
        """
        self.name = name
        self.sent = 0
        self._spool = folder / FILE_NAME
        self._place = folder / f"spool.{name}" if is_durable else None
        self._weigh = weigh
        self._send = send
        self._largest_batch = largest_batch
        self._offset = self._read_place()

    def advance(self) -> int:
        """Send what is new: at most one batch of it, or one record that is larger.

        :return: How many entries the batch held.
        """
        batch, size, end = self._read_batch()
        if batch:
            self.sent += self._send(batch)
        if end != self._offset:
            self._write_place(end)
        return size

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._read_batch()[0]

    def _read_batch(self) -> tuple[list[Record], int, int]:
        batch: list[Record] = []
        size, end = 0, self._offset
        if not self._spool.exists() or self._spool.stat().st_size == end:
            return batch, size, end
        for position, record in read_records(self._spool, end):
            weight = self._weigh(record)
            if batch and weight and size + weight > self._largest_batch:
                break
            end = position
            if weight:
                size += weight
                batch.append(record)
        if self._place and end != self._offset:
            # What the store has and this disk forgets, as when the power fails, would be recorded a second time.
            with self._spool.open("rb") as file:
                os.fsync(file.fileno())
        return batch, size, end

    def _read_place(self) -> int:
        try:
            return int(self._place.read_text()) if self._place else 0
        except (FileNotFoundError, ValueError):  # a machine that lost its power may leave the file empty
            return 0

    def _write_place(self, end: int) -> None:
        if self._place:
            temporary = self._place.with_name(f"{self._place.name}.part")
            temporary.write_text(str(end))
            temporary.replace(self._place)
        self._offset = end
