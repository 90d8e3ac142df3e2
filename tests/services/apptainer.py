"""A double of Apptainer, which is in few distributions.

It takes the same command line, and executes it outside of any container: there is Python, and nothing of a project.
"""

from collections.abc import Mapping
from pathlib import Path

from project import ENVIRONMENT

IMAGE = "training.sif"
# A symbolic link would not do: Python looks for its packages beside the name that it was called by.
PYTHON = f'#!/bin/sh\nexec {ENVIRONMENT}/bin/python "$@"\n'
PROGRAM = f"""\
#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$APPTAINER_CALLS"
[[ $1 == exec || $1 == shell ]] || exit 64
verb=$1
shift
while [[ $1 == --* ]]; do
  case $1 in
    --bind) [[ -d $2 ]] || {{ echo "no folder $2" >&2; exit 255; }}; shift 2 ;;
    --pwd) cd "$2" || exit 255; shift 2 ;;
    --nv) shift ;;
    *) exit 64 ;;
  esac
done
[[ $1 == {IMAGE} ]] || exit 255
shift
if [[ $verb == shell ]]; then exec bash; fi
exec "$@"
"""


def install(folder: Path) -> Mapping[str, str]:
    """Put it into a folder.

    :param folder: Receives the programs, and the file that tells how they were called.
    :return: Variables for who calls it.
    """
    programs = folder / "programs"
    programs.mkdir()
    for name, text in {"apptainer": PROGRAM, "python": PYTHON}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return {"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin", "APPTAINER_CALLS": str(folder / "calls")}
