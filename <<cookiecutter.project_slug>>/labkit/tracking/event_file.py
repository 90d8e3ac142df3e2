"""Metrics in TensorBoard's format."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

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
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        begin = file.tell()
        try:
            _write(file, rows, is_new=begin == 0)
            file.flush()
        except BaseException:
            file.truncate(begin)  # after half a record, as where the disk is full, TensorBoard reads no further
            raise


def _write(file: BinaryIO, rows: Iterable[tuple[Mapping[str, float], int, int]], *, is_new: bool) -> None:
    writer = RecordWriter(file)
    if is_new:
        writer.write(Event(wall_time=0.0, file_version=VERSION).SerializeToString())
    for metrics, step, time in rows:
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()])
        writer.write(Event(wall_time=time / 1000, step=step, summary=summary).SerializeToString())
