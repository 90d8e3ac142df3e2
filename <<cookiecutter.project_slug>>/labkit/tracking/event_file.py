"""Metrics in TensorBoard's format."""

import errno
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.summary.writer.record_writer import RecordWriter

FILE_NAME: Final = "events.out.tfevents.0.labkit"
"""The same for every process that works on a run: TensorBoard would show the points of two files as two curves."""
VERSION: Final = "brain.Event:2"


def append_events(path: Path, rows: Iterable[tuple[Mapping[str, float], int, int]]) -> None:
    """Append metrics to a file that TensorBoard reads.

    :param path: Its path, with a name in which ``tfevents`` occurs.
    :param rows: Metrics by name, their step, and the time in milliseconds since 1970.
    """
    data = io.BytesIO()
    writer = RecordWriter(data)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        writer.write(Event(wall_time=0.0, file_version=VERSION).SerializeToString())
    for metrics, step, time in rows:
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()])
        writer.write(Event(wall_time=time / 1000, step=step, summary=summary).SerializeToString())
    with path.open("ab", buffering=0) as file:
        begin = file.tell()
        if file.write(data.getbuffer()) < data.tell():
            file.truncate(begin)  # TensorBoard reads no further than to half a record
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
