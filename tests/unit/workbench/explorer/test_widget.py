"""The widget without a browser: questions in, answers out; state in, view model out, and the other way round."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.factories import classifier, image_set, predictions
from tests.unit.workbench.concepts.planted import planted_run
from workbench.attribution.registry import methods
from workbench.core.records import VERDICTS, ImageArray, ImageSet
from workbench.errors import DataError
from workbench.explorer.widget import Explorer
from workbench.explorer.work import Job, Worker
from workbench.models.predict import predict
from workbench.robustness.kinds import KINDS
from workbench.runs.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    images, model = image_set(60), classifier()
    return Run("tiny", predict(model, images), images, model, folder=tmp_path / "explorer")


class Heard:
    """What an explorer sends, and a way to wait for the answer to a question."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.sent, self.news = explorer, [], threading.Condition()
        explorer.send = self.receive

    def receive(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        with self.news:
            self.sent.append((content, buffers or []))
            self.news.notify_all()

    def ask(self, ask: str, **content: Any) -> tuple[dict[str, Any], list[bytes], list[dict[str, Any]]]:
        number = len(self.sent) + 1000
        self.explorer._received(None, {"id": number, "ask": ask, **content}, None)

        def last() -> bool:
            return any(c["id"] == number and not {"part", "progress"} & set(c) for c, _ in self.sent)

        with self.news:
            assert self.news.wait_for(last, timeout=120)
        mine = [(c, b) for c, b in self.sent if c["id"] == number]
        return (*mine[-1], [c for c, _ in mine[:-1]])


def test_the_start_has_columns_in_parts_and_what_is_possible(run: Run) -> None:
    reply, _, early = Heard(Explorer(run)).ask("start")
    assert {"index", "label", "predicted", "confidence", "loss"} <= {part["part"] for part in early}
    assert [name for name, can in reply["can"].items() if can] == ["images", "maps", "map", "similar"]
    assert [method["name"] for method in reply["methods"]] == list(methods())
    assert [layer["name"] for layer in reply["layers"]] == ["stage1", "stage2", "stage3", "stage4"]
    assert {m["name"] for m in reply["methods"] if m["slow"]} >= {"Score-CAM", "Occlusion"}


def test_a_method_with_settings_is_explained_and_judged_by_its_own_name(run: Run) -> None:
    heard = Heard(Explorer(run))
    reply, _, _ = heard.ask("start")
    known = {method["name"]: method["settings"] for method in reply["methods"]}
    assert known["Saliency"] == []
    assert {"name": "steps", "value": 64, "kind": "int", "least": 1} in known["Integrated gradients"]
    assert {"name": "gamma", "value": 0.0, "kind": "float", "least": 0} in known["LRP-LN"]
    asked = {"row": 0, "layers": [], "targets": ["predicted"]}
    methods = ["LRP-LN", "LRP-LN:gamma=0.25"]
    maps, _, early = heard.ask("explain", methods=methods, second=False, **asked)
    kinds = [one["kind"] for part in (*early, maps) for one in part.get("maps", [])]
    assert kinds == ["LRP-LN", "LRP-LN (gamma 0.25)"]
    refused, _, early = heard.ask("explain", methods=["LRP-LN:gamma=x"], second=False, **asked)
    assert "gamma: expected float, not 'x'" in str(refused)


def test_the_first_paint_comes_with_the_widgets_state(run: Run) -> None:
    explorer = Explorer(run)
    reply, _, early = Heard(explorer).ask("start")
    first = explorer.first
    assert first["start"] == {name: value for name, value in reply.items() if name != "id"}
    assert list(first["columns"]) == [part["part"] for part in early]
    losses = np.frombuffer(first["columns"]["loss"]["data"], first["columns"]["loss"]["dtype"])
    np.testing.assert_array_equal(losses, run.predictions.columns("loss")["loss"].to_numpy())
    shown = first["thumbnails"]
    assert shown["rows"] == explorer.state.rows[: len(shown["rows"])].tolist()
    assert len(shown["data"]) == len(shown["rows"]) * shown["shape"][0] * shown["shape"][1] * 3
    assert Explorer(Run("many", predictions(60_000, classes=3))).first == {}


def test_a_filter_or_lost_images_do_not_hold_up_the_first_paint(run: Run) -> None:
    step = {"kind": "any", "column": "cause", "values": ["unexplained"]}
    filtered = Explorer(run, selection={"steps": [step]})
    assert "thumbnails" not in filtered.first
    assert "findings" not in vars(filtered.state)

    class Lost(ImageSet):
        def image(self, row: int) -> ImageArray:
            raise DataError(f"image {row}: no such file")

    images = run.images
    assert images is not None
    lost = Lost(images.pixels, images.labels, images.classes, images.split, images.digest)
    shown = Explorer(dataclasses.replace(run, images=lost)).first["thumbnails"]
    assert shown["rows"] == []
    assert len(shown["missing"]) > 0


def test_decisions_since_the_widget_was_made_are_asked_for(run: Run) -> None:
    explorer = Explorer(run)
    heard = Heard(explorer)
    heard.ask("decide", rows=[3], add=["ambiguous"])
    assert explorer.first["start"]["decisions"] == {}
    assert heard.ask("decisions")[0]["decisions"]["3"]["tags"] == ["ambiguous"]


def test_findings_come_with_a_column_each(run: Run) -> None:
    reply, buffers, _ = Heard(Explorer(run)).ask("findings")
    assert set(reply["columns"]) == {"cause", "explained by no finding", *(card["column"] for card in reply["cards"])}
    assert len(buffers) == len(reply["columns"])
    assert all(
        len(buffer) == 60 * np.dtype(c["dtype"]).itemsize
        for buffer, c in zip(buffers, reply["columns"].values(), strict=True)
    )
    assert reply["errors"] == run.predictions.error_count
    assert any("votes" in line for line in reply["missing"])


def test_large_columns_go_in_messages_of_at_most_4_mb() -> None:
    heard = Heard(Explorer(Run("many", predictions(600_000, classes=3))))
    heard.ask("start")
    sizes = [sum(map(len, buffers)) for content, buffers in heard.sent if "part" in content]
    assert max(sizes) <= 4 * 2**20
    losses = [b[0] for c, b in heard.sent if c.get("part") == "loss"]
    assert len(losses) == 2
    assert len(b"".join(losses)) == 8 * 600_000


def test_the_state_follows_the_view_and_the_view_the_state(run: Run) -> None:
    explorer = Explorer(run)
    explorer.set_state({"selection": {**explorer.selection, "wrong_only": False, "order": "index"}})
    assert explorer.state.query.order == "index"
    assert len(explorer.state.rows) == 60
    explorer.state.select_cell(1, 2)
    assert explorer.selection["steps"] == [{"kind": "cells", "cells": [[1, 2]]}]


def test_thumbnails_are_the_pixels(run: Run) -> None:
    reply, (data,), _ = Heard(Explorer(run)).ask("thumbnails", rows=[3, 5, 10_000])
    assert (reply["rows"], reply["missing"], reply["shape"]) == ([3, 5], [10_000], [32, 32])
    assert (np.frombuffer(data, np.uint8).reshape(2, 32, 32, 3) == run.images.pixels[[3, 5]]).all()  # type: ignore[union-attr]


def test_photographs_come_as_large_as_they_are_shown(run: Run) -> None:
    large = np.repeat(np.repeat(run.images.stack(run.images.rows[:60]), 7, 1), 7, 2)  # type: ignore[union-attr]
    photographs = dataclasses.replace(run, images=dataclasses.replace(run.images, pixels=large), classifier=None)
    heard = Heard(Explorer(photographs))
    for side in (64, 128, 256):
        reply, _, _ = heard.ask("thumbnails", rows=[3], side=side)
        assert reply["shape"] == [min(side, 224)] * 2
    assert "expected one of (64, 128, 256)" in heard.ask("thumbnails", rows=[3], side=100)[0]["error"]
    assert "at most 125 thumbnails" in heard.ask("thumbnails", rows=[0] * 126, side=256)[0]["error"]


def test_beside_each_image_the_most_similar_correct_ones(run: Run) -> None:
    predictions = run.predictions
    wrong = predictions.index[~predictions.correct][:3]
    reply, _, _ = Heard(Explorer(run)).ask("counterparts", rows=wrong.tolist())
    unit = predictions.embedding / np.linalg.norm(predictions.embedding, axis=1, keepdims=True)  # type: ignore[operator]
    seen = 0
    for pair in reply["pairs"]:
        place = predictions.position(pair["row"])
        for side, wanted in (("true", predictions.label[place]), ("predicted", predictions.predicted[place])):
            there = [k for k in range(60) if predictions.correct[k] and predictions.label[k] == wanted]
            if not there:
                assert pair[side] is None
                continue
            seen += 1
            best = max(there, key=lambda k: float(unit[k] @ unit[place]))
            assert pair[side]["row"] == predictions.index[best]
            assert pair[side]["similarity"] == pytest.approx(float(unit[best] @ unit[place]), abs=1e-4)
    assert seen


def test_what_a_selection_shares_is_tested_on_images_that_did_not_find_it(run: Run) -> None:
    heard = Heard(Explorer(run))
    wrong = run.predictions.index[~run.predictions.correct]
    reply, (mean, region), early = heard.ask("group", rows=wrong[:30].tolist())
    assert early[0]["progress"]
    assert reply["title"] == "the predicted rather than the true class"
    assert (len(mean) // 4, len(region)) == (np.prod(reply["grid"]), reply["side"] ** 2)
    assert np.frombuffer(region, np.uint8).mean() == pytest.approx(0.15, abs=0.01)
    assert reply["sentences"][0].startswith("Mean of 15 ")
    assert "at least 10 images, not 4" in heard.ask("group", rows=wrong[:4].tolist())[0]["error"]


def test_the_concepts_of_a_confusion_come_with_an_account_that_adds_up() -> None:
    heard = Heard(Explorer(planted_run()))
    reply, (strengths,), early = heard.ask("concepts", pair=["plain", "marked"], rows=[])
    assert "plain predicted as marked" in early[0]["progress"]
    assert reply["sentence"].startswith("marked leads plain by ")
    assert reply["beside"] == "in correct images of plain"
    first = reply["lines"][0]
    assert first["mean_low"] < first["mean"] < first["mean_high"]
    assert first["needed"]
    assert len(strengths) == 4 * len(reply["lines"]) * len(first["rows"]) * np.prod(reply["grid"])
    assert "two classes" in heard.ask("concepts", pair=["plain", "plain"], rows=[])[0]["error"]


def test_the_concepts_of_a_selection_have_patches() -> None:
    run = planted_run()
    heard = Heard(Explorer(run))
    reply, _, _ = heard.ask("concepts", pair=[], rows=run.predictions.index[:40].tolist())
    assert reply["group"] == "40 images"
    assert reply["beside"] == ""
    assert reply["sentence"].startswith("the predicted class leads the next by ")
    patches = np.array([line["patches"] for line in reply["lines"]])
    assert patches.shape == (6, 6, 4)
    assert (patches[..., 2:] == 0.5).all()
    assert "at least 10 rows" in heard.ask("concepts", pair=[], rows=[1, 2])[0]["error"]


def test_detail_has_probabilities_and_the_image(run: Run) -> None:
    reply, (image,), _ = Heard(Explorer(run)).ask("detail", row=7)
    assert [bar["value"] for bar in reply["bars"]] == pytest.approx(run.predictions.probability[7])
    assert image == run.images.image(7).tobytes()  # type: ignore[union-attr]


def test_maps_are_raw_values(run: Run) -> None:
    row = int(run.predictions.index[~run.predictions.correct][0])
    what = {"row": row, "methods": ["Grad-CAM", "Saliency"], "layers": [], "targets": ["predicted", "true"]}
    heard = Heard(Explorer(run))
    reply, buffers, early = heard.ask("explain", **what, second=False)
    (part,) = early  # the first method's maps come before the second's are made
    assert [m["grid"] for m in part["maps"] + reply["maps"]] == [[4, 4], [4, 4], [32, 32], [32, 32]]
    buffers = [*heard.sent[0][1], *buffers]
    assert [len(b) for b in buffers] == [64, 64, 4096, 4096]
    assert all(np.isfinite(np.frombuffer(b, np.float32)).all() for b in buffers)


def test_slow_methods_say_what_they_cost_first(run: Run) -> None:
    what = {"row": 0, "methods": ["Occlusion"], "layers": [], "targets": ["true"]}
    reply, buffers, early = Heard(Explorer(run)).ask("explain", **what, second=False)
    assert early[0]["progress"].startswith("Occlusion: about ")
    assert len(reply["maps"]) == len(buffers) == 1


def test_evidence_arrives_map_by_map(run: Run) -> None:
    row = int(run.predictions.index[~run.predictions.correct][0])
    what = {"row": row, "methods": ["Grad-CAM"], "layers": [], "targets": ["predicted", "true"]}
    reply, _, early = Heard(Explorer(run)).ask("evidence", **what)
    assert {said["place"] for said in early} == {0, 1}
    assert all(said["verdict"] in VERDICTS for said in early)
    assert "error" not in reply


def test_tags_are_saved_and_undone(run: Run) -> None:
    heard = Heard(Explorer(run))
    reply, _, _ = heard.ask("decide", rows=[1, 2], add=["ambiguous"])
    assert (set(reply["changed"]), reply["unsaved"]) == ({"1", "2"}, "")
    again, _, _ = Heard(Explorer(run)).ask("start")
    assert again["decisions"]["1"]["tags"] == ["ambiguous"]
    reply, _, _ = heard.ask("undo")
    assert reply["changed"] == {"1": None, "2": None}


def test_failures_are_answers(run: Run) -> None:
    heard = Heard(Explorer(run))
    reply, _, _ = heard.ask("dance")
    assert "expected one of start" in reply["error"]
    reply, _, _ = heard.ask("explain", row=0, methods=["Magic"], layers=[], targets=["true"], second=False)
    assert "Magic" in reply["error"]
    reply, _, _ = heard.ask("figure", view="poem", format="png")
    assert "expected one of matrix" in reply["error"]
    reply, _, _ = heard.ask("detail", line=7)  # a fault of the views is told with its traceback
    assert "Traceback" in reply["trace"]


MAPS = {"methods": ["Grad-CAM"] * 30, "layers": ["stage4"] * 30, "targets": ["true"] * 100}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"id": 7}, "expected one of start"),
        ({"id": 7, "ask": None}, "expected one of start"),
        ({"id": 7, "ask": ["start"]}, "expected one of start"),
        ([1, 2], "expected one of start"),
        ("start", "expected one of start"),
        (None, "expected one of start"),
        ({"id": 7, "ask": "explain"}, "missing"),
        ({"id": 7, "ask": "explain", "row": 0, "second": False, **MAPS}, "at most 500 maps of an image, not 90,000"),
        ({"id": 7, "ask": "explain", "methods": "Grad-CAM"}, "methods: expected a list"),
        ({"id": 7, "ask": "evidence", "row": 0, **MAPS}, "at most 500 maps"),
        ({"id": 7, "ask": "thumbnails", "rows": [0] * 5_000}, "at most 2,000 thumbnails"),
        ({"id": 7, "ask": "decide", "rows": [0] * 1_000_001, "add": ["ignore"]}, "at most 1,000,000"),
    ],
)
def test_a_malformed_message_is_answered_at_once(run: Run, content: Any, said: str) -> None:
    heard = Heard(Explorer(run))
    heard.explorer._received(None, content, None)
    ((reply, _),) = heard.sent
    assert said in reply["error"]
    assert reply["id"] == (7 if isinstance(content, dict) else None)


