"""Images in batches, with the next batch read ahead."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from workbench.core.records import ImageArray, ImageSet, IntArray
from workbench.errors import DataError

READERS = 4


def batches(images: ImageSet, rows: IntArray, size: int) -> Iterator[tuple[IntArray, ImageArray, dict[int, str]]]:
    """Row ids in batches of ``size``: those that can be read, their images as one array, and why others can't.

    For images on disk, threads read the next batch ahead while the caller works on this one.

    Raises
    ------
    DataError
        If the images are of several sizes, or there is no such row.
    """
    parts = [rows[first : first + size] for first in range(0, len(rows), size)]
    if isinstance(images.pixels, np.ndarray):
        yield from ((part, images.stack(part), {}) for part in parts)
        return

    def one(row: int) -> ImageArray | str:
        try:
            return images.image(row)
        except DataError as error:  # the caller decides what follows
            return str(error)

    images.places(rows)
    with ThreadPoolExecutor(READERS) as pool:

        def begin(number: int) -> list[Future[ImageArray | str]]:
            return [pool.submit(one, int(row)) for row in parts[number]] if number < len(parts) else []

        ahead = begin(0)
        for number, part in enumerate(parts):
            found, ahead = [future.result() for future in ahead], begin(number + 1)
            bad = {int(row): reason for row, reason in zip(part, found, strict=True) if isinstance(reason, str)}
            good = [image for image in found if not isinstance(image, str)]
            if len(sizes := {image.shape[:2] for image in good}) > 1:
                first, second = sorted(sizes)[:2]
                raise DataError(
                    f"images: expected one size, not {first[1]}×{first[0]} and {second[1]}×{second[0]} pixels: "
                    "give the classifier a transform that resizes them"
                )
            yield (
                part[[int(row) not in bad for row in part]],
                np.stack(good) if good else np.zeros((0, 0, 0, 3), np.uint8),
                bad,
            )
