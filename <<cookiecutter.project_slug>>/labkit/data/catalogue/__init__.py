"""Known data sets by name: downloaded, verified, and converted to one archive with a table of labels.

A data set of one's own takes ten lines in the study, and is fetched with ``data-fetch study.data:BIRDS``::

    def convert(files: Mapping[str, Path], folder: Path) -> None:
        with np.load(files["birds.npz"]) as arrays:
            images, labels = arrays["images"], arrays["labels"]
        write_images((Example("train", *pair) for pair in zip(images, labels.tolist())), ("owl", "wren"), folder)


    BIRDS = Dataset(
        name="birds",
        mirrors=("https://example.org/birds/",),
        files=(DataFile("birds.npz", Checksum("sha256", "…")),),
        convert=convert,
    )
"""

from labkit.data.catalogue.dataset import Convert, DataFile, Dataset, fetch
from labkit.data.catalogue.known import CATALOGUE
from labkit.data.catalogue.table import Example, read_images, write_images, write_table
from labkit.data.storage.checksum import Checksum

__all__ = [
    "CATALOGUE",
    "Checksum",
    "Convert",
    "DataFile",
    "Dataset",
    "Example",
    "fetch",
    "read_images",
    "write_images",
    "write_table",
]
