"""An image brought to a model's size."""

from __future__ import annotations

import numpy as np
from PIL import Image

from workbench.core.records import ImageArray

Size = tuple[int, int]


def crop(image: ImageArray, side: int | Size, share: float) -> ImageArray:
    """The centre crop of an image, uint8 ``(*side, 3)``, after it is resized to cover ``side / share``.

    Bilinear with antialiasing, as in Pillow and torchvision's evaluation transforms; an image that already has the
    model's size stays as it is.
    """
    height, width = (side, side) if isinstance(side, int) else side
    have = image.shape[:2]
    if have == (height, width):
        return image
    wanted = round(height / share), round(width / share)
    factor = max(wanted[0] / have[0], wanted[1] / have[1])
    rows, columns = max(wanted[0], round(have[0] * factor)), max(wanted[1], round(have[1] * factor))
    whole = Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR)
    top, left = (rows - height) // 2, (columns - width) // 2
    return np.array(whole.crop((left, top, left + width, top + height)), np.uint8)


def grey_crop(image: ImageArray, side: Size, share: float) -> ImageArray:
    """`crop`, in grey (ITU-R BT.601, as Pillow's), three equal channels."""
    grey = Image.fromarray(crop(image, side, share)).convert("L")
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)
