"""Templates of paths, queries and bodies: `{name}` stands for an argument of the job. Pure.

Parsed when the configuration is loaded, filled for each job. Always holds: no argument changes a template's structure:
a path keeps its segments, a JSON text stays one value. A text that is `{name}` alone becomes the argument's value, of
any type; within a longer text, the argument must be a text, number or boolean. `{name?}` may be missing: then the
member or query item around it is left out. `{{` and `}}` are braces.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, TypeAlias
from urllib.parse import quote, unquote

from restbroker.job.endpoint import kind_of
from restbroker.job.json_types import Json
from restbroker.job.rubyjson import MAX_NESTING
from restbroker.job.template import BadTemplate, Placeholder, TemplateText, parse_text
from restbroker.servers.api.table import InvalidArguments

_UNFIT_IN_PATH: Final = re.compile(r"[/\\\x00-\x1f\x7f]")
_LITERAL: Final = "-._~!$&'()*+,;=:@%"

Template: TypeAlias = None | bool | int | float | TemplateText | tuple["Template", ...] | Mapping[str, "Template"]
"""A JSON value whose texts are templates."""
Path: TypeAlias = tuple[TemplateText, ...]
"""The segments of a path."""


class _AbsentValue:
    """Stands for an optional argument that the job does not give."""


_ABSENT: Final = _AbsentValue()


def parse_value(value: Json, depth: int = 1) -> Template:
    """Return the template in a JSON value; raise `BadTemplate` if it is broken."""
    if depth > MAX_NESTING:
        raise BadTemplate(f"is nested more than {MAX_NESTING} levels deep.")
    match value:
        case str():
            return parse_text(value)
        case Mapping():
            if any("{" in name or "}" in name for name in value):
                raise BadTemplate("has a brace in a member's name; only values are filled in.")
            return {name: parse_value(inner, depth + 1) for name, inner in value.items()}
        case list() | tuple():
            return tuple(parse_value(inner, depth + 1) for inner in value)
        case None | bool() | int() | float():
            return value
        case _:
            raise BadTemplate("is not JSON.")


def parse_path(text: str) -> Path:
    """Return the template of a path that is appended to the target's URL, with or without first slash; "" adds nothing.

    Raise `BadTemplate` if it is broken.
    """
    if not text:
        return ()
    segments = tuple(parse_text(segment) for segment in text.removeprefix("/").split("/"))
    for place, segment in enumerate(segments):
        if found := re.search(r"[?#\\\s]", _literal(segment)):
            raise BadTemplate(f"has {found[0]!r}, which does not belong in a path; a query goes into Query.")
        is_last = place == len(segments) - 1
        if any(placeholder.optional for placeholder in segment.placeholders):
            raise BadTemplate("has an optional argument; a path needs all its arguments.")
        if not segment.placeholders and _is_nothing(unquote(_literal(segment))) and not (is_last and not segment.parts):
            raise BadTemplate("has a part that is empty or only dots.")
    return segments


def names_in(template: Template | Path) -> Iterator[tuple[str, bool]]:
    """Yield every argument in the template, and whether it may be missing there."""
    match template:
        case TemplateText():
            yield from ((placeholder.name, placeholder.optional) for placeholder in template.placeholders)
        case Mapping():
            for inner in template.values():
                yield from names_in(inner)
        case tuple():
            for inner in template:
                yield from names_in(inner)
        case _:
            pass


def fill_path(path: Path, arguments: Mapping[str, Json]) -> str:
    """Return the path, encoded, from its first slash on; "" for an empty one. Raise `InvalidArguments`."""
    return "".join("/" + _fill_segment(segment, arguments) for segment in path)


def fill_pairs(templates: Mapping[str, Template], arguments: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Return names and texts, as in a query or form; a list gives its name several times. Raise `InvalidArguments`."""
    return pairs_of({name: _fill(template, arguments) for name, template in templates.items()})


def pairs_of(values: Mapping[str, Json | _AbsentValue]) -> list[tuple[str, str]]:
    """Return names and texts of values that are filled in, as `fill_pairs` does."""
    return [(name, text) for name, value in values.items() for text in _texts(name, value)]


def fill_value(template: Template, arguments: Mapping[str, Json]) -> Json:
    """Return the JSON value; None if all of it is an argument that may be missing, and is. Raise `InvalidArguments`."""
    filled = _fill(template, arguments)
    return None if isinstance(filled, _AbsentValue) else filled


def text_of(name: str, value: Json) -> str:
    """Return a value as it stands in a path, query or longer text; raise `InvalidArguments` if it has no such form."""
    match value:
        case str():
            text = value
        case bool() | int() | float():
            try:
                text = json.dumps(value)
            except ValueError:
                raise InvalidArguments(f'the argument "{name}" has thousands of digits') from None
        case _:
            raise InvalidArguments(
                f'the argument "{name}" is {kind_of(value)}, where a string, a number or a boolean is needed'
            )
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidArguments(f'the argument "{name}" has half of a character (a lone surrogate)')
    return text


def _fill_segment(segment: TemplateText, arguments: Mapping[str, Json]) -> str:
    encoded, plain = "", ""
    for part in segment.parts:
        if isinstance(part, str):
            encoded += _quoted(part)
            plain += unquote(part)
            continue
        text = text_of(part.name, _value(part, arguments))
        if _UNFIT_IN_PATH.search(text):
            raise InvalidArguments(
                f'the argument "{part.name}" has a slash or a control character, which a part of the path cannot have'
            )
        encoded += quote(text, safe="")
        plain += text
    if segment.placeholders and _is_nothing(plain):
        shown = " and ".join(f'"{placeholder.name}"' for placeholder in segment.placeholders)
        raise InvalidArguments(f"the argument {shown} makes a part of the path that is empty or only dots")
    return encoded


@lru_cache(maxsize=1000)
def _quoted(literal: str) -> str:
    return quote(literal, safe=_LITERAL)


def _is_nothing(segment: str) -> bool:
    """Tell whether a server may take the segment for none, for the one before it, or for no change of place."""
    return not segment.strip(" .")


def _literal(text: TemplateText) -> str:
    return "".join(part for part in text.parts if isinstance(part, str))


def _value(placeholder: Placeholder, arguments: Mapping[str, Json]) -> Json:
    if placeholder.name not in arguments:
        raise InvalidArguments(f'the argument "{placeholder.name}" is missing')
    return arguments[placeholder.name]


def _fill(template: Template, arguments: Mapping[str, Json]) -> Json | _AbsentValue:
    match template:
        case TemplateText():
            return _filled_text(template, arguments)
        case Mapping():
            members = {name: _fill(inner, arguments) for name, inner in template.items()}
            return {name: inner for name, inner in members.items() if not isinstance(inner, _AbsentValue)}
        case tuple():
            items = [_fill(inner, arguments) for inner in template]
            return [inner for inner in items if not isinstance(inner, _AbsentValue)]
        case _:
            return template


def _filled_text(text: TemplateText, arguments: Mapping[str, Json]) -> Json | _AbsentValue:
    for placeholder in text.placeholders:
        if placeholder.optional and placeholder.name not in arguments:
            return _ABSENT
    if text.whole is not None:
        return _value(text.whole, arguments)
    return "".join(
        part if isinstance(part, str) else text_of(part.name, _value(part, arguments)) for part in text.parts
    )


def _texts(name: str, value: Json | _AbsentValue) -> list[str]:
    match value:
        case _AbsentValue() | None:
            return []
        case list() | tuple():
            return [text_of(name, inner) for inner in value]
        case _:
            return [text_of(name, value)]
