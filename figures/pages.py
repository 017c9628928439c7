"""Pages that open anywhere: Jinja templates, and how numbers and files stand in them.

A page loads nothing from elsewhere: style, pictures and tables are inside it.
"""

import base64
import csv
import functools
import json
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from experiments.words import interval_text, number_text

TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, folder: Path, **values: Any) -> str:
    """A page from its template.

    Args:
        template: its name in ``templates``.
        folder: where files lie that the page holds or names.
        values: what the template speaks of.
    """
    filters = {
        "number": number_text,
        "pretty": functools.partial(json.dumps, indent=2, ensure_ascii=False),
        "data_uri": lambda name: data_uri((folder / name).read_bytes(), name),
        "csv_rows": lambda name: list(csv.reader((folder / name).read_text().splitlines())),
        "files": _files,
    }
    return environment(filters).get_template(template).render(values)


def environment(filters: Mapping[str, Any], *, escape: bool = True) -> jinja2.Environment:
    """What all templates can do, with further filters."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"interval": interval, **filters}
    return made


def data_uri(content: bytes, name: str) -> str:
    """Content as an address that holds it; ``name`` says by its ending what it is."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def interval(numbers: Mapping[str, Any], digits: int = 3) -> str:
    """``estimate [low, high]`` of what has these three fields."""
    return interval_text(*(numbers[name] for name in ("estimate", "low", "high")), digits=digits)


def _files(figure: Mapping[str, Any]) -> list[str]:
    """Files that a figure comes with."""
    pictures = [picture[kind] for picture in figure["pictures"] for kind in ("pdf", "png")]
    return [*pictures, *figure["data"], *figure["tables"]]
