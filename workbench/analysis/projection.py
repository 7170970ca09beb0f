"""A two-dimensional layout of a run's embeddings, for display."""

from __future__ import annotations

import hashlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from workbench.core.files import write_atomically
from workbench.core.records import ProbabilityArray
from workbench.errors import DataError

NEIGHBOURS_UP_TO = 30_000
COMPONENTS = 50


def principal(embedding: ProbabilityArray, *, components: int = 2, seed: int = 0) -> ProbabilityArray:
    """The embeddings ``(N, D)`` along their first principal components, float32 ``(N, components)``.

    Components are those of at most 50,000 rows drawn without replacement (Hotelling 1933, doi 10.1037/h0071325).
    The sign of each is that of the skewness of its coordinates, so that the picture does not flip.

    Raises
    ------
    DataError
        If there are fewer than two rows or columns, or a value is not finite.
    """
    values = np.asarray(embedding, np.float32)
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise DataError(f"embedding map: expected a finite matrix of two rows and columns or more, not {values.shape}")
    count = min(components, *values.shape)
    rows = np.random.default_rng(seed).choice(len(values), min(len(values), 50_000), replace=False)
    middle = values[rows].mean(0)
    centred = values[rows] - middle
    _, vectors = np.linalg.eigh(centred.T @ centred)
    placed = (values - middle) @ vectors[:, ::-1][:, :count]
    skew = np.sign((placed**3).sum(0))
    return np.asarray(placed * np.where(skew == 0, 1, skew), np.float32)


def neighbours(embedding: ProbabilityArray, *, seed: int = 0) -> ProbabilityArray:
    """The embeddings ``(N, D)`` laid out so that near rows stay near, float32 ``(N, 2)``: t-SNE by scikit-learn.

    It uses the first 50 principal components of rows of length 1 and is initialised with the first two of them (van der
    Maaten & Hinton 2008; Kobak & Berens 2019, doi 10.1038/s41467-019-13056-x). Distances between distant groups are
    meaningless.

    Raises
    ------
    DataError
        As `principal`; or if there are more than 30,000 rows, for which it would take too long, or fewer than 10.
    """
    from sklearn.manifold import TSNE

    from workbench.analysis.neighbours import unit

    if not 10 <= len(embedding) <= NEIGHBOURS_UP_TO:
        raise DataError(f"neighbour layout: expected 10 to {NEIGHBOURS_UP_TO:,} rows, not {len(embedding):,}")
    compact = principal(unit(embedding), components=COMPONENTS, seed=seed)
    model = TSNE(init="pca", perplexity=min(30, (len(compact) - 1) / 3), random_state=seed, n_jobs=-1)
    return np.asarray(model.fit_transform(compact), np.float32)


def read_layout(path: Path, digest: str) -> ProbabilityArray | None:
    """The layout in ``path`` if it was computed from embeddings with this digest, else None.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as found:
            return np.asarray(found["points"], np.float32) if str(found["digest"]) == digest else None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} is damaged ({error}): delete it, and it is regenerated") from error


def write_layout(path: Path, digest: str, points: ProbabilityArray) -> None:
    """Write a layout with the digest of its embeddings atomically; `OutputError` as in `write_atomically`."""

    def save(target: Path) -> None:
        with target.open("wb") as stream:
            np.savez(stream, points=points, digest=np.array(digest))

    write_atomically(path, save)


def digest(embedding: ProbabilityArray) -> str:
    """SHA-256 of embeddings ``(N, D)`` float32, as 64 hexadecimal digits."""
    found = hashlib.sha256(repr(embedding.shape).encode())
    found.update(np.ascontiguousarray(embedding).data)
    return found.hexdigest()
