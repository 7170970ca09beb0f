from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tests.factories import classifier, image_set
from tests.unit.workbench.evidence.planted import SIDE, marked_images, patch_classifier, patch_map
from workbench.analysis.statistics import paired_interval
from workbench.attribution.attribute import attribute
from workbench.attribution.targets import Targets
from workbench.core.records import VERDICTS, Attribution
from workbench.evidence import imputation
from workbench.evidence.agreement import Agreement
from workbench.evidence.faithfulness import Bench, Others
from workbench.evidence.pixels import MEASURES
from workbench.evidence.ranking import evidence_of, ranking, tables, try_methods
from workbench.evidence.sanity import SanityCheck, entropy, sanity_check, structural_similarity
from workbench.evidence.stability import rank_correlation, stability
from workbench.evidence.verdicts import Evidence, corrected
from workbench.models.classifier import Classifier

ROWS, MARKED = np.arange(12), Targets(np.ones(12, np.int64))


def attribution(values: np.ndarray, **more: object) -> Attribution:
    count = len(values)
    return Attribution(values.astype(np.float32), np.arange(count), np.ones(count, np.int64), "planted", **more)  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Bench:
    return Bench(patch_classifier(), marked_images(), ROWS, MARKED)


def test_the_true_map_does_better_than_a_map_of_another_place(bench: Bench) -> None:
    own, elsewhere = bench.faithfulness(patch_map()), bench.faithfulness(np.roll(patch_map(), 8, axis=1))
    for measure in MEASURES:
        assert (own.own.goodness(measure) > elsewhere.own.goodness(measure)).all()
        np.testing.assert_allclose(own.gain(measure), 0, atol=1e-9)  # another image's map is the same here
        np.testing.assert_allclose(own.gain(measure, "mean_map"), 0, atol=1e-9)


def test_gains_are_over_another_image_and_over_the_mean_map(bench: Bench) -> None:
    mixed = patch_map()
    mixed[1::2] = np.roll(mixed[1::2], 8, axis=1)  # every other map is of another place
    found = bench.faithfulness(mixed)
    assert (found.gain("road")[::2] > 0).all()
    assert (found.gain("road")[1::2] < 0).all()
    assert np.isnan(
        Bench(patch_classifier(), marked_images(1), ROWS[:1], MARKED.part(slice(0, 1)))
        .faithfulness(patch_map(1))
        .gain("road")
    ).all()


