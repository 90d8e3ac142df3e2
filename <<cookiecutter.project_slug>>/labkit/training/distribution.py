"""What processes that train together tell each other."""

from typing import TypeVar

from torch import distributed

Item = TypeVar("Item")


def gather(item: Item) -> list[Item]:
    """Collect an item of every process.

    :param item: This process's own.
    :return: All of them, by rank; the same list in every process.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return [item]
    items: list[Item | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(items, item)
    return [item for item in items if item is not None]


def rank() -> int:
    """Return this process's number, 0 where it trains alone."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
