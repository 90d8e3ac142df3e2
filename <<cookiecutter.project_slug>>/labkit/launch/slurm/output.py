"""What jobs have printed, over all their restarts."""

import secrets
import shlex
from collections.abc import Iterable, Mapping

from labkit.launch.slurm.controller import Site
from labkit.launch.slurm.job import OUTPUT
from labkit.launch.slurm.selection import Choice

PRINT = """
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


def read_output(site: Site, choices: Iterable[Choice], already: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """Read what jobs have printed since the last time.

    :param site: Where their folder is.
    :param choices: The jobs.
    :param already: How many bytes of each file have been read.
    :return: The names of the files in which there is more, with their present sizes and what is new.
    """
    mark = secrets.token_hex(16)
    tasks = {choice: "*" if choice.task is None else str(choice.task) for choice in choices}
    # A name holds only letters, digits and what no shell takes for anything.
    files = " ".join(f"{choice.name}/{OUTPUT}/{task}.txt" for choice, task in tasks.items())
    read = " ".join(f"[{shlex.quote(file)}]={size}" for file, size in already.items())
    script = f"declare -A read=({read})\n" + PRINT.format(folder=site.quoted_folder, files=files, mark=mark)
    pieces: list[tuple[str, int, str]] = []
    for piece in site.host.require(script).split(f"\n{mark} ")[1:]:
        head, _, text = piece.partition("\n")
        file, size = head.split(" ")
        pieces.append((file, int(size), text))
    return pieces
