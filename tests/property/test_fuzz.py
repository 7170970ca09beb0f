"""Damaged input of every kind: each is a clear error or a right result, never a crash or a wrong answer."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.factories import predictions
from training import checkpoint
from training.model import ResNet18LN
from workbench import store
from workbench.analysis.index import select
from workbench.core.records import Query
from workbench.errors import CheckpointError, DataError, WorkbenchError
from workbench.explorer.selection import check_selection
from workbench.explorer.state import ExplorerState
from workbench.images import from_table
from workbench.images.decode import decode
from workbench.models.weights import load_weights
from workbench.runs.run import Run
from workbench.runs.training import load_classifier

IMAGES, CHECKPOINTS = 2000, 500


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """The bytes with some of them changed, cut off, repeated or put elsewhere."""
    data = bytearray(content)
    for _ in range(int(generator.integers(1, 6))):
        kind, at = int(generator.integers(5)), int(generator.integers(len(data) or 1))
        if kind == 0 and data:
            data[at] = int(generator.integers(256))
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = data[at : at + int(generator.integers(1, 64))]
        elif kind == 3 and data:
            data[at : at + 4] = generator.bytes(4)
        else:
            length = int(generator.integers(1, 40))
            del data[at : at + length]
    return bytes(data)


def test_mutated_images(capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (24, 31, 3)).astype(np.uint8)
    picture, seeds = Image.fromarray(pixels), {}
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind, options in {
        "PNG": {}, "JPEG": {"exif": exif}, "WEBP": {"exif": exif}, "TIFF": {}, "BMP": {}, "GIF": {}
    }.items():  # fmt: skip
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        seeds[kind] = stream.getvalue()
    for kind, mode in (("TIFF", "CMYK"), ("PNG", "RGBA"), ("PNG", "I;16"), ("PNG", "P"), ("TIFF", "F")):
        stream = io.BytesIO()
        (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)).save(
            stream, kind
        )
        seeds[f"{kind} {mode}"] = stream.getvalue()
    counts: Counter[str] = Counter()
    for number in range(IMAGES):
        name = list(seeds)[number % len(seeds)]
        try:
            found = decode(mutated(seeds[name], generator), name)
        except DataError as error:
            assert str(error).startswith(name)
            counts["refused"] += 1
            continue
        assert found.dtype == np.uint8
        assert found.ndim == 3
        assert found.shape[2] == 3
        counts["read"] += 1
    assert counts.total() == IMAGES
    assert min(counts.values()) > IMAGES // 20
    with capsys.disabled():
        print(f"\n{IMAGES} mutated images of {len(seeds)} kinds: {counts['refused']} refused, {counts['read']} read")


def test_mutated_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sidecars, weights, and weights whose hash was made to fit; state dictionaries as safetensors and as pickles."""
    generator = np.random.default_rng(1)
    torch.manual_seed(0)
    model = ResNet18LN(3, 8).eval()
    card = {
        "architecture": "resnet18_ln",
        "width": 8,
        "classes": ["a", "b", "c"],
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "image_size": 32,
        "cam_layers": [{"layer": "stage4", "grid": [4, 4]}],
    }
    checkpoint.save(tmp_path, model.state_dict(), card)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    weights, sidecar, pickled = (
        (tmp_path / name).read_bytes() for name in (checkpoint.WEIGHTS, checkpoint.SIDECAR, "w.pt")
    )
    counts: Counter[str] = Counter()
    for number in range(CHECKPOINTS):
        kind = ("sidecar", "weights", "fitting weights", "pickle")[number % 4]
        content = mutated({"sidecar": sidecar, "pickle": pickled}.get(kind, weights), generator)
        (tmp_path / checkpoint.WEIGHTS).write_bytes(content if kind.endswith("weights") else weights)
        said = sidecar
        if kind == "fitting weights":
            said = json.dumps({**json.loads(sidecar), "weights_sha256": hashlib.sha256(content).hexdigest()}).encode()
        (tmp_path / checkpoint.SIDECAR).write_bytes(content if kind == "sidecar" else said)
        try:
            if kind == "pickle":
                (tmp_path / "w.pt").write_bytes(content)
                load_weights(ResNet18LN(3, 8), tmp_path / "w.pt")
            else:
                loaded = load_classifier(tmp_path)
                assert len(loaded.classes) == 3
                assert loaded.module is not None  # read now
                assert kind != "weights"  # other bytes have another hash
        except CheckpointError as error:
            assert str(tmp_path) in str(error)
            counts[f"{kind} refused"] += 1
        else:
            counts[f"{kind} loaded"] += 1
    assert counts.total() == CHECKPOINTS
    with capsys.disabled():
        print(f"\n{CHECKPOINTS} mutated checkpoints: {', '.join(f'{n} {k}' for k, n in sorted(counts.items()))}")


