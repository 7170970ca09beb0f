from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workbench.errors import DataError
from workbench.images import decode as decoding
from workbench.images.decode import decode
from workbench.images.reading import Reading

RGB = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM", "JPEG2000"])
def test_lossless_kinds_are_the_pixels(kind: str) -> None:
    assert (decode(encoded(Image.fromarray(RGB), kind)) == RGB).all()


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"quality": 95})])
def test_lossy_kinds_are_near(kind: str, options: dict[str, object]) -> None:
    smooth = np.asarray(Image.fromarray(RGB).resize((8, 6)).resize((60, 40), Image.Resampling.BICUBIC))
    found = decode(encoded(Image.fromarray(smooth), kind, **options))
    assert np.abs(found.astype(int) - smooth).mean() < 6


def test_grey_16_bit_alpha_palette_and_cmyk() -> None:
    grey = RGB[..., 0]
    assert (decode(encoded(Image.fromarray(grey), "PNG")) == grey[..., None]).all()
    deep = (np.arange(40 * 60).reshape(40, 60) * 27).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        assert (decode(encoded(Image.fromarray(deep), kind))[..., 0] == np.rint(deep / 257)).all()
    assert (
        decode(encoded(Image.fromarray(np.linspace(0, 1, 2400, dtype=np.float32).reshape(40, 60)), "TIFF")).max() == 255
    )
    alpha = np.dstack([RGB, np.zeros((40, 60), np.uint8)])
    assert (decode(encoded(Image.fromarray(alpha), "PNG")) == RGB).all()  # dropped, as training code does
    few = Image.fromarray(RGB).quantize(16)
    assert (decode(encoded(few, "PNG")) == np.asarray(few.convert("RGB"))).all()
    assert (decode(encoded(few, "GIF")) == np.asarray(few.convert("RGB"))).all()
    cmyk = decode(encoded(Image.fromarray(RGB).convert("CMYK"), "TIFF"))
    assert np.abs(cmyk.astype(int) - RGB).max() <= 1
    one_bit = Image.fromarray(RGB[..., 0] > 127)
    assert set(np.unique(decode(encoded(one_bit, "PNG")))) == {0, 255}


def test_no_other_reader_is_started_whatever_a_file_is_called(tmp_path: Path) -> None:
    eps = encoded(Image.fromarray(RGB), "EPS")
    (tmp_path / "a.png").write_bytes(eps)
    with pytest.raises(DataError, match=r"a\.png"):
        decode(tmp_path / "a.png")


def test_exif_turns_the_image_where_that_is_wanted() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    content = encoded(Image.fromarray(RGB), "PNG", exif=exif)
    assert (decode(content, reading=Reading(orient=True)) == np.rot90(RGB, -1)).all()
    assert (decode(content) == RGB).all()  # as stored, as in torchvision's ImageFolder


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a readable image"),
        (b"GIF89a", "not a readable image"),
        (encoded(Image.fromarray(RGB), "PNG")[:200], "not a readable image"),
        (encoded(Image.fromarray(RGB), "JPEG")[:300], "not a readable image"),
        (b"%PDF-1.4 nothing", "not a readable image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable image"),
    ],
)
def test_damaged_files_are_named(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=f"bad.png.*{words}"):
        decode(tmp_path / "bad.png")


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    small = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(small) < 100_000
    with pytest.raises(DataError, match="bomb.png has more than 178,956,970 pixels"):
        decode(small, "bomb.png")


def test_deep_pixels_take_little_more_memory_than_they_are(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 4096, (900, 900, 1), np.uint16)
    reading = Reading(range=(100, 3000))
    tracemalloc.start()
    found = decoding.as_rgb(deep, "x", reading)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * deep.size + 2**21
    wanted = np.rint(255 * np.clip((deep.astype(float) - 100) / 2900, 0, 1)).astype(np.uint8)
    assert (found == wanted).all()
    assert (decoding.as_rgb(deep.astype(np.int32), "x", reading) == wanted).all()
    assert (decoding.as_rgb(deep / 4095, "x") == np.rint(255 * (deep / 4095)).astype(np.uint8)).all()


def test_too_little_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decoding, "rgb_of", full)
    with pytest.raises(DataError, match="takes more memory than is free"):
        decode(encoded(Image.fromarray(RGB), "PNG"))


def test_a_huge_image_is_read() -> None:
    assert decode(encoded(Image.new("L", (9000, 5000), 77), "PNG")).shape == (5000, 9000, 3)


def test_the_limit_is_the_one_that_is_documented() -> None:
    assert f"{decoding.MOST_PIXELS:,}" in (decode.__doc__ or "")
    assert 2 * (Image.MAX_IMAGE_PIXELS or 0) == decoding.MOST_PIXELS