def test_fixes_are_offered_for_rows_of_the_train_split_alone(run: Run) -> None:
    assert run.predictions.provenance.split == "test"
    assert Heard(Explorer(run)).ask("start")[0]["can"]["fixes"] is False
    train = dataclasses.replace(image_set(60), split="train")
    shown = Run("train", predict(run.classifier, train), train, run.classifier)  # type: ignore[arg-type]
    assert Heard(Explorer(shown)).ask("start")[0]["can"]["fixes"] is True


def test_bare_predictions_have_numbers_only() -> None:
    reply, _, _ = Heard(Explorer(Run("bare", predictions(50)))).ask("start")
    assert not any(reply["can"].values())
    assert reply["kept"] is False


def test_two_models_are_explained_side_by_side(run: Run) -> None:
    model = classifier(seed=1)
    other = Run("other", predict(model, run.images), run.images, model)  # type: ignore[arg-type]
    heard = Heard(Explorer(run, compared=other))
    what = {"row": 0, "methods": ["Grad-CAM"], "layers": [], "targets": ["true"], "second": True}
    reply, (second,), (part,) = heard.ask("explain", **what)
    assert [m["model"] for m in part["maps"] + reply["maps"]] == ["", "other"]
    assert heard.sent[0][1][0] != second
    detail, _, _ = heard.ask("detail", row=0)
    assert [bar["value"] for bar in detail["compared"]] == pytest.approx(other.predictions.probability[0])