cells = st.one_of(st.none(), st.integers(-3, 9), st.floats(), st.text(max_size=6), st.booleans())


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(["label", "index", "predicted", "probability", "probability_0", "probability_1", "logit", "x"]),
        st.lists(cells, min_size=0, max_size=5),
        max_size=6,
    ),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=5),
)
@example({"label": [0], "predicted": [0]}, [])  # predicted classes alone
def test_tables_of_anything(columns: dict[str, list[object]], shares: list[tuple[float, float]]) -> None:
    rows = min((len(values) for values in columns.values()), default=0)
    frame = {name: pl.Series(name, values[:rows], strict=False) for name, values in columns.items()}
    if shares and len(shares) >= rows:
        frame["probability"] = pl.Series(
            "probability", [list(pair) for pair in shares[:rows]], dtype=pl.List(pl.Float64)
        )
    try:
        found = store.from_frame(pl.DataFrame(frame))
    except DataError as error:
        assert str(error)
        return
    for numbers in (found.label, found.predicted):
        assert ((numbers >= 0) & (numbers < len(found.classes))).all()
    if found.has_probabilities:
        assert np.isfinite(found.probability).all()
        np.testing.assert_allclose(found.probability.sum(1), 1, atol=2e-3)


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([".csv", ".parquet", ".npz"]))
def test_files_of_anything(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str) -> None:
    path = tmp_path_factory.mktemp("any") / f"x{suffix}"
    path.write_bytes(content)
    for read in (store.read, from_table) if suffix != ".npz" else (store.read,):
        with pytest.raises(DataError):
            read(path)


@settings(max_examples=150)
@given(
    st.recursive(
        cells, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    )
)
def test_sidecars_of_anything(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    folder = tmp_path_factory.mktemp("sidecar")
    for name in ("architecture", "classes", "mean", "image_size", None):
        card: object = {
            "architecture": "resnet18-ln", "width": 8, "classes": ["a", "b"], "mean": [0.5] * 3, "std": [0.2] * 3,
            "image_size": 32, "weights_sha256": "0" * 64,
        }  # fmt: skip
        card = value if name is None else {**card, name: value}  # type: ignore[dict-item]
        (folder / checkpoint.SIDECAR).write_text(json.dumps(card))
        with pytest.raises(CheckpointError):
            load_classifier(folder)


P = predictions(60)


@settings(max_examples=300)
@given(
    st.text(max_size=40)
    | st.sampled_from(["confidence > ", "1=1; DROP TABLE x", "nope = 1", "loss > 'a'", "'", "true_class = 'class 1'"]),
    st.text(max_size=8) | st.sampled_from(["loss", "index", "probability"]),
)
def test_queries_of_anything(where: str, order: str) -> None:
    try:
        found = select(P, Query(where=where, order=order))
    except DataError as error:
        assert str(error)
        return
    assert set(found["index"]) <= set(P.index.tolist())


steps = st.fixed_dictionaries(
    {"kind": st.sampled_from(["cells", "range", "any", "inside", "tags", "magic"])},
    optional={
        "cells": st.lists(st.lists(st.integers(-2, 5), min_size=2, max_size=2), max_size=3),
        "column": st.sampled_from(["loss", "confidence", "nope", "label"]),
        "low": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "high": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "values": st.lists(st.text(max_size=4), max_size=3),
        "words": st.lists(st.text(max_size=4), max_size=3),
    },
)


@settings(max_examples=300)
@given(st.lists(steps, max_size=3))
def test_selections_of_anything(chosen: list[dict[str, object]]) -> None:
    state = ExplorerState(Run("bare", P))
    try:
        state.change(steps=chosen)
        rows = state.rows
    except WorkbenchError as error:
        assert str(error)
        return
    assert set(rows) <= set(P.index.tolist())
    assert check_selection(state.selection, 4) == state.selection
    for step in chosen:
        if step["kind"] == "range" and step.get("low") is not None:
            values = state.frame[str(step["column"])]
            assert all(value >= step["low"] or math.isclose(value, step["low"], rel_tol=1e-6) for value in values)  # type: ignore[arg-type, operator]
