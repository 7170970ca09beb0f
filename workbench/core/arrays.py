"""Arrays in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError


def read_matrix(path: Path) -> NDArray[np.generic]:
    """The array in a ``.npy`` file, never unpickled.

    Raises
    ------
    DataError
        If the file is missing, damaged, holds objects or is not a matrix.
    """
    try:
        found: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is missing or no NumPy matrix ({error})") from error
    return found
