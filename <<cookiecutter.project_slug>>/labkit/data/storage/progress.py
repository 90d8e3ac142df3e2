"""A bar on the terminal, with the amount, the rate and the time that is left."""

import contextlib
import sys
from collections.abc import Callable, Generator

Advance = Callable[[int], None]
"""Called with the number of bytes that were moved since the last call; from any thread."""


def ignore_advance(_count: int) -> None:
    """Show nothing."""


@contextlib.contextmanager
def show_progress(description: str, total: int) -> Generator[Advance]:
    """Show a bar while data moves, if standard error is a terminal; a log file gets nothing.

    :param description: What moves.
    :param total: The number of bytes.
    :return: The function to call as they arrive.
    """
    if not sys.stderr.isatty():
        yield ignore_advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total)
        yield lambda count: progress.advance(task, count)
