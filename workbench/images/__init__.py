"""Images of any kind, read on demand, and arrays rendered as pictures."""

from workbench.images.arrays import from_arrays
from workbench.images.datasets import from_dataset
from workbench.images.digests import digest_arrays
from workbench.images.folders import from_folder, from_table, of_paths
from workbench.images.load import load_images
from workbench.images.parquet import from_parquet

__all__ = [
    "digest_arrays",
    "from_arrays",
    "from_dataset",
    "from_folder",
    "from_parquet",
    "from_table",
    "load_images",
    "of_paths",
]
