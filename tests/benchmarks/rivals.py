"""Slices found by other tools on the planted scenarios, beside ours: all are given the same columns and embedding.

``python -m tests.benchmarks.rivals [--seeds 20] [--domino CHECKOUT]`` in an environment that also has sliceguard and
cleanlab with Datalab; Domino is not packaged for current versions of Python, so that its mixture model is read from a
checkout. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import types
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import workbench
from tests.benchmarks.planted import MAKERS, Mask, Planted
from workbench.analysis.pictures import descriptor

SCENARIOS, SHOWN = ("camera", "dark_class", "nothing"), 5
OWN = ("camera", "hour", "exposure")
Slices = list[Mask]


def embedding_of(planted: Planted) -> NDArray[np.float32]:
    """The descriptor of colour and texture that our slices are clustered by, float32 ``(N, 176)``."""
    assert planted.run.images is not None
    return np.array([descriptor(image) for image in planted.run.images.pixels], np.float32)


def ours(planted: Planted, _: NDArray[np.float32]) -> Slices:
    """Findings about groups of rows, most costly first."""
    found = workbench.findings(planted.run)
    return [_mask(planted, finding.rows) for finding in found.of("slices", "quality")]


def sliceguard(planted: Planted, embedding: NDArray[np.float32]) -> Slices:
    """sliceguard with its defaults on own columns, label and embedding, largest drop times support first."""
    predictions = planted.run.predictions
    frame = predictions.columns(*OWN).to_pandas()
    frame["image"], frame["label"], frame["predicted"] = "", predictions.label, predictions.predicted
    issues = (
        import_module("sliceguard")
        .SliceGuard()
        .find_issues(
            frame,
            [*OWN, "label", "image"],
            "label",
            "predicted",
            lambda label, predicted: float((label == predicted).mean()),
            metric_mode="max",
            criterion="drop*support",
            feature_types={
                "image": "raw",
                "camera": "nominal",
                "label": "nominal",
                "hour": "numerical",
                "exposure": "numerical",
            },
            precomputed_embeddings={"image": embedding},
        )
    )
    return [_mask(planted, np.asarray(issue["indices"])) for issue in issues]


def datalab(planted: Planted, embedding: NDArray[np.float32]) -> Slices:
    """The underperforming group of cleanlab's Datalab: one cluster at most."""
    predictions = planted.run.predictions
    lab = import_module("cleanlab").Datalab({"label": predictions.label}, label_name="label", verbosity=0)
    probability = predictions.columns("probability")["probability"].to_numpy()
    lab.find_issues(
        features=_whole(planted, embedding), pred_probs=probability, issue_types={"underperforming_group": {}}
    )
    return [rows] if (rows := lab.get_issues()["is_underperforming_group_issue"].to_numpy()).any() else []


def domino(planted: Planted, embedding: NDArray[np.float32]) -> Slices:
    """Domino's error-aware mixture: 25 components, those first whose labels and predictions differ most."""
    from sklearn.decomposition import PCA

    mixture = import_module("mixture._generalized")
    predictions = planted.run.predictions
    probability = predictions.columns("probability")["probability"].to_numpy()
    variables = [
        mixture.GaussianVariable(name="embeddings", weight=1, covariance_type="diag"),
        mixture.CategoricalVariable(name="targets", weight=10),
        mixture.CategoricalVariable(name="pred_probs", weight=10),
    ]
    model = mixture.GeneralizedMixture(25, init_params="kmeans", variables=variables, random_state=0, max_iter=100)
    given = {
        "embeddings": PCA(min(128, embedding.shape[1]), random_state=0).fit_transform(_whole(planted, embedding)),
        "targets": predictions.label,
        "pred_probs": probability,
    }
    model.fit(**given)
    nearest = model.predict_proba(**given).argmax(1)
    order = (-np.abs(model.variables[2].probs - model.variables[1].probs).max(1)).argsort()
    return [nearest == component for component in order]


def _whole(planted: Planted, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """The embedding beside the own columns, each of the same spread."""
    own = pd.get_dummies(planted.run.predictions.columns(*OWN).to_pandas()).to_numpy(np.float32)
    return np.hstack([(part - part.mean(0)) / (part.std(0) + 1e-6) / part.shape[1] ** 0.5 for part in (own, embedding)])


def _mask(planted: Planted, rows: NDArray[np.int64]) -> Mask:
    return np.isin(planted.run.predictions.index, rows)


def _overlap(found: Mask, planted: Mask) -> float:
    return float((found & planted).sum() / max(1, (found | planted).sum()))


def measure(find: Callable[[Planted, NDArray[np.float32]], Slices], seeds: int) -> dict[str, float]:
    """``found``: a slice among the first five shares at least half of all rows with what was planted (Jaccard).

    ``first``: the first one does; ``listed``: slices in a run where nothing is wrong; ``false``: runs with any.
    """
    result: dict[str, float] = {}
    started = time.perf_counter()
    for name in SCENARIOS:
        overlaps, listed = [], []
        for seed in range(seeds):
            planted = MAKERS[name](seed)
            slices = find(planted, embedding_of(planted))
            listed.append(len(slices))
            overlaps.append([_overlap(one, planted.rows) for one in slices[:SHOWN]] or [0.0])
        if name == "nothing":
            result |= {"listed": float(np.mean(listed)), "false": float(np.mean(np.array(listed) > 0))}
        else:
            result[f"{name}_found"] = float(np.mean([max(each) >= 0.5 for each in overlaps]))
            result[f"{name}_first"] = float(np.mean([each[0] >= 0.5 for each in overlaps]))
            result[f"{name}_overlap"] = float(np.mean([max(each) for each in overlaps]))
    return {**result, "seconds": (time.perf_counter() - started) / seeds / len(SCENARIOS)}


def main() -> None:
    """Print a line a tool, and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="runs of each scenario")
    parser.add_argument("--domino", type=Path, help="a checkout of Domino")
    options = parser.parse_args()
    tools: dict[str, Any] = {"workbench": ours, "sliceguard": sliceguard, "datalab": datalab}
    if options.domino is not None:
        package = types.ModuleType("mixture")  # its own __init__ needs packages that the mixture does not
        package.__path__ = [str(options.domino / "domino" / "_slice" / "mixture")]
        sys.modules["mixture"] = package
        vars(np).setdefault("infty", np.inf)  # a name that it uses and NumPy 2 has dropped
        tools["domino"] = domino
    results = {}
    for name, find in tools.items():
        results[name] = measure(find, options.seeds)
        print(name, {key: round(value, 3) for key, value in results[name].items()}, flush=True)
    print(json.dumps({"seeds": options.seeds, **results}))


if __name__ == "__main__":
    main()
