"""Every kind of finding on data in which something is wrong on purpose, and on data in which it is not."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.benchmarks.planted import MAKERS
from tests.factories import classifier, image_set
from workbench.analysis.forecasts import forecast_of_answers
from workbench.analysis.index import select
from workbench.analysis.looks import with_looks
from workbench.analysis.robustness import Robustness, join_fragility
from workbench.analysis.statistics import sign_test
from workbench.analysis.votes import join_votes
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet, Provenance, Query
from workbench.errors import DataError
from workbench.findings.control import adjusted
from workbench.findings.features import features_of
from workbench.findings.find import find
from workbench.findings.kinds import confusions
from workbench.findings.known import Known, known_of
from workbench.findings.record import Finding
from workbench.runs.run import Run

CLASSES = ("ant", "bee", "cow", "dog")


def sure(label: np.ndarray, predicted: np.ndarray, confidence: float = 0.7) -> np.ndarray:
    """Probabilities of given answers, each with the same confidence."""
    rest = (1 - confidence) / (len(CLASSES) - 1)
    probability = np.full((len(label), len(CLASSES)), rest)
    probability[np.arange(len(label)), predicted] = confidence
    return probability


def run_of(label: np.ndarray, probability: np.ndarray, classes: tuple[str, ...] = CLASSES, **columns: object) -> Run:
    p = Predictions.from_arrays(label, probability, classes)
    return Run("planted", p.join(pl.DataFrame({"index": p.index, **columns})) if columns else p)


def failing(seed: int, inside: np.ndarray, rate: float = 0.5, base: float = 0.04) -> tuple[np.ndarray, np.ndarray]:
    """Labels and answers: the rows inside are misclassified at a rate, the others at the base."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, len(CLASSES), len(inside))
    wrong = generator.random(len(inside)) < np.where(inside, rate, base)
    return label, np.where(wrong, (label + generator.integers(1, len(CLASSES), len(inside))) % len(CLASSES), label)


def only(run: Run, kind: str, **options: object) -> Finding:
    found = find(run, **options).of(kind)  # type: ignore[arg-type]
    assert found, kind
    return found[0]


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "nothing"])
def test_what_is_planted_is_found_first_with_its_rows(name: str) -> None:
    planted = MAKERS[name](3)
    found = find(planted.run, seeds=planted.seeds)
    assert found[0].kind == planted.kind
    inside = planted.rows[found[0].rows]
    assert inside.mean() > (0.5 if planted.kind == "labels" else 0.8)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert sum(len(find(MAKERS["nothing"](seed).run)) > 0 for seed in range(6)) <= 1


def test_a_column_of_the_users_own_is_the_first_finding() -> None:
    generator = np.random.default_rng(0)
    camera = generator.choice(["old", "new"], 3000, p=[0.2, 0.8])
    label, answer = failing(1, camera == "old", 0.6, 0.03)
    found = find(run_of(label, sure(label, answer), camera=camera, noise=generator.normal(size=3000)))
    assert found[0].subject == "camera old"
    assert found[0].effect == pytest.approx(0.57, abs=0.08)
    assert found[0].low < 0.57 < found[0].high
    assert set(found[0].rows) == set(np.flatnonzero(camera == "old"))
    assert "10 of 10" in found[0].stable
    assert re.match(r"camera old: 5\d\.\d% are misclassified, against [23]\.\d% of the other rows", found[0].sentence)


def test_the_gap_of_a_finding_is_of_rows_that_neither_found_it_nor_were_chosen_by_their_answers() -> None:
    generator = np.random.default_rng(0)
    gaps = []
    for seed in range(20):
        camera = generator.choice(["old", "new"], 2000, p=[0.2, 0.8])
        label, answer = failing(seed, camera == "old", 0.3, 0.05)
        run = run_of(label, sure(label, answer, 0.75), camera=camera)
        found = only(run, "slices").gap
        assert found is not None
        assert found.confidence == pytest.approx(0.75, abs=1e-6)
        assert found.accuracy != np.mean((label == answer)[camera == "old"])  # of a half of the rows alone
        gaps.append((found.low <= -0.05 <= found.high, found.value))
    assert sum(held for held, _ in gaps) >= 17
    assert np.mean([value for _, value in gaps]) == pytest.approx(-0.05, abs=0.02)
    errors = only(run, "unsettled", seeds=[Predictions.from_arrays(label, sure(label, label), CLASSES)])
    assert errors.gap is None
    table = find(run).table()
    assert table.filter(kind="slices")["confidence_gap"].to_list() == [found.value]
    assert table.schema["confidence_gap_low"] == pl.Float64


