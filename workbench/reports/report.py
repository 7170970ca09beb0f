"""A report: every section of the registry, in one bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workbench.core.files import refuse_to_overwrite
from workbench.reports.bundle import MANIFEST, Bundle, write_bundle
from workbench.reports.material import Material
from workbench.reports.sections import SECTIONS


def write_report(
    material: Material,
    out: Path,
    *,
    documents: Mapping[str, Callable[[], str]] | None = None,
    command: Sequence[str] = (),
    only: str | None = None,
    force: bool = False,
    sections: Sequence[str] | None = None,
) -> list[str]:
    """Write the bundle into ``out``.

    Figures as PNG and SVG, tables as CSV (the index of errors as Parquet too), ``metrics.json``, and ``manifest.json``,
    which records the hashes of checkpoint, data and every file. Which files are written depends on the material: see
    the sections in `sections.SECTIONS`.

    Parameters
    ----------
    material : Material
        What `material.join` returned.
    out : Path
        Folder for the bundle; an older bundle in it is replaced with ``force``.
    documents : mapping of file name to function
        Further documents: each function returns the text of its file.
    command : sequence of str
        Recorded in the manifest, so that ``verify`` can regenerate the bundle.
    only : str, optional
        The only file to write.
    sections : sequence of str, optional
        The names of the sections to write; by default all.

    Returns
    -------
    list of str
        One line for each thing omitted, with the reason.

    Raises
    ------
    OutputError
        If ``out`` holds a bundle and ``force`` is off, the disk is full or the folder can't be written.
    DataError
        If the second model or the groups do not fit the predictions.
    """
    refuse_to_overwrite([out / MANIFEST], force)
    bundle = Bundle()
    for name in SECTIONS if sections is None else sections:
        bundle.add(SECTIONS[name].make(material))
    write_bundle(bundle, material.run, out, documents=documents or {}, command=command, only=only)
    return bundle.omitted
