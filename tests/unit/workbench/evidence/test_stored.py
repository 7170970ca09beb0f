from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tests.factories import classifier, image_set
from workbench.attribution.cache import MapCache
from workbench.attribution.targets import Targets
from workbench.core.records import Attribution
from workbench.errors import DataError
from workbench.evidence import stored
from workbench.evidence.stored import key_of, store_verdicts, stored_effects, stored_verdicts

ROWS = np.arange(8)
TARGETS = Targets(np.zeros(8, np.int64))


def test_effects_are_measured_once_and_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "PART", 3)
    model, images, cache = classifier(), image_set(8), MapCache(tmp_path)
    heard: list[int] = []
    whole = stored_effects(model, images, ROWS, TARGETS, None)
    first = stored_effects(model, images, ROWS[:6], TARGETS.part(slice(6)), cache, progress=heard.append)
    assert (heard, len(first), len(list(tmp_path.glob("*/*.npz")))) == ([3, 6], 6, 2)

    measured: list[int] = []
    measure = stored.cell_effects
    monkeypatch.setattr(stored, "cell_effects", lambda *given, **more: measured.append(1) or measure(*given, **more))
    again = stored_effects(model, images, ROWS, TARGETS, cache)
    assert len(measured) == 1  # the parts that were there were read
    for name, values in whole.differences.items():
        np.testing.assert_allclose(again.differences[name], values, atol=1e-6)
    np.testing.assert_array_equal(again.shown, whole.shown)
    np.testing.assert_allclose(again.whole, whole.whole)


def test_changed_weights_are_measured_anew(tmp_path: Path) -> None:
    model, images, cache = classifier(), image_set(2), MapCache(tmp_path)
    stored_effects(model, images, ROWS[:2], TARGETS.part(slice(2)), cache)
    with torch.no_grad():
        next(model.module.parameters()).add_(0.1)
    stored_effects(model, images, ROWS[:2], TARGETS.part(slice(2)), cache)
    assert len(list(tmp_path.glob("*/*.npz"))) == 2


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    model, images, cache = classifier(), image_set(2), MapCache(tmp_path)
    stored_effects(model, images, ROWS[:2], TARGETS.part(slice(2)), cache)
    (part,) = tmp_path.glob("*/*.npz")
    part.write_bytes(b"half")
    with pytest.raises(DataError, match=r"is damaged .*delete it, and it is regenerated"):
        stored_effects(model, images, ROWS[:2], TARGETS.part(slice(2)), cache)


def verdicts(rows: list[int], verdict: str) -> pl.DataFrame:
    count = len(rows)
    columns = {"index": rows, "target": [1] * count, "against": [None] * count, "method": ["Grad-CAM"] * count}
    columns |= {"layer": ["stage4"] * count, "verdict": [verdict] * count, "reasons": ["as measured"] * count}
    return pl.DataFrame(columns, schema_overrides={"against": pl.Int64})


def test_verdicts_are_found_by_their_maps(tmp_path: Path) -> None:
    model, cache = classifier(), MapCache(tmp_path)
    assert stored_verdicts(cache, model) == {}
    store_verdicts(cache, model, verdicts([3, 4], "against"))
    store_verdicts(cache, model, verdicts([4, 5], "supported"))
    found = stored_verdicts(cache, model)
    maps = Attribution(np.zeros((1, 2, 2), np.float32), np.array([4]), np.array([1]), "Grad-CAM", "stage4")
    assert found[key_of(maps, 0)] == ("supported", "as measured")
    assert [key[0] for key in sorted(found, key=lambda key: key[0])] == [3, 4, 5]
    with torch.no_grad():
        next(model.module.parameters()).add_(0.1)
    assert stored_verdicts(cache, model) == {}  # of other weights


def test_a_damaged_file_of_verdicts_is_named(tmp_path: Path) -> None:
    (tmp_path / stored.VERDICTS_FILE).write_bytes(b"half")
    with pytest.raises(DataError, match="run evidence again"):
        stored_verdicts(MapCache(tmp_path), classifier())