def test_columns_of_every_type_are_looked_at() -> None:
    generator = np.random.default_rng(2)
    inside = generator.random(3000) < 0.2
    days = [date(2024, 1, 1) + timedelta(int(d)) for d in np.where(inside, 300, generator.integers(0, 290, 3000))]
    columns = {
        "number": np.where(inside, 9.5, generator.uniform(0, 9, 3000)),
        "whole": np.where(inside, 7, generator.integers(0, 5, 3000)),
        "day": days,
        "flag": inside,
        "path": [f"site{'B' if bad else 'A'}/{row}.png" for row, bad in enumerate(inside)],
        "gap": [None if bad else "x" for bad in inside],
    }
    label, answer = failing(3, inside)
    for name, column in columns.items():
        finding = only(run_of(label, sure(label, answer), **{name: column}), "slices")
        assert name in finding.subject
        assert inside[finding.rows].mean() > 0.95


def test_a_property_of_one_class_is_told_from_one_of_all() -> None:
    generator = np.random.default_rng(4)
    label = generator.integers(0, 4, 4000)
    wet = generator.random(4000) < 0.3
    rate = np.where(wet & (label == 2), 0.6, 0.05)
    answer = np.where(generator.random(4000) < rate, (label + 1) % 4, label)
    found = find(run_of(label, sure(label, answer), weather=np.where(wet, "wet", "dry"))).of("slices")
    assert [finding.subject for finding in found] == ["cow, weather wet"]


def test_two_properties_together() -> None:
    generator = np.random.default_rng(5)
    night, zoom = generator.random((2, 6000)) < 0.3
    label, answer = failing(6, night & zoom, 0.6)
    found = find(run_of(label, sure(label, answer), time=np.where(night, "night", "day"), zoom=zoom)).of("slices")
    assert len(found) == 1
    assert found[0].subject == "time night, zoom true"


def test_what_is_made_of_the_answer_is_refused() -> None:
    """Clusters of the predicted class and confidence would be the confusion matrix again."""
    planted = MAKERS["nothing"](0)
    p = planted.run.predictions
    third = np.searchsorted(np.quantile(p.confidence, (1 / 3, 2 / 3)), p.confidence)
    answer = [f"cluster {k}" for k in p.predicted * 3 + third]
    noisy = np.where(np.random.default_rng(1).random(len(p)) < 0.05, "cluster 0", answer)
    for column in (answer, noisy):
        found = find(Run("x", p.join(pl.DataFrame({"index": p.index, "cluster": column}))))
        assert not found.of("slices")
        assert any("refused, as the answer alone tells" in line for line in found.missing)


def test_a_failing_subclass_is_no_answer() -> None:
    """A breed is told by the answer as far as that tells the class, and is a slice all the same."""
    generator = np.random.default_rng(7)
    label = generator.integers(0, 4, 5000)
    breed = label * 5 + generator.integers(0, 5, 5000)
    wrong = generator.random(5000) < np.where(breed == 7, 0.7, 0.04)
    answer = np.where(wrong, (label + generator.integers(1, 4, 5000)) % 4, label)
    finding = only(run_of(label, sure(label, answer), breed=[f"breed {b}" for b in breed]), "slices")
    assert (breed[finding.rows] == 7).all()


def test_an_embedding_of_the_users_choice() -> None:
    generator = np.random.default_rng(8)
    inside = generator.random(3000) < 0.15
    features = generator.normal(size=(3000, 4)) + 8 * inside[:, None]
    label, answer = failing(9, inside)
    finding = only(run_of(label, sure(label, answer)), "slices", features=features)
    assert "embedding given" in finding.subject
    assert inside[finding.rows].mean() > 0.95
    with pytest.raises(DataError, match="finite matrix of 3000 rows"):
        find(run_of(label, sure(label, answer)), features=features[:10])


def test_no_better_than_the_majority_comes_first() -> None:
    label = np.array([0] * 941 + [1] * 47)
    score = np.random.default_rng(0).uniform(0.01, 0.4, len(label))
    found = find(run_of(label, np.stack([1 - score, score], 1), ("not bird", "bird")))
    assert "No better than always answering not bird" in found[0].sentence
    assert found[0].effect == 0
    assert "bird is never predicted" in found[1].sentence
    assert found[1].high == pytest.approx(0.076, abs=0.001)


