"""Progress on the terminal: how much is done, and how fast."""

import contextlib
from collections.abc import Callable, Generator

Progress = Callable[[int, int], None]
"""Told how many files, and how many bytes, were done since it was last told."""


def show_nothing(files: int, size: int) -> None:
    """Be told of progress, and keep it."""


@contextlib.contextmanager
def show_progress(description: str) -> Generator[Progress]:
    """Show progress on standard error while something is done; nothing where that is no terminal.

    :param description: What is being done.
    :return: A context that gives what to tell of progress.
    """
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}: {task.fields[files]:,} files"),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=None, files=0)
        count = 0

        def tell(files: int, size: int) -> None:
            nonlocal count
            count += files
            bar.update(task, advance=size, files=count)

        yield tell
