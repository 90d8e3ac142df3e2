"""Archives, footprints, statistics and downloads beside what others use for them; `make benchmark NAME=data`.

Ours and the peers take turns, so that what else the machine does weighs on all; the best time of each counts. Ratios
stand beside their targets. All local files are in the page cache: what is compared is the work, not the disk. For
downloads a Ceph gateway is started, as root, if S3_ENDPOINT_URL names no server.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.data.archive import measure_archives
from benchmarks.data.footprint import measure_footprints
from benchmarks.data.image_statistics import measure_images
from benchmarks.data.measurement import Report
from benchmarks.data.peer import install_peers
from benchmarks.data.storage import measure_downloads

PARTS = ("archive", "footprint", "statistics", "storage")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make benchmark NAME=data", description=__doc__)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="measure only these")
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often ours and peers take turns, more where it is quick"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="a part of the full size, for a first look: 0.1")
    parser.add_argument("--without-peers", action="store_true", help="leave out those that have to be installed")
    options = parser.parse_args()
    report = Report(options.rounds)
    peers = None if options.without_peers else install_peers()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "archive" in options.only:
            measure_archives(report, peers, folder, options.scale)
        if "footprint" in options.only:
            measure_footprints(report, folder, options.scale)
        if "statistics" in options.only:
            measure_images(report, options.scale)
        if "storage" in options.only:
            measure_downloads(report, peers, folder, options.scale)
    report.close()


if __name__ == "__main__":
    main()
