from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tests.factories import classifier, image_set
from tests.unit.workbench.evidence.planted import SIDE, marked_images, patch_classifier, patch_map
from workbench.analysis.statistics import paired_interval
from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets
from workbench.core.records import Attribution
from workbench.evidence import imputation
from workbench.evidence.faithfulness import MEASURES, Bench
from workbench.evidence.ranking import evidence_of, ranking, try_methods
from workbench.evidence.sanity import sanity_check, structural_similarity
from workbench.evidence.stability import rank_correlation, stability
from workbench.evidence.verdicts import Evidence
from workbench.models.classifier import Classifier

ROWS, MARKED = np.arange(12), Targets(np.ones(12, np.int64))


def attribution(values: np.ndarray, **more: object) -> Attribution:
    count = len(values)
    return Attribution(values.astype(np.float32), np.arange(count), np.ones(count, np.int64), "planted", **more)  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Bench:
    return Bench(patch_classifier(), marked_images(), ROWS, MARKED)


def test_the_true_map_beats_its_controls(bench: Bench) -> None:
    found = bench.faithfulness(attribution(patch_map()))
    for measure in MEASURES:
        assert found.beats(measure).all()
        assert (found.gain(measure, "blurred random") > 0).all()


def test_a_map_of_another_place_does_not(bench: Bench) -> None:
    elsewhere = np.roll(patch_map(), 8, axis=1)
    found = bench.faithfulness(attribution(elsewhere))
    for measure in MEASURES:
        assert found.beats(measure).mean() <= 0.35
    assert found.gain("road", "random").mean() < 0


