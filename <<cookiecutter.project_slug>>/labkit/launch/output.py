"""What jobs have printed on a host, over all their restarts."""

import secrets
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final

from labkit.launch.host import Host

SECONDS_BETWEEN_LOOKS: Final = 2.0
Piece = tuple[str, int, str]
"""What is new of something that prints: its name, the size of all that it has printed, and the text."""
PRINT: Final = """
cd -- {folder} || exit
print() {{
  printf '\\n%s %s %d\\n' {mark} "$1" "$3"
  tail -c +"$(($2 + 1))" -- "$1" | head -c "$(($3 - $2))"
}}
for file in {files}; do
  if [[ -e $file ]]; then
    size=$(stat -c %s -- "$file")
    if ((size > ${{read[$file]:-0}})); then print "$file" "${{read[$file]:-0}}" "$size"; fi
  fi
done
"""


def print_output(
    host: Host, folder: PurePosixPath, find: Callable[[], tuple[Iterable[str], bool]], *, follow: bool
) -> bool:
    """Print what jobs have printed.

    :param host: Where they are.
    :param folder: The folder of all jobs there.
    :param find: Returns the files, relative to the folder, perhaps with ``*`` in their names; and whether there will be
        no more in them.
    :param follow: Whether to go on until there is no more.
    :return: Whether there was anything.
    """

    def read(already: Mapping[str, int]) -> tuple[list[Piece], bool]:
        files, is_over = find()
        return read_output(host, folder, files, already), is_over

    return print_pieces(read, follow=follow)


def print_pieces(read: Callable[[Mapping[str, int]], tuple[list[Piece], bool]], *, follow: bool) -> bool:
    """Print what several print, each piece below the name of whoever it is of.

    :param read: Takes the sizes of what has been read; returns what is new, and whether there will be no more.
    :param follow: Whether to go on until there is no more.
    :return: Whether there was anything.
    """
    sizes: dict[str, int] = {}
    shown = None
    while True:
        pieces, is_over = read(sizes)
        for name, size, text in pieces:
            if name != shown:
                print(f"==> {name}")
            sizes[name], shown = size, name
            print(text, end="", flush=True)
        if is_over or not follow:
            return bool(sizes)
        time.sleep(SECONDS_BETWEEN_LOOKS)


def read_output(host: Host, folder: PurePosixPath, files: Iterable[str], already: Mapping[str, int]) -> list[Piece]:
    """Read what jobs have printed since the last time.

    :param host: As for :func:`print_output`.
    :param folder: The same.
    :param files: Names of letters, digits and what no shell takes for anything, but for ``*``.
    :param already: How many bytes of each file have been read.
    :return: The names of the files in which there is more, with their present sizes and what is new.
    """
    mark = secrets.token_hex(16)
    read = " ".join(f"[{shlex.quote(file)}]={size}" for file, size in already.items())
    commands = PRINT.format(folder=shlex.quote(str(folder)), files=" ".join(files), mark=mark)
    pieces: list[Piece] = []
    for piece in host.require(f"declare -A read=({read})\n{commands}").split(f"\n{mark} ")[1:]:
        head, _, text = piece.partition("\n")
        file, size = head.split(" ")
        pieces.append((file, int(size), text))
    return pieces
