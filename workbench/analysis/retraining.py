"""Forecasts of actions that train the network again, from its last layer fitted again on frozen features."""

from __future__ import annotations

import numpy as np

from workbench.analysis.forecasts import ACCURACY, RepairForecast, forecast_of_answers, joined
from workbench.analysis.labels import label_suspects
from workbench.analysis.refit import FrozenFeatures
from workbench.analysis.statistics import paired_interval, sign_test
from workbench.core.predictions import Predictions
from workbench.core.records import FloatArray, IntArray, ProbabilityArray
from workbench.core.rows import positions
from workbench.errors import DataError

SHARES, DRAWS, LEAST_ROWS = (0.25, 0.5), 2, 20


class Forecaster:
    """Forecasts of actions that train the network again, by its last layer fitted again on frozen features.

    A gain is that of the refitted last layer over the one refitted without the action, on the judged rows. Its interval
    joins that of paired proportions (Newcombe 1998) and 1.96 times the noise of training, as those of independent
    sums are joined (Zou & Donner 2008, doi 10.1002/sim.3095). What new features would bring is not in it.

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

    def relabel(self) -> RepairForecast | None:
        """Give the doubtful train labels the classes that a last layer fitted without them names; None without any."""
        judge = Predictions.from_arrays(
            self.train.label, self.features.out_of_fold(), self.train.classes, index=self.train.index
        )
        suspects = label_suspects(judge)
        if not len(suspects):
            return None
        label = self.train.label.copy()
        label[positions(self.train, suspects["index"].to_numpy())] = suspects["suggested"].to_numpy()
        action = f"relabel the {len(suspects):,} doubtful train rows as suggested"
        return self.fixes("relabel", action, label=label)

    def fixes(
        self, kind: str, action: str, *, label: IntArray | None = None, weight: FloatArray | None = None
    ) -> RepairForecast:
        """Other labels or weights ``(N,)`` of the train rows; a weight of 0 leaves a row out."""
        return self._gain(kind, action, self.features.answers(label, weight), self.features.before)

    def more(
        self, kind: str, action: str, rows: IntArray, embedding: ProbabilityArray, label: IntArray
    ) -> RepairForecast:
        """Further rows beside those at the positions ``rows``, such as changed copies of them."""
        before = self.features.answers(rows=rows)
        after = self.features.answers(rows=rows, more=(self.features.of(embedding), label))
        return self._gain(kind, action, after, before)

    def collect(self, number: int, seed: int = 0) -> tuple[RepairForecast, list[float]]:
        """Twice as many train rows of a class: what the last doubling brought; and accuracy with 1/4, 1/2 and all.

        The last layer is fitted with shares of the class's rows, twice each. Learning curves flatten (as power laws:
        Hestness et al. 2017, arXiv 1712.00409), so that the next doubling brings less than the last one, if the
        features stay. Fixed are the rows that no fit with half of them has correct, broken the reverse.

        Raises
        ------
        DataError
            If the class has fewer than 20 train rows.
        """
        mine = np.flatnonzero(self.train.label == number)
        name = self.train.classes[number]
        if len(mine) < LEAST_ROWS:
            raise DataError(f"collect: expected at least {LEAST_ROWS} train rows of {name}, not {len(mine)}")
        generator = np.random.default_rng((seed, number))
        correct = {share: np.zeros(len(self.test)) for share in SHARES}
        for _ in range(DRAWS):
            order = generator.permutation(mine)
            for share in SHARES:
                weight = np.ones(len(self.train))
                weight[order[round(share * len(mine)) :]] = 0
                correct[share] += (self.features.answers(weight=weight) == self.test.label) / DRAWS
        whole = self.features.before == self.test.label
        value, low, high = paired_interval(whole - correct[0.5])
        fixed, broken = whole & (correct[0.5] == 0), ~whole & (correct[0.5] == 1)
        found = RepairForecast(
            "collect",
            f"collect twice as many of {name}",
            ACCURACY,
            value,
            *joined(value, low, high, self.noise),
            f"what the last doubling of its {len(mine):,} train rows brought the last layer on frozen features",
            True,
            self.test.index[fixed],
            self.test.index[broken],
            sign_test(int(fixed.sum()), int(broken.sum())),
        )
        return found, [*(float(correct[share].mean()) for share in SHARES), float(whole.mean())]

    def _gain(self, kind: str, action: str, after: IntArray, before: IntArray) -> RepairForecast:
        basis = "last layer fitted again on frozen features"
        return forecast_of_answers(kind, action, basis, self.test, before, after, noise=self.noise, trains=True)