def test_a_new_job_of_a_name_stops_the_older_one() -> None:
    worker, started, reports = Worker(), threading.Event(), []
    done = threading.Event()

    def first(job: Job) -> tuple[dict[str, Any], list[bytes]]:
        started.set()
        assert job.stopped.wait(30)
        return {"never": "shown"}, []

    def report(name: str):  # type: ignore[no-untyped-def]
        def tell(reply: dict[str, Any], _: list[bytes]) -> None:
            reports.append((name, reply))
            if name == "second":
                done.set()

        return tell

    worker.start(Job("map", first, report("first")))
    assert started.wait(30)
    worker.start(Job("map", lambda job: ({"ok": 1}, []), report("second")))
    assert done.wait(30)
    assert reports == [("first", {"stopped": True}), ("second", {"ok": 1})]


def test_a_failing_job_tells_and_the_worker_goes_on() -> None:
    worker, told, reports = Worker(), threading.Semaphore(0), []

    def report(reply: dict[str, Any], _: list[bytes]) -> None:
        reports.append(reply)
        told.release()

    worker.start(Job("a", lambda job: 1 / 0, report))  # type: ignore[arg-type, return-value]
    worker.start(Job("b", lambda job: ({"fine": True}, []), report))
    assert told.acquire(timeout=30)
    assert told.acquire(timeout=30)
    assert "ZeroDivisionError" in reports[0]["error"]
    assert "Traceback" in reports[0]["trace"]
    assert reports[1] == {"fine": True}


