"""How the documentation is built; see ``make docs``."""

import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for the extension ``commands``

_project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]

project = "acclimate"
author = "the acclimate authors"
copyright = "the acclimate authors"  # noqa: A001 - Sphinx wants this name
release = version = _project["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "commands"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"acclimate {release}"
html_static_path = ["_static"]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Attributes are described once, in the docstring of their class.
napoleon_use_ivar = True


def _formulas(*event) -> None:
    """An indented block after a blank line is a formula: it keeps its line breaks, bars and stars."""
    lines = event[-1]
    out: list[str] = []
    for i, line in enumerate(lines):
        indented = line.startswith("    ") and i > 0 and not lines[i - 1].strip()
        before = next((text for text in reversed(lines[:i]) if text.strip()), "")
        if indented and before and not before.startswith((" ", "-", "*")):
            out += ["::", ""]
        out.append(line)
    lines[:] = out


def setup(app) -> None:
    """Called by Sphinx. Formulas are marked before napoleon rewrites the sections."""
    app.connect("autodoc-process-docstring", _formulas, priority=400)
