"""Localize what a file names, again and again, and check every byte: `localizing_process.py TARGET EPHEMERAL`.

Each file carries its own hash, its name and the round it belongs to. A line is printed for each round that was right.
"""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

from labkit.data.storage import ChangedError, Storage
from labkit.environment import Environment


def make_content(name: str, round_number: int, filling: bytes) -> bytes:
    """Make a file that tells whose it is and whether it is whole."""
    body = json.dumps({"name": name, "round": round_number}).encode() + b"\n" + filling
    return body + hashlib.sha256(body).digest()


def read_round(path: Path, expected_name: str) -> int:
    """Return the round of a file that is whole and has the right name."""
    content = path.read_bytes()
    body, digest = content[:-32], content[-32:]
    assert hashlib.sha256(body).digest() == digest, f"{path} is wrong"
    header = json.loads(body[: body.index(b"\n")])
    assert header["name"] == expected_name, f"{path} is foreign"
    return header["round"]


def main() -> None:
    """Localize until killed."""
    target, ephemeral = map(Path, sys.argv[1:])
    environment = dataclasses.replace(Environment.read(), data_ephemeral_path=ephemeral)
    done = -1
    while True:
        named = json.loads(target.read_text())
        if named["round"] == done:
            continue
        with Storage(environment) as storage:
            try:
                path = storage.localize(named["object"])
            except ChangedError:
                continue
            # The object of the next round may be there before the file names it.
            assert read_round(path, "object") >= named["round"], f"{path} is stale"
            folder = storage.localize(named["directory"])
            assert {path.name for path in folder.iterdir()} == set(named["names"]), f"{folder} is incomplete"
            for name in named["names"]:
                assert read_round(folder / name, name) == named["round"], f"{folder / name} is foreign"
        done = named["round"]
        print(done, flush=True)


if __name__ == "__main__":
    main()
