"""From values to a page on disk.

Invariants: all text passes the template's escaping, whoever wrote it, and no character reaches the page that could
hide, reorder or cut text; the file is replaced whole or not at all.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pangu_verl import __version__
from pangu_verl.report import wording

# control characters, lone surrogates, direction overrides, byte order marks and non-characters
_UNSHOWABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)


def render(template: str, styles: Sequence[str], **values: Any) -> str:
    """Fill a template of this package; ``styles`` are the style sheets, in order, that it takes in."""
    loader = PackageLoader("pangu_verl.report", ".")
    # the finished page is text and no template: autoescape is on for every expression in it
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup("\n".join(loader.get_source(environment, name)[0] for name in styles))  # our own files
    page = environment.get_template(template).render(style=style, version=__version__, w=wording, **values)
    return showable(page)


def showable(text: str) -> str:
    """The text with a replacement character for each that could hide or reorder others."""
    return _UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def write_page(target: Path, page: str) -> Path:
    """Put a page in its place, whole, and return the place."""
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=".report-", suffix=".html")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(page)
        os.chmod(draft, 0o644)
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise
    return target
