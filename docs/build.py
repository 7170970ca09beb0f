"""Build the documentation's site: ``python docs/build.py OUT`` writes guides, reference and gallery.

A link that leads nowhere, or a figure function without a picture, fails the build.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

DOCS = Path(__file__).resolve().parent


def main(out: Path) -> int:
    """Write the site into ``out``; 0 if nothing is missing."""
    sys.path.insert(0, str(DOCS))
    from gallery import write_gallery

    source = out.with_name(f"{out.name}-source")
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("build.py", "gallery.py", "__pycache__"))
    write_gallery(source / "gallery")
    return int(build_main(["--fail-on-warning", "--keep-going", "--quiet", "-b", "html", str(source), str(out)]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
