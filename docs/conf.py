"""Settings of the documentation's site; `docs/build.py` builds it."""

import importlib.metadata
from pathlib import Path

project = "Classifier workbench"
author = "the authors of Classifier workbench"
release = importlib.metadata.version("classifier-workbench")
extensions = ["myst_parser", "autoapi.extension", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
myst_heading_anchors = 3
default_role = "code"
napoleon_google_docstring = False
napoleon_use_rtype = False
autoapi_dirs = [str(Path(importlib.import_module(name).__file__).parent) for name in ("workbench", "training")]
autoapi_root = "reference"
autoapi_add_toctree_entry = False
autoapi_keep_files = False
autoapi_options = ["members", "show-module-summary"]
autoapi_member_order = "bysource"
autoapi_ignore = ["*/__main__.py"]
suppress_warnings = ["autoapi.python_import_resolution"]