def test_a_selection_is_saved_as_a_cohort_and_removed(run: Run) -> None:
    explorer = Explorer(run)
    heard = Heard(explorer)
    wrong = run.predictions.index[~run.predictions.correct]
    selection = {**explorer.selection, "steps": []}
    reply, buffers, _ = heard.ask("save_cohort", name="errors", words="all", selection=selection)
    (cohort,) = reply["cohorts"]
    assert (cohort["cohort"], cohort["rows"], cohort["errors"]) == ("errors", len(wrong), len(wrong))
    assert list(reply["columns"]) == ["cohort: errors"]
    assert len(buffers) == 1
    picked = [int(row) for row in run.predictions.index[:3]]
    reply, _, _ = heard.ask("save_cohort", name="three", words="", selection={**selection, "picked": picked})
    assert [one["rows"] for one in reply["cohorts"]] == [len(wrong), 3]
    reply, _, _ = heard.ask("save_cohort", name="three", words="", selection=selection)
    assert "exists already" in reply["error"]
    reply, _, _ = heard.ask("remove_cohort", name="errors")
    assert list(reply["columns"]) == ["cohort: three"]
    assert [one["cohort"] for one in heard.ask("cohorts")[0]["cohorts"]] == ["three"]


def test_similar_images_are_the_nearest_of_all_others(run: Run) -> None:
    embedding = run.predictions.embedding.astype(np.float64)
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    place = 7
    alike = unit @ unit[place]
    alike[place] = -2
    reply, _, _ = Heard(Explorer(run)).ask("similar", row=int(run.predictions.index[place]))
    assert reply["rows"] == run.predictions.index[np.argsort(-alike, kind="stable")[:24]].tolist()
    assert reply["similarity"] == pytest.approx(np.sort(alike)[::-1][:24], abs=1e-3)
    bare = Run("bare", predictions(20))
    assert "expected embeddings" in Heard(Explorer(bare)).ask("similar", row=0)[0]["error"]