def test_a_pair_of_classes_and_its_direction() -> None:
    generator = np.random.default_rng(10)
    classes = tuple(f"c{k}" for k in range(8))
    label = generator.integers(0, 8, 6000)
    answer = np.where(generator.random(6000) < 0.06, (label + generator.integers(1, 8, 6000)) % 8, label)
    answer = np.where((label == 0) & (generator.random(6000) < 0.2), 1, answer)
    probability = np.full((6000, 8), 0.1 / 7)
    probability[np.arange(6000), answer] = 0.9
    found = [f for f in find(run_of(label, probability, classes)).of("confusions") if "," not in f.subject]
    assert [finding.subject for finding in found] == ["c0 and c1"]
    assert re.search(r"2\d\.\d% of c0 are predicted as c1, and 0\.\d% the other way", found[0].sentence)
    assert not found[0].explains


@pytest.mark.parametrize("classes", [3, 4, 8])
def test_classes_that_are_hard_and_often_answered_are_no_pair(classes: int) -> None:
    """Errors that fall on the other classes in proportion, with quite different rates and shares."""
    alarms = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        label = generator.choice(classes, 3000, p=generator.dirichlet(3 * np.ones(classes)))
        weights = generator.dirichlet(2 * np.ones(classes))
        wrong = generator.random(3000) < generator.uniform(0.01, 0.2, classes)[label]
        answer = np.array(
            [generator.choice(classes, p=others(weights, k)) if w else k for k, w in zip(label, wrong, strict=True)]
        )
        probability = np.full((3000, classes), 0.1 / (classes - 1))
        probability[np.arange(3000), answer] = 0.9
        names = tuple(f"c{k}" for k in range(classes))
        alarms += bool(adjusted([confusions.find(Known(Predictions.from_arrays(label, probability, names)))]))
    assert alarms <= 5


def others(weights: np.ndarray, own: int) -> np.ndarray:
    rest = np.where(np.arange(len(weights)) == own, 0, weights)
    return rest / rest.sum()


def test_few_confusions_of_a_good_model_are_no_pair() -> None:
    label = np.arange(1000) % 5
    answer = label.copy()
    answer[:2] = [1, 2]
    names = tuple("abcde")
    probability = np.full((1000, 5), 0.0005)
    probability[np.arange(1000), answer] = 0.998
    assert not find(run_of(label, probability, names)).of("confusions", "calibration")


