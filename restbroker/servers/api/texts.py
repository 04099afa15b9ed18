"""Parses the JSON of an answer and of a catalogue, and finds the heading of a page.

The judges and the catalogues of several kinds use it. Always holds: no text makes anything here raise;
little is loaded, since a shell command that pushes one job reads a catalogue.
"""

import re
import tomllib
import zlib
from pathlib import Path
from typing import Any, Final

import orjson

from restbroker.job.json_types import Json

_PAGE_LIMIT: Final = 4096
"""How many characters of a page are searched."""
_HEADING: Final = re.compile(r"<(?:h1|title)\b[^<>]*>([^<]*)<", re.IGNORECASE)
_GZIP: Final = 31
"""The number by which zlib knows gzip's format."""
_TAG: Final = re.compile(r"<[^>]*(>?)")


def parse_json(body: bytes | str) -> Json:
    """Return the body as JSON; None if it is empty or no JSON."""
    if not body:  # as most are
        return None
    try:
        found: Json = orjson.loads(body)
    except ValueError:
        return None
    return found


def page_heading(text: str) -> str:
    """Return the title of a page of HTML, or what is in it without its tags; a text that is no page as it is."""
    if not text.lstrip().startswith("<"):
        return text
    from html import unescape  # its table of names is large, and few servers answer with a page

    page = text[:_PAGE_LIMIT]
    found = _HEADING.search(page)
    return unescape(found[1] if found else _TAG.sub(lambda tag: " " if tag[1] else tag[0], page)).strip()


def read_catalogue(module: str) -> Any:  # noqa: ANN401  each catalogue has its own shape
    """Return the JSON of `catalogue.json.gz` beside the Python file `module`."""
    return orjson.loads(zlib.decompress(Path(module).with_name("catalogue.json.gz").read_bytes(), _GZIP))


def read_toml(module: str, name: str) -> dict[str, Any]:
    """Return the TOML of the file `name` beside the Python file `module`."""
    return tomllib.loads(Path(module).with_name(name).read_text("utf-8"))