def test_another_person_s_decisions_are_read_when_they_are_asked_for(run: Run) -> None:
    mine, other = Explorer(run), Explorer(run)
    row = int(run.predictions.index[0])
    other.state.decisions.change([row], add=["ambiguous"])
    assert Heard(mine).ask("decisions")[0]["decisions"][str(row)]["tags"] == ["ambiguous"]


class _Bright(nn.Module):
    """Ant if an image is brighter than most, else bee."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        more = x.mean((1, 2, 3)) + 0.6
        return torch.stack([more, -more, torch.full_like(more, -9.0)], 1)


def test_the_smallest_changes_give_the_answers_they_are_said_to(run: Run) -> None:
    model = dataclasses.replace(classifier(), module=_Bright(), embedding_layer=None, cam_layers={})
    run = dataclasses.replace(run, classifier=model, predictions=predict(model, image_set(60)))
    heard, row = Heard(Explorer(run)), int(run.predictions.confidence.argmin())
    reply, _, _ = heard.ask("flips", row=row)
    assert [one["kind"] for one in reply["flips"]] == list(KINDS)
    before = run.predictions.predicted[row]
    flipped = [one for one in reply["flips"] if "change" in one]
    assert flipped
    for one in flipped:
        after, _, _ = heard.ask("what_if", row=row, change=one["change"], methods=[], layers=[], maps=False)
        assert max(after["bars"], key=lambda bar: bar["value"])["class"] == one["answer"] != before
    alone = Explorer(dataclasses.replace(run, classifier=None))
    refused, _, _ = Heard(alone).ask("flips", row=row)
    assert "the model is not on this machine" in refused["error"]
