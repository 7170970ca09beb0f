"""What is known about one image: its pixels, probabilities, human labels, history and nearest train images."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from workbench.analysis.dynamics import history_of, read_histories
from workbench.analysis.influence import influence
from workbench.analysis.neighbours import nearest, unit
from workbench.core.predictions import Predictions
from workbench.core.records import ImageArray, ImageSet, ProbabilityArray
from workbench.errors import DataError
from workbench.explorer.replies import THUMBNAIL, Reply, bars_of
from workbench.explorer.state import ExplorerState
from workbench.images import render
from workbench.runs.origins import has_train, train_of

LARGEST = 512
NEAREST, SIMILAR = 6, 24
MOST_COMPARED = 200_000  # rows among which similar images are looked for


class Details:
    """Answers to questions about one image of a state."""

    def __init__(self, state: ExplorerState) -> None:
        self.state = state

    def reply(self, row: int) -> Reply:
        """What is known about one image: its pixels, probabilities, votes, history and nearest train images."""
        state, predictions = self.state, self.state.run.predictions
        place = predictions.position(row)
        wanted = [
            name for name in ("votes", "embedding" if state.run.train is not None else "") if name in self.columns
        ]
        one = predictions.table.select("probability", *wanted).slice(place, 1).collect(engine="streaming")
        votes = one["votes"].to_numpy()[0] if "votes" in one.columns else None
        label = int(predictions.label[place])
        reply: dict[str, Any] = {
            "row": row,
            "bars": bars_of(predictions.classes, one["probability"].to_numpy()[0], votes, label),
            "history": None if self.histories is None else history_of(self.histories, row),
            "nearest": [],
        }
        if state.compared is not None:
            other = state.compared.predictions
            after = (
                other.table.select("probability").slice(other.position(row), 1).collect()["probability"].to_numpy()[0]
            )
            reply["compared"] = bars_of(predictions.classes, after, None, label)
        buffers = []
        if state.run.images is not None:
            try:
                whole = state.run.images.image(row)
                # maps are drawn over the image as the model sees it; without a model a large image is sent reduced
                model = state.run.classifier
                image = render.thumbnail(whole, LARGEST) if model is None else model.seen(state.run.images).image(row)
            except DataError as error:  # the rest of the answer is still useful
                reply["problem"] = str(error)
            else:
                reply["shape"], reply["whole"] = list(image.shape[:2]), list(whole.shape[:2])
                buffers.append(np.ascontiguousarray(image).tobytes())
        if state.run.train is not None:
            reply["nearest"], pictures = self._nearest(one["embedding"].to_numpy())
            buffers += pictures
        return reply, buffers

    @property
    def can_compare(self) -> bool:
        """Whether there are embeddings of few enough rows to compare an image with all of them at once."""
        return "embedding" in self.columns and len(self.state.run.predictions) <= MOST_COMPARED

    @property
    def can_trace(self) -> bool:
        """Whether there are train rows with features, with the run or beside its checkpoint."""
        return "embedding" in self.columns and has_train(self.state.run)

    def similar(self, row: int) -> Reply:
        """The images of this run whose embeddings are most like one's, by cosine similarity, most similar first.

        Raises
        ------
        DataError
            If there are no embeddings, or too many rows.
        """
        predictions = self.state.run.predictions
        if not self.can_compare:
            raise DataError(
                f"similar images: expected embeddings of at most {MOST_COMPARED:,} rows: predict with a model of this "
                "machine, which keeps them"
            )
        place = predictions.position(row)
        found = nearest(self._own[place : place + 1], self._own, SIMILAR + 1)
        pairs = zip(found.places[0].tolist(), found.similarity[0].tolist(), strict=True)
        others = [(at, alike) for at, alike in pairs if at != place][:SIMILAR]
        return {
            "rows": [int(predictions.index[at]) for at, _ in others],
            "similarity": [round(alike, 4) for _, alike in others],
        }, []

    def counterparts(self, rows: list[int]) -> Reply:
        """For each row the most similar correct images of its true and of its predicted class, other than itself.

        By cosine similarity of the embeddings; an entry is None where a class has no other correct row.

        Raises
        ------
        DataError
            If there are no embeddings, or too many rows.
        """
        if not self.can_compare:
            raise DataError(f"similar images: expected embeddings of at most {MOST_COMPARED:,} rows")
        predictions = self.state.run.predictions
        found = []
        for row in rows[:SIMILAR]:
            place = predictions.position(row)
            sides = {"true": predictions.label[place], "predicted": predictions.predicted[place]}
            found.append({"row": row, **{side: self._like(place, int(wanted)) for side, wanted in sides.items()}})
        return {"pairs": found}, []

    def _like(self, place: int, wanted: int) -> dict[str, Any] | None:
        predictions = self.state.run.predictions
        there = np.flatnonzero(predictions.correct & (predictions.label == wanted))
        there = there[there != place]
        if not len(there):
            return None
        alike = self._own[there] @ self._own[place]
        best = int(alike.argmax())
        return {"row": int(predictions.index[there[best]]), "similarity": round(float(alike[best]), 4)}

    @cached_property
    def _own(self) -> ProbabilityArray:
        """The run's embeddings, of length 1."""
        embedding = self.state.run.predictions.embedding
        if embedding is None:
            raise DataError("similar images: these predictions have no embeddings")
        return unit(embedding)

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns of the run's table."""
        return self.state.run.predictions.table.collect_schema().names()

    @cached_property
    def histories(self) -> pl.DataFrame | None:
        """The training histories of the run's rows, if they were recorded; reading them takes a moment."""
        run = self.state.run
        if run.checkpoint is None or run.predictions.provenance.split is None:
            return None
        return read_histories(run.checkpoint / "dynamics.parquet", run.predictions.provenance.split)

    @cached_property
    def _reference(self) -> ProbabilityArray | None:
        train = self.state.run.train
        return None if train is None or train.embedding is None else unit(train.embedding)

    def _nearest(self, embedding: ProbabilityArray) -> tuple[list[dict[str, Any]], list[bytes]]:
        train, images = self.state.run.train, self.state.run.train_images
        if train is None or self._reference is None:
            return [], []
        found = nearest(unit(embedding), self._reference, NEAREST)
        rows = train.index[found.places[0]]
        labels = train.label[found.places[0]]
        said = [
            {"row": int(row), "label": train.classes[label], "similarity": float(alike)}
            for row, label, alike in zip(rows, labels, found.similarity[0], strict=True)
        ]
        return said, self._pictures(said, images)

    def origins(self, row: int) -> Reply:
        """The train images that speak most for the answer to a misclassified row, and most against it.

        Raises
        ------
        DataError
            As `runs.origins.origins`.
        """
        found = influence(self.state.run.predictions, self._train[0], np.array([row]), top=NEAREST)
        sides = {
            "for": (found.speaks_for[0], found.for_scores[0]),
            "against": (found.speaks_against[0], found.against_scores[0]),
        }
        images = self._train[1]
        said = {
            side: [self._train_row(int(one), float(score)) for one, score in zip(rows, scores, strict=True)]
            for side, (rows, scores) in sides.items()
        }
        classes = self.state.run.predictions.classes
        reply: dict[str, Any] = {**said, "of": classes[int(found.of[0])], "over": classes[int(found.over[0])]}
        return reply, self._pictures([*said["for"], *said["against"]], images)

    def _train_row(self, row: int, score: float) -> dict[str, Any]:
        train = self._train[0]
        place = train.position(row)
        label, predicted = (train.classes[int(column[place])] for column in (train.label, train.predicted))
        return {"row": row, "label": label, "predicted": predicted, "score": score}

    @cached_property
    def _train(self) -> tuple[Predictions, ImageSet | None]:
        return train_of(self.state.run)

    @staticmethod
    def _pictures(said: list[dict[str, Any]], images: ImageSet | None) -> list[bytes]:
        """Small pictures of train rows, one after another; each row is told its shape, or why there is none."""
        if images is None:
            return []
        there: list[ImageArray] = []
        for one in said:
            try:
                there.append(images.image(one["row"]))
            except DataError as error:  # reported in place of the picture
                one["problem"] = str(error)
        pictures = render.thumbnails(there, THUMBNAIL)
        for one in said:
            if "problem" not in one:
                one["shape"] = list(pictures.shape[1:3])
        return [pictures.tobytes()] if there else []
