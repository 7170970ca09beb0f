"""What a sample of a set's files says about all of them: bits, EXIF turns; and which files were left aside."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from workbench.images.decode import FORMATS, OPTIONAL, SUFFIXES, UNREADABLE, deep_colour, is_deep_colour
from workbench.images.reading import Reading, depth_of

SAMPLE = 32
_ORIENTATION = 0x0112
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def survey(files: Sequence[Path | bytes], reading: Reading) -> tuple[Reading, list[str]]:
    """The reading with one range for all images of a set, and what was assumed, from 32 evenly spaced files.

    Files are given by their paths or their bytes.

    With ``range="depth"`` the bits that hold the largest value of the sample decide for the whole set, so that its
    images stay comparable; files that can't be read are reported when they are needed.
    """
    places = np.unique(np.linspace(0, len(files) - 1, min(len(files), SAMPLE)).astype(int))
    highest, turned, looked = -1.0, 0, 0
    for place in places:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about odd metadata
                one = files[place]
                with Image.open(io.BytesIO(one) if isinstance(one, bytes) else one, formats=FORMATS) as image:
                    looked += 1
                    turned += image.getexif().get(_ORIENTATION, 1) != 1
                    if reading.range == "depth" and (image.mode in _DEEP or is_deep_colour(image)):
                        values = deep_colour(one) if is_deep_colour(image) else np.asarray(image)
                        highest = max(highest, float(values.max())) if values.min() >= 0 else highest
        except UNREADABLE:
            continue
    notes = []
    if highest >= 0:
        reading, note = of_depth(highest, looked, reading)
        notes += note
    if turned and not reading.orient:
        notes.append(
            f"{turned} of {looked} files looked at have an EXIF turn, which is not applied, as in torchvision and "
            "Keras. Turn them with orient=True (--orient) if the model was trained on turned images."
        )
    return reading, notes


def of_depth(highest: float, looked: int, reading: Reading) -> tuple[Reading, list[str]]:
    """The range of the fewest bits that hold the largest value of a sample, and what a set's notes say of it."""
    bits = depth_of(highest)
    reading = dataclasses.replace(reading, range=(0, 2**bits - 1), sampled=True)
    if bits == 16:
        return reading, []
    return reading, [
        f"The values of 16-bit images end at {highest:.0f} in a sample of {looked}: {bits}-bit data, so 0 to "
        f"{2**bits - 1} is shown from black to white. Another range is set with range= (--range)."
    ]


def left_aside(files: Iterable[Path]) -> list[str]:
    """What a set's notes say of files that are not read, counted by kind; nothing if there are none."""
    kinds = Counter(path.suffix.lower() or "no extension" for path in files)
    if not kinds:
        return []
    named = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    needed = sorted({OPTIONAL[kind] for kind in kinds if kind in OPTIONAL and kind not in SUFFIXES})
    remedy = f" Read more with {' and '.join(needed)} installed." if needed else ""
    return [f"{kinds.total():,} files beside the images are not read: {named}.{remedy}"]
