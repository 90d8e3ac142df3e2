"""What the peers do, each function in a fresh process: `python -m benchmarks.data.peer_program FUNCTION ARGUMENTS`.

A function returns the seconds that its work took, without imports. The program runs in the peers' own environment (see
:mod:`benchmarks.data.peer`).
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.data.processes import Read, read_in_processes

Seconds = float


def sfu_open(path: str) -> Seconds:
    from sfu_torch_lib.file_fetcher import get_file_fetcher

    start = time.perf_counter()
    with get_file_fetcher(path).open_member("train/000/00000000.bin"):
        return time.perf_counter() - start


def sfu_read(path: str, reads: int) -> Seconds:
    from sfu_torch_lib.file_fetcher import get_file_fetcher

    fetcher = get_file_fetcher(path)
    keys = random.sample(fetcher.members, reads)
    fetcher.open_member(keys[0])
    start = time.perf_counter()
    for key in keys:
        fetcher.open_member(key).read()
    return (time.perf_counter() - start) / reads


def sfu_workers(path: str, members: int, reads: int) -> Seconds:
    from sfu_torch_lib.file_fetcher import get_file_fetcher

    def make_read() -> Read:
        fetcher = get_file_fetcher(path)
        fetcher.open_member(fetcher.members[0])
        return lambda number: fetcher.open_member(fetcher.members[number]).read()

    return read_in_processes(make_read, members, reads)


def sfu_localize(uri: str, folder: str) -> Seconds:
    os.environ |= {"DATA_PATH": folder, "DATA_EPHEMERAL_PATH": folder}
    from sfu_torch_lib.io import localize_cached

    start = time.perf_counter()
    localize_cached(uri)
    return time.perf_counter() - start


def litdata_pack(path: str, folder: str) -> Seconds:
    import tarfile

    from litdata.streaming.writer import BinaryWriter

    start = time.perf_counter()
    writer = BinaryWriter(folder, chunk_bytes="64MB")
    with tarfile.open(path) as tar:
        for number, member in enumerate(tar):
            writer.add_item(number, _extract(tar, member))
    writer.done()
    writer.merge()
    return time.perf_counter() - start


def _extract(tar: Any, member: Any) -> bytes:
    with tar.extractfile(member) as file:
        return file.read()


def litdata_open(folder: str) -> Seconds:
    from litdata import StreamingDataset

    start = time.perf_counter()
    StreamingDataset(folder)[0]
    return time.perf_counter() - start


def litdata_read(folder: str, reads: int) -> Seconds:
    from litdata import StreamingDataset

    dataset = StreamingDataset(folder)
    numbers = random.sample(range(len(dataset)), reads)
    dataset[0]
    start = time.perf_counter()
    for number in numbers:
        dataset[number]
    return (time.perf_counter() - start) / reads


def webdataset_workers(path: str, members: int, reads: int) -> Seconds:
    """Read in sequence, which is all that webdataset does."""
    import webdataset

    def make_read() -> Read:
        samples = iter(webdataset.WebDataset(path, shardshuffle=False))
        return lambda _number: next(samples)

    return read_in_processes(make_read, members, reads)


def s3fs_get(uri: str, folder: str) -> Seconds:
    import s3fs

    start = time.perf_counter()
    files = s3fs.S3FileSystem(
        key=os.environ["AWS_ACCESS_KEY_ID"],
        secret=os.environ["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=os.environ["S3_ENDPOINT_URL"],
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    files.get(uri, str(Path(folder, "copy")), recursive=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    print(globals()[sys.argv[1]](**json.loads(sys.argv[2])))