def test_deletion_by_hand() -> None:
    """A map over the patch alone: after the first of 16 steps (16 of 256 pixels) the patch is blurred."""
    model, images = patch_classifier(), marked_images(1)
    found = Bench(model, images, ROWS[:1], Targets(np.ones(1, np.int64))).faithfulness(attribution(patch_map(1)))

    def probability(picture: np.ndarray) -> float:
        with torch.no_grad():
            return float(model.module(model.prepare(picture)).softmax(1)[0, 1])

    soft = imputation.blur(images)
    gone = images.copy()
    gone[patch_map(1) > 0] = soft[patch_map(1) > 0]
    whole, rest = probability(images), probability(gone)
    assert probability(soft) == pytest.approx(rest, abs=1e-6)  # the model sees the patch alone
    assert found.measures.deletion[0] == pytest.approx((0.5 * whole + 15.5 * rest) / 16, abs=1e-6)
    assert found.measures.insertion[0] == pytest.approx((0.5 * rest + 15.5 * whole) / 16, abs=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_ties_never_remove_more_than_asked(share: float) -> None:
    flat = np.zeros((3, 4, 4), np.float32)
    flat[0, 0, 0] = 1
    order = imputation.ranks(flat, SIDE, (0, 1, 2))
    assert ((order < share * SIDE**2).sum((1, 2)) == share * SIDE**2).sum() == 3 or share == 0.1
    assert all(np.array_equal(np.sort(one.ravel()), np.arange(SIDE**2)) for one in order)


def test_imputation_fills_from_the_neighbours() -> None:
    """One missing pixel is the mean of its neighbours, direct ones counting twice, up to the noise."""
    x = torch.rand(1, 3, 5, 5)
    hole = np.zeros((1, 5, 5), bool)
    hole[0, 2, 2] = True
    filled = imputation.impute(x, hole, (7,))
    window = x[0, :, 1:4, 1:4]
    weights = torch.tensor([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12
    np.testing.assert_allclose(filled[0, :, 2, 2], (window * weights).sum((1, 2)), atol=0.05)
    keep = torch.from_numpy(~hole[0])
    assert torch.equal(filled[0][:, keep], x[0][:, keep])


def edges(_: Classifier, images: np.ndarray) -> Attribution:
    """An edge detector that poses as an explanation: it never looks at the model."""
    grey = images.astype(np.float32).mean(3)
    return attribution(np.abs(np.gradient(grey, axis=1)) + np.abs(np.gradient(grey, axis=2)))


def test_an_edge_detector_fails_the_sanity_check() -> None:
    images = image_set().pixels[:6]
    check = sanity_check(classifier(), lambda model: edges(model, images))
    assert not check.passed
    np.testing.assert_allclose([check.signed, check.absolute, check.ssim], 1)
    assert check.layers[0] == "head"


def test_the_exact_gradient_of_a_linear_model_passes() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, 3)).eval()
    linear = Classifier(module, ("a", "b", "c"), (0.0,) * 3, (1.0,) * 3, SIDE, {})
    images = marked_images(6)

    def gradient(model: Classifier) -> Attribution:
        (maps,) = attribute(model, images, ROWS[:6], Targets(np.zeros(6, np.int64)), "Saliency").values()
        return maps

    check = sanity_check(linear, gradient)
    assert check.passed
    assert check.worst < 0.3


def test_the_cascade_touches_normalisation_and_leaves_the_model() -> None:
    model = classifier()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    seen: list[dict[str, torch.Tensor]] = []

    def look(changed: Classifier) -> Attribution:
        seen.append({name: value.clone() for name, value in changed.module.state_dict().items()})
        return attribution(np.random.default_rng(len(seen)).normal(size=(2, 4, 4)))

    sanity_check(model, look)
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert not any(torch.equal(value, before[name]) for name, value in seen[-1].items() if value.numel() > 1)


def test_likeness_by_hand() -> None:
    one = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    assert rank_correlation(one, one**3)[0] == pytest.approx(1)
    assert rank_correlation(one, -one)[0] == pytest.approx(-1)
    assert rank_correlation(one, -one, absolute=True)[0] == pytest.approx(1)
    assert np.isnan(rank_correlation(one, np.ones_like(one))[0])
    assert structural_similarity(one, 5 * one)[0] == pytest.approx(1)
    assert structural_similarity(one - one.mean(), one.mean() - one)[0] < -0.9


def test_stability_of_a_map_that_follows_noise_is_low() -> None:
    images = marked_images()
    drawn = np.random.default_rng(0)
    base = attribution(drawn.normal(size=(12, 4, 4)))
    assert stability(images, base, lambda _: base).tolist() == [1.0] * 12
    assert abs(stability(images, base, lambda _: attribution(drawn.normal(size=(12, 4, 4)))).mean()) < 0.3


def test_verdicts_follow_from_the_numbers(bench: Bench) -> None:
    good = attribution(patch_map())
    faithful, steady = bench.faithfulness(good), np.ones(12)
    fooled, random = (sanity_check(bench.classifier, make) for make in (lambda _: good, _fresh()))

    def verdict(**changes: object) -> tuple[str, str]:
        parts = {"attribution": good, "faithfulness": faithful, "stability": steady, "sanity": random, **changes}
        return Evidence(**parts).verdict(0)  # type: ignore[arg-type]

    assert verdict()[0] == "supported"
    assert verdict(sanity=None)[0] == "weak"
    assert verdict(sanity=fooled)[0] == "not supported"
    assert "fails the sanity check" in verdict(sanity=fooled)[1]
    assert verdict(stability=np.full(12, 0.5))[0] == "weak"
    assert verdict(stability=np.full(12, np.nan))[0] == "not supported"
    assert verdict(attribution=attribution(patch_map(), residual=np.full(12, 0.1)))[0] == "weak"
    assert verdict(attribution=attribution(patch_map(), residual=np.full(12, 0.9)))[0] == "not supported"
    wrong = bench.faithfulness(attribution(-patch_map()))
    assert verdict(faithfulness=wrong)[0] == "not supported"


def _fresh():  # type: ignore[no-untyped-def]
    """Another random map at every call: what a method that depends on the weights does."""
    generator = np.random.default_rng(5)
    return lambda _: attribution(generator.normal(size=(12, 16, 16)))


def test_a_trial_and_its_ranking() -> None:
    bench = Bench(patch_classifier(), marked_images(6), ROWS[:6], Targets(np.ones(6, np.int64)))
    trials = list(try_methods(bench, ["Input x gradient", "LRP", "Integrated gradients"]))
    table = ranking(trials)
    assert sorted(table["method"]) == ["Input x gradient", "Integrated gradients", "LRP"]
    best = table.filter(table["method"] == "Integrated gradients").row(0, named=True)
    assert best["beats_deletion"] == best["beats_road"] == 1
    assert best["residual"] < 1e-4
    assert best["gain_road_low"] <= best["gain_road"] <= best["gain_road_high"]
    assert best["supported"] + best["weak"] + best["not_supported"] == pytest.approx(1)


def test_what_does_not_apply_says_why() -> None:
    c = classifier()
    bench = Bench(c, image_set().pixels[:2], ROWS[:2], Targets(np.zeros(2, np.int64)))
    (trial,) = try_methods(bench, ["LRP"])
    assert trial.evidence is None
    assert "no rule for GroupNorm" in trial.refused
    assert ranking([trial])["does_not_apply"][0] == trial.refused


def test_evidence_table_has_a_row_a_map() -> None:
    bench = Bench(patch_classifier(), marked_images(3), ROWS[:3], Targets(np.ones(3, np.int64)))
    evidence = evidence_of(bench, "Saliency").evidence
    assert evidence is not None
    table = evidence.table()
    assert table["index"].to_list() == [0, 1, 2]
    assert table["residual"].null_count() == 3
    assert set(table["verdict"]) <= {"supported", "weak", "not supported"}


def test_intervals_of_few_images_claim_no_certainty() -> None:
    assert np.isnan(paired_interval(np.array([1.0, 1.1, 1.2]))[1:]).all()
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    mean, low, high = paired_interval(values)
    half = 2.776445 * values.std(ddof=1) / np.sqrt(5)  # Student's t, four degrees of freedom
    assert (mean, low, high) == (3, pytest.approx(3 - half), pytest.approx(3 + half))
    drawn = np.random.default_rng(0).normal(size=(2000, 8))
    assert np.mean([paired_interval(one)[1] > 0 for one in drawn]) < 0.035


def test_controls_are_about_as_smooth_as_the_maps() -> None:
    drawn = np.random.default_rng(0).normal(size=(40, 32, 32)).astype(np.float32)
    assert imputation.smoothness(drawn, 32) == 0.5
    for sigma in (1.0, 2.0, 4.0):
        soft = np.stack([cv2.GaussianBlur(one, (0, 0), sigma) for one in drawn])
        assert imputation.smoothness(soft, 32) in (sigma, sigma / 2)
    assert imputation.smoothness(drawn[:, :4, :4], 32) in (2.0, 4.0)
    assert imputation.smoothness(np.zeros((2, 4, 4), np.float32), 32) == 0.5


def test_methods_may_be_named_as_on_the_command_line() -> None:
    bench = Bench(patch_classifier(), marked_images(2), ROWS[:2], Targets(np.ones(2, np.int64)))
    assert ranking(list(try_methods(bench, ["input-x-gradient"])))["method"].to_list() == ["Input x gradient"]


def test_paired_interval() -> None:
    values = np.random.default_rng(0).normal(1, 1, 400)
    mean, low, high = paired_interval(values)
    assert mean == pytest.approx(values.mean())
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == (pytest.approx(mean - half, abs=0.02), pytest.approx(mean + half, abs=0.02))
    assert all(np.isnan(paired_interval(np.full(3, np.nan))))
