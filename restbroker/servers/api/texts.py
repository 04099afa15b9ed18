"""Checks whether XML can hold a text, parses the JSON of an answer and of a catalogue, and finds the heading of a page.

The requests, the judges and the catalogues of several kinds use it. Always holds: no text makes anything here raise;
little is loaded, since a shell command that pushes one job reads a catalogue.
"""

import re
import tomllib
import zlib
from pathlib import Path
from typing import Any, Final

import orjson

from restbroker.job.json_types import Json

NO_XML: Final = "a control character or half of one, which XML does not allow"
"""What a value has that XML cannot hold, as part of a sentence."""
_NO_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

_PAGE_LIMIT: Final = 4096
"""How many characters of a page are searched."""
_HEADING: Final = re.compile(r"<(?:h1|title)\b[^<>]*>([^<]*)<", re.IGNORECASE)
_GZIP: Final = 31
"""The number by which zlib knows gzip's format."""
_TAG: Final = re.compile(r"<[^>]*>")


def fits_xml(value: Json) -> bool:
    """Tell whether all texts in the value can stand in XML."""
    if isinstance(value, str):
        # What can be printed has none of them, which is known sooner.
        return value.isprintable() or _NO_XML.search(value) is None
    match value:
        case list():
            return all(fits_xml(inner) for inner in value)
        case dict():
            return all(fits_xml(key) and fits_xml(inner) for key, inner in value.items())
        case _:
            return True


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
    return unescape(found[1] if found else _TAG.sub(" ", page)).strip()


def read_catalogue(module: str) -> Any:  # noqa: ANN401  each catalogue has its own shape
    """Return the JSON of `catalogue.json.gz` beside the Python file `module`."""
    return orjson.loads(zlib.decompress(Path(module).with_name("catalogue.json.gz").read_bytes(), _GZIP))


def read_toml(module: str, name: str) -> dict[str, Any]:
    """Return the TOML of the file `name` beside the Python file `module`."""
    return tomllib.loads(Path(module).with_name(name).read_text("utf-8"))
