"""Forecasts of actions that train the network again, from its last layer fitted again on frozen features."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from workbench.analysis.forecasts import (
    ACCURACY,
    RepairForecast,
    check_rows,
    forecast_of_answers,
    joint_limits,
    mean_interval,
    normal_p_value,
)
from workbench.analysis.labels import label_suspects
from workbench.analysis.refit import FrozenFeatures
from workbench.analysis.statistics import sign_test
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray, ProbabilityArray
from workbench.core.rows import positions
from workbench.errors import DataError

SHARES, DRAWS, LEAST_ROWS = (0.25, 0.5), 2, 20


class Forecaster:
    """Forecasts of actions that train the network again, by its last layer fitted again on frozen features.

    A gain is that of the refitted last layer over the one refitted without the action, on the judged rows. Its interval
    joins that of paired proportions (Newcombe 1998) and 1.96 times the noise of training, as those of independent
    sums are joined (Zou & Donner 2008, doi 10.1002/sim.3095). What new features would bring is not in it, and what
    these features learnt from the rows stays: a forecast, not a bound.

    Parameters
    ----------
    test, train : Predictions
        With embeddings, of the same model and classes.
    noise : float
        As of `training_noise`.
    """

    def __init__(self, test: Predictions, train: Predictions, noise: float) -> None:
        self.test, self.train, self.noise = test, train, noise
        self.features = FrozenFeatures(test, train)

    @cached_property
    def suggested(self) -> IntArray:
        """Labels of the train rows, int64 ``(N,)``: the doubtful ones as a last layer fitted without them names them.

        The features were learnt with these labels; what the network memorised is not doubtful to it.

        Raises
        ------
        DataError
            If no train row is doubtful, or a class has fewer than five.
        """
        judge = Predictions.from_arrays(
            self.train.label, self.features.out_of_fold(), self.train.classes, index=self.train.index
        )
        suspects = label_suspects(judge)
        if not len(suspects):
            raise DataError("relabel: no train row is doubtful to last layers that were fitted without it")
        label = self.train.label.copy()
        label[positions(self.train, suspects["index"].to_numpy())] = suspects["suggested"].to_numpy()
        return np.asarray(label, np.int64)

    def relabel(self) -> RepairForecast:
        """Give the doubtful train rows the labels that are `suggested`; errors as there."""
        count = int((self.suggested != self.train.label).sum())
        rows = "train row" if count == 1 else "train rows"
        return self.fixes("relabel", f"relabel the {count:,} doubtful {rows} as suggested", label=self.suggested)

    def fixes(
        self, kind: str, action: str, *, label: IntArray | None = None, weight: FloatArray | None = None
    ) -> RepairForecast:
        """Other labels or weights ``(N,)`` of the train rows; a weight of 0 leaves a row out."""
        return self._gain(kind, action, self.features.answers(label, weight))

    def more(
        self, kind: str, action: str, embedding: ProbabilityArray, label: IntArray, weight: float = 1.0
    ) -> RepairForecast:
        """Further rows, such as changed copies of train rows, each of a weight."""
        further = self.features.of(embedding), label, np.full(len(label), weight)
        return self._gain(kind, action, self.features.answers(more=further))

    def collect(self, number: int, seed: int = 0) -> tuple[RepairForecast, list[float]]:
        """Twice as many train rows of a class: half of what the last doubling brought; and accuracy with 1/4, 1/2, all.

        The last layer is fitted with shares of the class's rows, twice each. Their weights make up for the rows left
        out, so that the class keeps its share of the loss: with that share alone accuracy moves, too, and in which
        direction depends on the shares among the judged rows. That the next doubling brings half of the last is an
        assumption: the excess error falls as one over the number of rows, as the excess log loss of a fit by maximum
        likelihood does (van der Vaart 1998, chapter 5). The upper limit is that of the last, as if the curve did not
        flatten. Which rows would be corrected is not known: no fit has the new ones. The p-value is the sign test
        of the rows that no fit with half of the class's rows has correct against those that all of them have.

        Raises
        ------
        DataError
            If the class has fewer than 20 train rows, or there are fewer than 50 judged rows.
        """
        mine = np.flatnonzero(self.train.label == number)
        name = self.train.classes[number]
        check_rows("collect", self.test)
        if len(mine) < LEAST_ROWS:
            raise DataError(f"collect: expected at least {LEAST_ROWS} train rows of {name}, not {len(mine)}")
        generator = np.random.default_rng((seed, number))
        correct = {share: np.zeros(len(self.test)) for share in SHARES}
        for _ in range(DRAWS):
            order = generator.permutation(mine)
            for share in SHARES:
                count = round(share * len(mine))
                weight = np.ones(len(self.train))
                weight[order[:count]], weight[order[count:]] = len(mine) / count, 0
                correct[share] += (self.features.answers(weight=weight) == self.test.label) / DRAWS
        whole = self.features.before == self.test.label
        value, low, high = mean_interval(whole - correct[0.5])
        value, low = value / 2, min(low, low / 2)
        low, high = joint_limits(value, low, high, self.noise)
        fixed, broken = whole & (correct[0.5] == 0), ~whole & (correct[0.5] == 1)
        tested, nothing = sign_test(int(fixed.sum()), int(broken.sum())), np.zeros(0, np.int64)
        what = f"half of what the last doubling of its {len(mine):,} train rows brought, its share of the loss held"
        found = RepairForecast(
            "collect",
            f"collect twice as many of {name}",
            ACCURACY,
            value,
            low,
            high,
            f"{what}: {self._basis}",
            True,
            nothing,
            nothing,
            max(tested, normal_p_value(value, low, high)) if self.noise else tested,
            f'"label" = {number}',
        )
        return found, [*(float(correct[share].mean()) for share in SHARES), float(whole.mean())]

    @property
    def _basis(self) -> str:
        agreement = f"which agrees with the model on {self.features.agreement:.1%} of these rows"
        return f"the last layer alone, fitted again on frozen features ({agreement})"

    def _gain(self, kind: str, action: str, after: IntArray) -> RepairForecast:
        before = self.features.before
        return forecast_of_answers(kind, action, self._basis, self.test, before, after, noise=self.noise, trains=True)
