"""What jobs have printed on a host, over all their restarts."""

import secrets
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final

from labkit.launch.host import Host

SECONDS_BETWEEN_LOOKS: Final = 2.0
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
    sizes: dict[str, int] = {}
    shown = None
    while True:
        files, is_over = find()
        for file, size, text in read_output(host, folder, files, sizes):
            if file != shown:
                print(f"==> {file}")
            sizes[file], shown = size, file
            print(text, end="", flush=True)
        if is_over or not follow:
            return bool(sizes)
        time.sleep(SECONDS_BETWEEN_LOOKS)


def read_output(
    host: Host, folder: PurePosixPath, files: Iterable[str], already: Mapping[str, int]
) -> list[tuple[str, int, str]]:
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
    pieces: list[tuple[str, int, str]] = []
    for piece in host.require(f"declare -A read=({read})\n{commands}").split(f"\n{mark} ")[1:]:
        head, _, text = piece.partition("\n")
        file, size = head.split(" ")
        pieces.append((file, int(size), text))
    return pieces