def test_a_block_of_classes() -> None:
    generator = np.random.default_rng(11)
    classes = tuple(f"c{k}" for k in range(9))
    label = generator.integers(0, 9, 6000)
    within = label // 3 * 3 + (label + generator.integers(1, 3, 6000)) % 3
    answer = np.where(generator.random(6000) < 0.1, within, label)
    probability = np.full((6000, 9), 0.1 / 8)
    probability[np.arange(6000), answer] = 0.9
    blocks = [f for f in find(run_of(label, probability, classes)).of("confusions") if "among themselves" in f.sentence]
    assert len(blocks) == 1
    members = {int(name[1:]) // 3 for name in blocks[0].subject.replace(" and ", ", ").split(", ")}
    assert len(members) == 1


def test_confidence_has_a_direction() -> None:
    label, answer = failing(12, np.zeros(3000, bool), base=0.1)
    under = only(run_of(label, sure(label, answer, 0.7)), "calibration")
    assert under.effect == pytest.approx(0.2, abs=0.02)
    assert "points below accuracy" in under.sentence
    over = only(run_of(label, sure(label, answer, 0.99)), "calibration")
    assert over.effect == pytest.approx(-0.09, abs=0.02)
    assert "points above accuracy" in over.sentence
    assert "no prediction" in over.action


def voted(rows: int = 2000) -> tuple[Run, np.ndarray, np.ndarray]:
    """Human labels that contest some labels and disagree on some images, on which the model fails."""
    generator = np.random.default_rng(13)
    divided = generator.random(rows) < 0.15
    label, answer = failing(14, divided, 0.4)
    votes = np.zeros((rows, 4), np.int64)
    votes[np.arange(rows), label] = np.where(divided, 6, 10)
    votes[np.arange(rows), (label + 1) % 4] += np.where(divided, 4, 0)
    contested = np.arange(rows) < 20
    votes[contested] = np.eye(4, dtype=np.int64)[(label[contested] + 2) % 4] * 10
    run = run_of(label, sure(label, answer, 0.9))
    return dataclasses.replace(run, predictions=join_votes(run.predictions, votes)), divided, contested


def test_people_decide_on_labels_and_on_what_is_ambiguous() -> None:
    run, divided, contested = voted()
    labels = only(run, "labels")
    assert set(labels.rows) == set(np.flatnonzero(contested))
    assert labels.forecast is not None
    assert labels.forecast.low <= labels.forecast.gain <= labels.forecast.high
    people = only(run, "people")
    assert set(people.rows) == set(np.flatnonzero(divided & ~contested))
    assert people.needed == ("human labels",)
    assert not any("people:" in line for line in find(run).missing)


def test_a_property_that_tells_the_label() -> None:
    """Images of one class come from another source, and are larger; classes whose light differs a little are none."""
    generator = np.random.default_rng(29)
    label, answer = failing(30, np.zeros(600, bool))
    pixels = [generator.normal(90 + 8 * k, 40, (48 if k > 1 else 32,) * 2 + (3,)).clip(0, 255) for k in label]
    images = ImageSet([one.astype(np.uint8) for one in pixels], label, CLASSES, "test", "0" * 64)
    found = find(dataclasses.replace(run_of(label, sure(label, answer, 0.88)), images=images)).of("shortcuts")
    assert {finding.subject for finding in found} >= {"the width in pixels tells the label"}
    width = next(finding for finding in found if "width" in finding.subject)
    assert width.effect == pytest.approx(0.25, abs=0.05)
    assert width.low < width.effect < width.high
    assert not any("contrast" in finding.subject for finding in found)


def test_a_vote_of_one_or_a_lead_by_chance_contests_nothing() -> None:
    generator = np.random.default_rng(24)
    label, answer = failing(25, np.zeros(800, bool))
    p = run_of(label, sure(label, answer)).predictions
    slips = np.where(generator.random((800, 9)) < 0.1, generator.integers(0, 4, (800, 9)), label[:, None])
    one, nine = (np.stack([(slips[:, :n] == k).sum(1) for k in range(4)], 1) for n in (1, 9))
    few = find(Run("x", join_votes(p, one)))
    assert not few.of("labels")
    assert any("fewer than five votes" in line for line in few.missing)
    assert not find(Run("x", join_votes(p, nine))).of("labels")


def test_a_seed_that_is_the_same_but_for_noise_settles_nothing() -> None:
    label, answer = failing(26, np.zeros(1500, bool), base=0.2)
    again = answer.copy()
    again[np.flatnonzero(label != answer)[:3]] = label[np.flatnonzero(label != answer)[:3]]
    other = Predictions.from_arrays(label, sure(label, again), CLASSES)
    assert not find(run_of(label, sure(label, answer)), seeds=[other]).of("unsettled")


def test_odd_columns_are_read_by_their_names() -> None:
    inside = np.random.default_rng(27).random(1200) < 0.2
    label, answer = failing(28, inside)
    odd = {"count": np.where(inside, "a", "b"), "^c.*$": np.where(inside, "u", "v"), "raw": [b"\xff"] * 1200}
    found = find(run_of(label, sure(label, answer), **odd)).of("slices")
    assert inside[found[0].rows].mean() == 1


def test_copies_in_the_train_split() -> None:
    label, answer = failing(15, np.zeros(300, bool))
    run = run_of(label, sure(label, answer))
    p = run.predictions
    copied, other = p.index < 30, p.index < 6
    columns = pl.DataFrame(
        {
            "index": p.index,
            "copy_row": pl.Series(np.where(copied, p.index, None).tolist(), dtype=pl.Int64),
            "copy_label": pl.Series(np.where(copied, (p.label + other) % 4, None).tolist(), dtype=pl.Int64),
            "copy_correlation": pl.Series(np.where(copied, 0.95, None).tolist(), dtype=pl.Float64),
        }
    )
    found = find(dataclasses.replace(run, predictions=p.join(columns))).of("copies")
    leak = next(finding for finding in found if "train split" in finding.subject)
    assert leak.effect == pytest.approx(p.correct[30:].mean())
    assert set(next(f for f in found if f is not leak).rows) == set(range(6))


def test_copies_are_looked_for_where_the_run_has_its_train_split() -> None:
    pixels = np.random.default_rng(1).integers(0, 240, (210, 4, 4, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    labels = np.arange(210) % 4
    pixels[120:124] = pixels[:4] + 12  # the first four of this split are the train split's, lighter
    train_images = ImageSet(pixels[:120], labels[:120], CLASSES, "train", "t")
    own_images = ImageSet(pixels[120:], labels[120:], CLASSES, "test", "o")
    generator = np.random.default_rng(0)
    near = generator.normal(size=(120, 8))
    own = np.concatenate([near[:4] + 0.01, generator.normal(size=(86, 8))])
    made = [
        Predictions.from_arrays(i.labels, np.full((len(i), 4), 0.25), CLASSES, embedding=e)
        for i, e in ((own_images, own), (train_images, near))
    ]
    run = Run("x", made[0], own_images, train=made[1], train_images=train_images)
    rows = {int(row) for finding in find(run).of("copies") if "train" in finding.subject for row in finding.rows}
    assert rows == {0, 1, 2, 3}


def test_errors_that_late_epochs_do_not_make(tmp_path: Path) -> None:
    generator = np.random.default_rng(16)
    label, answer = failing(17, np.zeros(1500, bool), base=0.2)
    wrong = label != answer
    unsure = wrong & (generator.random(1500) < 0.5)
    epochs = np.where(unsure[:, None] & (generator.random((1500, 20)) < 0.6), label[:, None], answer[:, None])
    epochs[:, -1] = answer
    table = pl.DataFrame({"split": ["test"] * 1500, "index": np.arange(1500), "predicted": epochs.tolist()})
    table.write_parquet(tmp_path / "dynamics.parquet")
    p = Predictions.from_arrays(label, sure(label, answer, 0.8), CLASSES, provenance=Provenance(split="test"))
    finding = only(Run("x", p, checkpoint=tmp_path), "unsettled")
    assert set(finding.rows) == set(np.flatnonzero(unsure))
    assert finding.forecast is not None
    assert finding.forecast.low > 0
    assert finding.action.startswith("average")
    settled = np.where(wrong[:, None], answer[:, None], epochs)
    table.with_columns(predicted=pl.Series(settled.tolist())).write_parquet(tmp_path / "dynamics.parquet")
    assert not find(Run("x", p, checkpoint=tmp_path)).of("unsettled")


def test_errors_of_variance_and_of_bias() -> None:
    label, answer = failing(18, np.zeros(1000, bool), base=0.2)
    wrong = np.flatnonzero(label != answer)
    again = answer.copy()
    again[wrong[:40]] = label[wrong[:40]]
    other = Predictions.from_arrays(label[::-1], sure(label, again)[::-1], CLASSES, index=np.arange(1000)[::-1])
    finding = only(run_of(label, sure(label, answer)), "unsettled", seeds=[other])
    assert set(finding.rows) == set(wrong[:40])
    assert f"the other {len(wrong) - 40} are made by every seed" in finding.sentence
    with pytest.raises(DataError, match="same rows"):
        find(run_of(label, sure(label, answer)), seeds=[Predictions.from_arrays([0], [[1, 0, 0, 0]], CLASSES)])


def test_images_far_from_the_train_images() -> None:
    generator = np.random.default_rng(19)
    far = generator.random(1500) < 0.1
    label, answer = failing(20, far)
    train_label = generator.integers(0, 4, 1200)

    def embedded(of: np.ndarray, moved: np.ndarray | float) -> np.ndarray:
        return 6 * np.eye(4, 12)[of] + generator.normal(size=(len(of), 12)) + moved

    own = embedded(label, far[:, None] * np.eye(12)[11] * 25)
    p = Predictions.from_arrays(label, sure(label, answer), CLASSES, embedding=own)
    train = Predictions.from_arrays(
        train_label, sure(train_label, train_label), CLASSES, embedding=embedded(train_label, 0.0)
    )
    finding = only(Run("x", p, train=train), "sparse")
    assert far[finding.rows].mean() > 0.6
    assert "embedding of the last layer" in finding.sentence
    rng = np.random.default_rng(0)
    assert not find(
        Run(
            "x",
            Predictions.from_arrays(label, sure(label, answer), CLASSES, embedding=rng.normal(size=(1500, 12))),
            train=train,
        )
    ).of("baseline")


def test_poor_images_within_their_classes() -> None:
    """Small images fail in every class; a class of dark images is no finding by itself."""
    generator = np.random.default_rng(21)
    rows = 900
    small = generator.random(rows) < 0.15
    label, answer = failing(22, small, 0.6, 0.05)
    pixels = [
        np.clip(generator.normal(60 + 40 * k, 30, (12 if s else 32,) * 2 + (3,)), 0, 255).astype(np.uint8)
        for k, s in zip(label, small, strict=True)
    ]
    run = run_of(label, sure(label, answer, 0.85))
    images = ImageSet(pixels, label, CLASSES, "test", "0" * 64)
    found = find(dataclasses.replace(run, images=images))
    finding = found.of("quality", "slices")[0]
    assert small[finding.rows].mean() > 0.95
    assert not any("dark" in f.subject for f in found)


def test_an_hour_is_a_slice() -> None:
    generator = np.random.default_rng(5)
    hours = generator.integers(0, 24, 3000)
    days = generator.integers(0, 300, 3000)
    label, predicted = failing(5, hours >= 20)
    taken = [datetime(2026, 1, 1) + timedelta(days=int(d), hours=int(h)) for d, h in zip(days, hours, strict=True)]
    found = only(run_of(label, sure(label, predicted), taken=taken), "slices")
    assert re.search(r"hour of taken (19|20) to 23", found.sentence)


def test_a_slice_has_the_expression_that_selects_its_rows() -> None:
    generator, count = np.random.default_rng(0), 400
    label = generator.integers(0, 4, count)
    values = generator.normal(size=count)
    columns = {
        "small": (1e-5 * generator.random(count)).astype(np.float32),
        "gaps": np.where(generator.random(count) < 0.1, np.nan, values),
        "ends": np.where(values > 1, np.inf, values),
        "few": generator.integers(0, 4, count),
        "flag": generator.random(count) < 0.5,
        'it\'s "x"': generator.choice(["o'k", "b"], count),
        "null": pl.Series([None if one < 0.2 else "missing" if one < 0.3 else "q" for one in generator.random(count)]),
        "kind of": pl.Series(generator.choice(["u", "v w"], count)).cast(pl.Categorical),
    }
    run = run_of(label, sure(label, label), **columns)
    images = image_set(count)
    seen = with_looks(run.predictions, images)
    counted = 0
    for feature in features_of(Known(run.predictions, images)):
        for code, where in enumerate(feature.where):
            if where:
                found = select(seen, Query(where=where, order="index", descending=False))["index"].to_list()
                assert found == np.flatnonzero(feature.codes == code).tolist(), where
                counted += 1
        assert feature.where or feature.name.startswith("cluster of")
    assert counted >= 30


def test_a_slice_is_open_at_its_ends_and_named_so_that_others_differ() -> None:
    label = np.zeros(400, int)
    epoch = 1.7e9 + np.arange(400.0)
    run = run_of(label, sure(label, label), **{"t": epoch, "^c.*$": epoch, "brightness": epoch, "colour": epoch})
    features = {feature.name: feature for feature in features_of(Known(run.predictions))}
    assert len(set(features["t"].words)) == 5
    later = run_of(label, sure(label, label), t=epoch + 399.5).predictions
    last = select(later, Query(where=features["t"].where[-1]))
    assert len(last) == 400  # all are later than any row that was seen
    assert not features["^c.*$"].where  # Polars would read a pattern
    for feature in features_of(Known(run.predictions, image_set(400))):
        if feature.name in ("brightness", "colour") and not feature.words[0].startswith(feature.name):
            assert not feature.where, feature.words  # the column of that name is another thing


def test_poor_images_have_an_expression_where_looks_tell_them() -> None:
    generator = np.random.default_rng(6)
    shade = generator.uniform(40, 200, 900)
    label, answer = failing(7, shade <= np.quantile(shade, 0.1), 0.8, 0.03)
    pixels = [np.clip(generator.normal(one, 20, (16, 16, 3)), 0, 255).astype(np.uint8) for one in shade]
    images = ImageSet(pixels, label, CLASSES, "test", "0" * 64)
    run = run_of(label, sure(label, answer))
    found = [one for one in find(replace(run, images=images)).of("quality", "slices") if "dark" in one.subject]
    assert found
    rows = select(with_looks(run.predictions, images), Query(where=found[0].where, order="index", descending=False))
    assert sorted(found[0].rows.tolist()) == rows["index"].to_list()


def test_a_slice_carries_what_weighting_its_train_rows_would_bring() -> None:
    inside = np.random.default_rng(4).random(3000) < 0.2
    label, answer = failing(5, inside)
    run = run_of(label, sure(label, answer), camera=np.where(inside, "old", "new"))
    finding = only(run, "slices")
    assert finding.where == "CAST(\"camera\" AS TEXT) = 'old'"
    assert finding.forecast is None
    made = forecast_of_answers("weight", "weight 9 train rows", "a basis", run.predictions, answer, label, trains=True)
    again = only(replace(run, forecasts=(replace(made, where=finding.where),)), "slices")
    assert again.forecast is not None
    assert again.forecast.to_json() == {"gain": made.gain, "low": made.low, "high": made.high, "basis": "a basis"}
    assert again.action == f"{finding.action}; to weight 9 train rows is forecast to help"
    worse = forecast_of_answers("weight", "weight 9 train rows", "a basis", run.predictions, label, answer, trains=True)
    nothing = forecast_of_answers("weight", "weight 9 train rows", "", run.predictions, answer, answer, trains=True)
    for one, words in ((worse, "is forecast to make accuracy worse"), (nothing, "is not shown to help")):
        advised = only(replace(run, forecasts=(replace(one, where=finding.where),)), "slices").action
        assert advised.endswith(f"to weight 9 train rows {words}")
    table = find(replace(run, forecasts=(replace(made, where=finding.where),))).table().filter(kind="slices")
    assert table.select("where", "forecast", "forecast_low", "forecast_high").row(0) == (
        finding.where,
        made.gain,
        made.low,
        made.high,
    )
    other = replace(run, forecasts=(replace(made, where="camera = 'new'"), made))
    assert only(other, "slices").forecast is None


def test_clusters_of_a_layer_are_slices_where_it_is_named() -> None:
    images = image_set(600)
    images = replace(images, pixels=np.asarray(images.pixels).copy())
    generator = np.random.default_rng(6)
    inside = generator.random(600) < 0.3
    images.pixels[inside] //= 8
    wrong = generator.random(600) < np.where(inside, 0.5, 0.02)
    predicted = np.where(wrong, (images.labels + 1) % 3, images.labels)
    p = Predictions.from_arrays(images.labels, np.eye(3)[predicted] * 0.6 + 0.4 / 3, images.classes)
    model = classifier()
    run = Run("r", p, images, model)
    words = f"cluster of features of {next(iter(model.cam_layers))}"
    names = [feature.name for feature in features_of(known_of(run, layer=next(iter(model.cam_layers))))]
    assert words in names
    assert words not in [feature.name for feature in features_of(known_of(run))]
    with pytest.raises(DataError, match="expected a run with its model"):
        find(replace(run, classifier=None), layer="layer1")


def test_a_temperature_of_validation_rows_is_judged_on_the_others() -> None:
    generator = np.random.default_rng(8)

    def drawn(rows: int) -> Predictions:
        scores = generator.normal(size=(rows, 4)) * 1.5
        scores[np.arange(rows), generator.integers(0, 4, rows)] += 2
        truth, shown = (np.exp(s) / np.exp(s).sum(1, keepdims=True) for s in (scores, 2 * scores))
        label = (truth.cumsum(1) > generator.random(rows)[:, None]).argmax(1)
        return Predictions.from_arrays(label, shown, CLASSES)

    run, validation = Run("r", drawn(3000)), drawn(3000)
    action = only(run, "calibration", validation=validation).action
    factor = re.search(r"divide the logits by ([\d.]+), fitted on 3,000 validation rows", action)
    assert factor
    assert float(factor[1]) == pytest.approx(2, abs=0.15)
    low, high = map(float, re.search(r"confidence ([+-][\d.]+) to ([+-][\d.]+)\)", action).groups())  # type: ignore[union-attr]
    assert low < 0.8
    assert high > -0.8
    with pytest.raises(DataError, match="classes of the predictions"):
        find(run, validation=Predictions.from_arrays([0, 1], np.eye(2), ("a", "b")))


def measured(corrects: np.ndarray, *, gain: tuple[float, float, float] = (0.01, 0.002, 0.018)) -> Robustness:
    """What the command robustness leaves, with harmless changes that correct some rows."""
    values = {
        "fragility": {"tried": 8, "correct_rows": 400, "correct_rows_broken": 20},
        "consistency": {
            **{"passes": 9, "rows": 1000, "harmless": True, "sample": True},
            **dict(zip(("gain", "low", "high"), gain, strict=True)),
        },
        "corruptions": {"rows": list(range(200))},
    }
    table = pl.DataFrame({"index": np.arange(len(corrects)), "harmless_corrects": corrects, "harmless_flips": corrects})
    nothing = pl.DataFrame({"smallest_change": [1.0] * len(corrects), "smallest_change_kind": ["blur"] * len(corrects)})
    return Robustness(values, pl.concat([table, nothing], how="horizontal"))


def robust_run(corrects_of_errors: int, **options: object) -> Run:
    """A run with 100 errors in 1,000 rows, of which some are corrected by two of eight harmless changes."""
    label = np.arange(1000) % 4
    answers = np.where(np.arange(1000) < 100, (label + 1) % 4, label)
    run = run_of(label, sure(label, answers))
    found = measured(np.where(np.arange(1000) < corrects_of_errors, 2, 0), **options)  # type: ignore[arg-type]
    return replace(run, predictions=join_fragility(run.predictions, found), robustness=found)


def test_errors_that_harmless_changes_correct_are_fragile() -> None:
    finding = only(robust_run(40), "fragile")
    assert finding.rows.tolist() == list(range(40))
    assert finding.effect == pytest.approx(40 / 100 - 20 / 400)
    assert finding.cost == pytest.approx(40 - 100 * 20 / 400)
    assert not finding.explains
    assert finding.sentence.startswith("40 of 100 errors are fragile: at least one of 8 changes")
    assert finding.forecast is not None
    assert finding.forecast.gain == 0.01
    assert "the image and its harmless changes" in finding.forecast.basis
    assert "average over changed copies" in finding.action
    unhelpful = only(robust_run(40, gain=(0.001, -0.002, 0.004)), "fragile")
    assert "is not shown to help" in unhelpful.action


@pytest.mark.parametrize("count", [0, 5, 9, 10])  # ten are 5 % by their interval, and not more than correct rows
def test_errors_no_more_fragile_than_correct_rows_are_no_finding(count: int) -> None:
    assert not find(robust_run(count)).of("fragile")


def curve_rows(names: dict[str, tuple[int, int]], rows: int = 200, correct: int = 180) -> pl.DataFrame:
    """Curves of all rows at the mildest strength: how many each corruption breaks and fixes."""
    return pl.DataFrame(
        [
            ("all", name, 1, rows, correct - broken + fixed, fixed, broken)
            for name, (broken, fixed) in {"none": (0, 0), **names}.items()
        ],
        schema=["kind", "corruption", "strength", "rows", "correct", "fixed", "broken"],
        orient="row",
    ).with_columns(strength=pl.when(pl.col("corruption") == "none").then(0).otherwise(1))


def test_the_worst_mild_corruption_is_reported_with_its_fall() -> None:
    run = robust_run(0)
    assert run.robustness is not None
    curves = curve_rows({"fog": (3, 2), "shot noise": (50, 4), "jpeg": (20, 2), "snow": (11, 2)})
    found = replace(run.robustness, curves=curves)  # snow would hold alone, not as one of four
    finding = only(replace(run, robustness=found), "corrupted")
    assert finding.subject == "shot noise"
    assert finding.effect == pytest.approx(46 / 200)
    assert finding.low < finding.effect < finding.high
    assert "shot noise 23.0 points" in finding.sentence
    assert "jpeg 9.0 points" in finding.sentence
    assert not {"fog", "snow"} & set(re.findall(r"[a-z]+", finding.sentence))
    assert not finding.explains
    assert finding.p_value == pytest.approx(sign_test(4, 50))
    assert len(finding.rows) == 200


def test_corruptions_that_change_nothing_are_no_finding() -> None:
    run, generator, reported = robust_run(0), np.random.default_rng(0), 0
    assert run.robustness is not None
    for _ in range(40):
        names = {f"corruption {k}": tuple(generator.poisson(8, 2).tolist()) for k in range(15)}
        found = replace(run.robustness, curves=curve_rows(names))
        reported += len(find(replace(run, robustness=found)).of("corrupted"))
    assert reported <= 4


def test_without_measurement_what_is_missing_is_named() -> None:
    missing = " ".join(find(run_of(np.arange(200) % 4, sure(np.arange(200) % 4, np.arange(200) % 4))).missing)
    assert "fragile: how answers change" in missing
    assert "corrupted: accuracy under corruptions" in missing
