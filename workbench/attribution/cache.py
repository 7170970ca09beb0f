"""Maps on disk: computed once, identified by everything that they depend on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from torch import nn

from workbench.attribution.method import Method
from workbench.attribution.targets import Targets
from workbench.core.files import write_atomically
from workbench.core.records import Attribution, ImageArray, IntArray
from workbench.errors import DataError
from workbench.models.classifier import Classifier
from workbench.models.weights import weights_digest

_KEY, _FORMAT = "key.json", 2


def _structure(module: nn.Module) -> str:
    """SHA-256 of a model's classes and settings, as torch prints them: equal weights may belong to another model."""
    kinds = [f"{type(part).__module__}.{type(part).__qualname__}" for part in module.modules()]
    return hashlib.sha256(f"{module!r}{kinds}".encode()).hexdigest()


@dataclass(frozen=True)
class MapCache:
    """A folder of maps, at most ``limit_bytes`` of them: the least recently read are deleted first.

    An entry is a folder named by the hash of what its maps depend on: the model's structure and the weights in memory,
    its preprocessing, method, settings, layer, precision, libraries and format; it holds one file for each part of the
    rows, named by the hash of their ids, pixels and targets. If any of these changes, no old map is found. Other
    folders in the same place are left alone.
    """

    folder: Path
    limit_bytes: int = 2 * 2**30

    def entry(
        self, classifier: Classifier, method: str, layer: str, settings: Mapping[str, Any], precision: str
    ) -> Entry:
        """The entry for one method at one layer; created when its first part is stored."""
        key = {
            "format": _FORMAT,
            "model": _structure(classifier.module),
            "weights": weights_digest(classifier.module),
            "libraries": {name: version(name) for name in ("torch", "captum", "grad-cam")},
            "mean": list(classifier.mean),
            "std": list(classifier.std),
            "method": method,
            "layer": asdict(classifier.layer(layer)) if layer else None,
            "settings": dict(settings),
            "precision": precision,
        }
        text = json.dumps(key, sort_keys=True, indent=2)
        return Entry(self, self.folder / hashlib.sha256(text.encode()).hexdigest()[:32], text)

    def _parts(self) -> list[tuple[int, int, Path]]:
        """When each part was last read, its bytes and its path; other processes may delete some meanwhile."""
        found = []
        for key in self.folder.glob(f"*/{_KEY}"):
            for path in key.parent.glob("*.npz"):
                with contextlib.suppress(FileNotFoundError):
                    stat = path.stat()
                    found.append((stat.st_mtime_ns, stat.st_size, path))
        return sorted(found)

    def size(self) -> int:
        """Bytes of all parts."""
        return sum(size for _, size, _ in self._parts())

    def shrink(self, keep: Path) -> None:
        """Delete parts, the least recently read first, until the limit holds; ``keep`` stays."""
        parts = self._parts()
        total = sum(size for _, size, _ in parts)
        for _, size, path in parts:
            if total <= self.limit_bytes:
                break
            if path != keep:
                total -= size
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete every entry, and nothing else."""
        for path in self.folder.glob(f"*/{_KEY}"):
            shutil.rmtree(path.parent)


@dataclass(frozen=True)
class Entry:
    """The maps of one method at one layer of one model."""

    cache: MapCache
    folder: Path
    key: str

    def part(self, rows: IntArray, images: ImageArray, targets: Targets) -> Path:
        """Where the maps of these rows are, or would be."""
        digest = hashlib.sha256(images.tobytes())
        for values in (rows, targets.of, np.zeros(0) if targets.against is None else targets.against):
            digest.update(np.ascontiguousarray(values).tobytes() + b"|")
        return self.folder / f"{digest.hexdigest()[:32]}.npz"

    def load(self, path: Path, method: Method, title: str, layer: str) -> Attribution | None:
        """The maps of a part, made by a method with that title at a layer; None if there are none.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        held = self.read(path, ("values", "rows", "targets"))
        if held is None:
            return None
        return Attribution(
            held["values"],
            held["rows"],
            held["targets"],
            method.name,
            layer,
            held.get("residual"),
            held.get("against"),
            method.signed,
            title,
        )

    def read(self, path: Path, names: Sequence[str]) -> dict[str, Any] | None:
        """The arrays of a part by name; None if there is none.

        Raises
        ------
        DataError
            If the file is damaged, or lacks one of ``names``.
        """
        try:
            with np.load(path, allow_pickle=False) as found:
                held = {name: found[name] for name in found.files}
            os.utime(path)
            if missing := [name for name in names if name not in held]:
                raise KeyError(missing[0])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise DataError(f"{path} is damaged ({error}): delete it, and it is regenerated") from error
        return held

    def store(self, path: Path, maps: Attribution) -> None:
        """Store the maps of a part atomically.

        Raises
        ------
        OutputError
            If the disk is full or the folder can't be written.
        """
        arrays: dict[str, Any] = {"values": maps.values, "rows": maps.rows, "targets": maps.targets}
        if maps.residual is not None:
            arrays["residual"] = maps.residual
        if maps.against is not None:
            arrays["against"] = maps.against
        self.write(path, arrays)

    def write(self, path: Path, arrays: Mapping[str, Any]) -> None:
        """Store arrays as a part, atomically; `OutputError` as `store`."""
        if not (self.folder / _KEY).is_file():
            write_atomically(self.folder / _KEY, lambda target: target.write_text(self.key, encoding="utf-8"))

        def save(target: Path) -> None:
            with target.open("wb") as stream:
                np.savez(stream, **arrays)

        write_atomically(path, save)
        self.cache.shrink(path)
