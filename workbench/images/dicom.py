"""DICOM files through pydicom: the stored window, and grey that runs the right way."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from workbench.core.records import ImageArray
from workbench.errors import DataError, first_line
from workbench.images.reading import DEFAULT, Reading


def decode_dicom(source: Path | bytes, name: str, reading: Reading = DEFAULT) -> ImageArray:
    """The image of a DICOM file, uint8 ``(H, W, 3)``; of several frames, the first.

    Grey values go through the modality's rescaling (slope and intercept), then by default through the file's first
    window (or lookup table); without one, lowest to highest. A named range is one of rescaled values, such as
    Hounsfield units. MONOCHROME1, where the lowest value is white, is inverted.

    Raises
    ------
    DataError
        If pydicom is not installed, or the file is damaged or of a kind that it can't read.
    """
    try:
        import pydicom
        from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
    except ImportError as error:
        raise DataError(f"{name}: DICOM needs pydicom: install classifier-workbench[dicom]") from error
    try:
        found = pydicom.dcmread(io.BytesIO(source) if isinstance(source, bytes) else source)
        frames = found.pixel_array
        kind = str(found.PhotometricInterpretation)
        values = frames[0] if int(found.get("NumberOfFrames", 1) or 1) > 1 else frames
        if not kind.startswith("MONOCHROME"):
            return np.ascontiguousarray(values[..., :3], np.uint8)
        values = apply_modality_lut(values, found)
        windowed = "WindowCenter" in found or "VOILUTSequence" in found
        if reading.range == "depth":
            values = apply_voi_lut(values, found) if windowed else values
            reading = Reading(range="data") if not windowed else _of_window(found, values)
        grey = reading.levels(np.asarray(values, np.float64), name)
    except FileNotFoundError as error:
        raise DataError(f"{name} is missing: restore the image, or remove its entry") from error
    except (
        pydicom.errors.InvalidDicomError,
        AttributeError,
        ValueError,
        NotImplementedError,
        OSError,
        KeyError,
    ) as error:
        raise DataError(f"{name} is not a readable DICOM image ({first_line(error)}): remove it") from error
    return np.repeat((255 - grey if kind == "MONOCHROME1" else grey)[..., None], 3, axis=2)


def _of_window(found: object, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Reading:
    """What `apply_voi_lut` maps a window onto: the range of the stored bits after rescaling, or the values' own."""
    bits, signed = int(getattr(found, "BitsStored", 16)), int(getattr(found, "PixelRepresentation", 0))
    if "VOILUTSequence" in found:  # type: ignore[operator]
        return Reading(range="data")
    slope, intercept = (
        float(getattr(found, f"Rescale{part}", start)) for part, start in (("Slope", 1), ("Intercept", 0))
    )
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return Reading(range=(min(ends[0], float(np.min(values))), max(ends[1], float(np.max(values)))))