def test_deletion_by_hand() -> None:
    """A map over the patch alone: after the first of 16 steps (16 of 256 pixels) the patch is blurred."""
    model, images = patch_classifier(), marked_images(1)
    found = Bench(model, images, ROWS[:1], Targets(np.ones(1, np.int64))).faithfulness(patch_map(1))

    def probability(picture: np.ndarray) -> float:
        with torch.no_grad():
            return float(model.module(model.prepare(picture)).softmax(1)[0, 1])

    soft = imputation.blur(images)
    gone = images.copy()
    gone[patch_map(1) > 0] = soft[patch_map(1) > 0]
    whole, rest = probability(images), probability(gone)
    assert probability(soft) == pytest.approx(rest, abs=1e-6)  # the model sees the patch alone
    assert found.own.deletion[0] == pytest.approx((0.5 * whole + 15.5 * rest) / 16, abs=1e-6)
    assert found.own.insertion[0] == pytest.approx((0.5 * rest + 15.5 * whole) / 16, abs=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_ties_never_remove_more_than_asked(share: float) -> None:
    flat = np.zeros((3, 4, 4), np.float32)
    flat[0, 0, 0] = 1
    order = imputation.ranks(flat, (SIDE, SIDE), (0, 1, 2))
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


def test_a_method_that_only_the_first_layers_decide_fails_the_sanity_check() -> None:
    """As Guided Backprop does: its maps change when the stem is random, and not before."""
    model, images = classifier(), image_set().pixels[:6]

    def first_layer(changed: Classifier) -> Attribution:
        same = next(part for part in changed.module.modules() if isinstance(part, torch.nn.Conv2d))
        with torch.no_grad():
            values = same(changed.prepare(images)).mean(1).numpy()
        return attribution(values)

    check = sanity_check(model, first_layer)
    assert check.worst == pytest.approx(1)
    assert abs(check.signed.mean(1)[-1]) < 0.9  # at last it changes, too late
    assert not check.passed
    assert check.interval == (pytest.approx(1), pytest.approx(1))


def test_the_cascade_ends_where_it_is_decided() -> None:
    model, images = classifier(), image_set().pixels[:4]
    short = sanity_check(model, lambda one: edges(one, images), whole=False)
    whole = sanity_check(model, lambda one: edges(one, images))
    assert short.layers == whole.layers[: short.decisive + 1]
    assert len(whole.layers) > len(short.layers) > 1
    assert np.isnan(short.complexity).all()
    np.testing.assert_allclose(whole.complexity, 0, atol=1e-12)


def test_entropy_by_hand() -> None:
    assert entropy(np.array([[[0.0, 1, 0, 1]]], np.float32))[0] == pytest.approx(np.log(2))
    assert entropy(np.ones((1, 4, 4), np.float32))[0] == 0


def test_stability_of_a_map_that_follows_noise_is_low() -> None:
    model, images = patch_classifier(), marked_images()
    drawn = np.random.default_rng(0)
    base = attribution(drawn.normal(size=(12, 4, 4)))
    assert stability(model, images, base, lambda _: base).tolist() == [1.0] * 12
    noise = stability(model, images, base, lambda _: attribution(drawn.normal(size=(12, 4, 4))))
    assert abs(noise.mean()) < 0.3


def test_stability_is_not_defined_where_the_answer_changes() -> None:
    """An image at the boundary: noise that nobody sees decides its class, so no map of it has to stay."""
    model, images = patch_classifier(weight=4000.0), marked_images(marked=False)
    images[..., 0] = 128
    base = attribution(np.random.default_rng(0).normal(size=(12, 4, 4)))
    found = stability(model, images, base, lambda _: base, noise=8.0)
    assert set(found[np.isfinite(found)]) <= {1.0}
    steady = stability(patch_classifier(), marked_images(), base, lambda _: base)
    assert np.isfinite(steady).all()


def agreements(**changes: float) -> dict[str, Agreement]:
    """What is found of one map that is supported, with changes by field, all substrates alike or one by its name."""
    usual = {"gain": 0.6, "others": 0.1, "mean_map": 0.2, "effect": 0.5, "low": 0.4, "high": 0.6, "p_others": 0.01}
    usual |= {"p_permuted": 0.01, "p_below": 1.0, "attainable": 0.7}
    usual |= {"least": 0.0, "least_low": -0.1, "least_high": 0.1}
    found = {}
    for name in ("blur", "imputation"):
        own = {key.removeprefix(f"{name}_"): value for key, value in changes.items() if key.startswith(f"{name}_")}
        shared = {key: value for key, value in changes.items() if key in usual}
        found[name] = Agreement(**{key: np.array([value]) for key, value in {**usual, **shared, **own}.items()})
    return found


def verdict_of(values: np.ndarray | None = None, **changes: object) -> tuple[str, str]:
    residual = changes.pop("residual", None)
    maps = attribution(patch_map(1) if values is None else values, residual=residual)
    steady, sanity = np.array([changes.pop("stability", 0.9)]), changes.pop("sanity", checked(0.1))
    evidence = Evidence(maps, agreements(**changes), steady, sanity)  # type: ignore[arg-type]
    return evidence.verdict(0, float(evidence.p_value[0]), float(evidence.p_below[0]))


def checked(correlation: float) -> SanityCheck:
    curve = np.full((2, 8), correlation)
    return SanityCheck(("head", "stage"), curve, curve, curve, 1, True, np.zeros(8))


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "supported", "tells what matters in this image: its order of cells gains +0.50 (+0.40 to +0.60) by blur"),
        ({"mean_map": 0.7}, "supported", "so does their mean map: what matters lies where it usually does"),
        ({"sanity": None}, "no evidence either way", "the sanity check was not run"),
        (
            {"least": -0.2, "least_high": -0.1},
            "supported",
            "the quarter of cells that it ranks lowest speaks against the class: their effects sum to −0.20 by blur",
        ),
        ({"sanity": checked(0.8)}, "against", "the method fails the sanity check (correlation 0.80"),
        ({"sanity": checked(-0.8)}, "against", "fails the sanity check"),
        ({"p_others": 0.2}, "no evidence either way", "20% of such maps gain as much"),
        ({"blur_p_permuted": 0.06}, "no evidence either way", "6% of random orders of its cells"),
        ({"blur_low": -0.1}, "no evidence either way", "the ways of filling disagree"),
        ({"effect": 0.04, "low": 0.01, "high": 0.2}, "no evidence either way", "not shown to know more"),
        ({"effect": -0.2, "low": -0.4, "high": 0.0, "p_others": 0.9}, "against", "knows no more of this image"),
        (
            {"effect": 0.0, "low": -0.02, "high": 0.02, "p_others": 0.5, "attainable": 0.03},
            "no evidence either way",  # nothing in the image matters, so that no map could be told from another
            "not shown to know more",
        ),
        ({"p_others": 1.0, "p_below": 0.01}, "against", "marks what matters less than other maps do"),
        ({"stability": 0.1}, "no evidence either way", "correlation 0.10 with its map under noise"),
        ({"stability": np.nan}, "no evidence either way", "the answer itself changes under noise"),
        ({"residual": np.array([0.1])}, "supported", "completeness error 10.0%"),
        ({"residual": np.array([0.9])}, "no evidence either way", "its values are no shares of the output"),
        ({"residual": np.array([np.nan])}, "no evidence either way", "completeness is not defined"),
        ({"values": np.zeros((1, 4, 4))}, "against", "the map is constant"),
    ],
)
def test_verdicts_follow_from_the_numbers(changes: dict[str, object], verdict: str, words: str) -> None:
    found = verdict_of(**changes)  # type: ignore[arg-type]
    assert found[0] == verdict
    assert words in found[1]


