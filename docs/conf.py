"""The site: pages in this folder, API pages from docstrings, notebooks that are run (make docs)."""

import re
import sys
from pathlib import Path
from typing import Any

import hiermodel as hm

sys.path.insert(0, str(Path(__file__).parent))
import api_pages

project = "hiermodel"
version = release = hm.__version__
html_title = "hiermodel"
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
]
exclude_patterns = ["_build", "notes.md", "numbers", "api_pages.py"]
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(__file__).parent / "_build/.jupyter_cache")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
# A notebook that warns fails the build: `make docs` takes warnings for errors.
nb_output_stderr = "warn"

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
napoleon_use_ivar = True


def setup(app: Any) -> None:
    """Docstrings are for readers of source first: what reStructuredText would misread is quoted."""
    app.connect("autodoc-process-docstring", quote_symbols, priority=900)
    app.connect("autodoc-process-signature", plain_signature)


MARKED_UP = re.compile(
    r"(``.*?``|:\w+:`.*?`|`[^`]*`__?|^\s*:.*?:|(?<!\S)\*\*?[^\s*][^*]*[^\s*]\*\*?(?!\w))"
)
"""What in a line means to be reStructuredText."""


def quote_symbols(
    _app: Any, _kind: str, _name: str, _thing: Any, _options: Any, lines: list[str]
) -> None:
    """|a|² is no substitution and *batch no emphasis, but for ``code`` and ``>>>`` examples."""
    in_example = False
    for number, line in enumerate(lines):
        in_example = line.lstrip().startswith((">>>", "...")) or (in_example and bool(line.strip()))
        if in_example:
            continue
        parts = MARKED_UP.split(line)
        lines[number] = "".join(
            part if place % 2 else re.sub(r"([|*])", r"\\\1", part)
            for place, part in enumerate(parts)
        )


def plain_signature(
    _app: Any, _kind: str, _name: str, _thing: Any, _options: Any, signature: str, _returned: str
) -> tuple[str, None] | None:
    """Names and defaults; what is meant by them stands in the text."""
    return (re.sub(r"<object object at 0x\w+>", "…", signature), None) if signature else None


api_pages.write(Path(__file__).with_name("api"))