def test_p_values_are_corrected_over_the_methods_of_an_image() -> None:
    maps = attribution(patch_map(1))
    weak, strong = (Evidence(maps, agreements(p_others=p), np.ones(1), checked(0.1)) for p in (0.04, 0.01))
    (((first, _),), ((second, _),)) = corrected([weak, strong])
    assert (first, second) == (pytest.approx(0.04), pytest.approx(0.02))
    (((alone, _),), *_rest) = corrected([weak, *[Evidence(maps, agreements(p_others=0.5), np.ones(1), None)] * 3])
    assert alone == pytest.approx(0.16)


def test_a_trial_and_its_ranking() -> None:
    bench = Bench(patch_classifier(), marked_images(6), ROWS[:6], Targets(np.ones(6, np.int64)))
    trials = list(try_methods(bench, ["Input x gradient", "LRP", "Integrated gradients"]))
    table = ranking(trials)
    assert sorted(table["method"]) == ["Input x gradient", "Integrated gradients", "LRP"]
    best = table.filter(table["method"] == "Integrated gradients").row(0, named=True)
    assert best["residual"] < 1e-4
    assert best["effect_blur_low"] <= best["effect_blur"] <= best["effect_blur_high"]
    assert best["supported"] + best["no_evidence_either_way"] + best["against"] == pytest.approx(1)
    assert best["supported"] == 0  # the patch is in the same place in all images: maps of others are as good


def test_what_does_not_apply_says_why() -> None:
    c = classifier()
    bench = Bench(c, image_set().pixels[:2], ROWS[:2], Targets(np.zeros(2, np.int64)))
    (trial,) = try_methods(bench, ["LRP"])
    assert trial.evidence is None
    assert "no rule for GroupNorm" in trial.refused
    assert ranking([trial])["does_not_apply"][0] == trial.refused


def test_maps_of_other_images_are_the_controls() -> None:
    """A model that looks at the same place of every image: cells in random order are beaten, other maps are not."""
    model, count = patch_classifier(), 4
    others = Others(marked_images(110, marked=False), 100 + np.arange(110), Targets(np.ones(110, np.int64)))
    bench = Bench(model, marked_images(count), ROWS[:count], Targets(np.ones(count, np.int64)), others=others)
    assert len(bench.reference(bench.maps("Input x gradient")).rows) == count + 110
    trials = list(try_methods(bench, ["Input x gradient"]))
    found = trials[0].evidence
    assert found is not None
    for one in found.agreements.values():
        assert (one.p_permuted <= 0.01).all()
        assert (one.p_others > 0.2).all()
    assert "supported" not in tables(trials)["verdict"].to_list()


def test_evidence_table_has_a_row_a_map() -> None:
    bench = Bench(patch_classifier(), marked_images(3), ROWS[:3], Targets(np.ones(3, np.int64)))
    evidence = evidence_of(bench, "Saliency").evidence
    assert evidence is not None
    table = evidence.table()
    assert table["index"].to_list() == [0, 1, 2]
    assert table["residual"].null_count() == 3
    assert set(table["verdict"]) <= set(VERDICTS)
    assert (table["p_corrected"] >= table["p_value"]).all()
    assert table["deletion_mean_map"].null_count() == 0


def test_intervals_of_few_images_claim_no_certainty() -> None:
    assert np.isnan(paired_interval(np.array([1.0, 1.1, 1.2]))[1:]).all()
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    mean, low, high = paired_interval(values)
    half = 2.776445 * values.std(ddof=1) / np.sqrt(5)  # Student's t, four degrees of freedom
    assert (mean, low, high) == (3, pytest.approx(3 - half), pytest.approx(3 + half))
    drawn = np.random.default_rng(0).normal(size=(2000, 8))
    assert np.mean([paired_interval(one)[1] > 0 for one in drawn]) < 0.035


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


def test_a_variant_of_a_method_promises_what_the_method_promises() -> None:
    maps = attribution(patch_map(1), residual=np.array([3.0]))
    for name, doubted in (("LRP-LN", False), ("LRP-LN:gamma=0.25", False), ("DeepLIFT", True)):
        named = dataclasses.replace(maps, method=name)
        verdict, words = Evidence(named, agreements(), np.array([0.9]), checked(0.1)).verdict(0, 0.01, 1.0)
        assert (verdict == "supported") != doubted
        assert ("no shares of the output" in words) == doubted
