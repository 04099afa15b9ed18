"""Secrets in a text that has a structure of its own, by their names: members of GraphQL and the like, XML, data forms.

`rules.redact` asks for the texts among a job's arguments; JSON it reads by itself. Always holds: nothing here raises,
and the time grows with the length alone, whatever the text is.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from html import escape, unescape
from itertools import chain
from typing import Final
from urllib.parse import unquote_plus

from restbroker.rules.hiding import SECRET_NAME

PRIVATE: Final = "text-private"
"""The type of a data form's field that is a password (XEP-0004), whatever the field is called."""
# `password: "x"`, `password='x'`, `password: $name`, and `$password: String = "x"`; in JSON that is cut or within more
# text, `"password": "x"`.
_ASSIGNED: Final = re.compile(
    r"""(?<![\w-])([\w-]+)["']?\s*[:=]\s*(?:[\w!\[\]]++\s*=\s*)?"""
    r"""("{3}(?s:.*?)"{3}|"[^"\\]*+(?:\\.[^"\\]*+)*+"|'[^'<>]*'|\$\w+)"""
)
# `password=x` of a query or a form, and a line of its own as of YAML and of heads: `password: x`. Each is looked for in
# the whole text, since one may hold the other: `Location: /x?password=x`, `https://h/x?password=x`.
_UNQUOTED: Final = (
    re.compile(r"""(?m)(?:(?<=[?&;\s])|^)([\w-]+)=([^\s&;"'<>$]+)"""),
    re.compile(r"""(?m)^[ \t]*+([\w-]+):[ \t]*+([^\s"'<>${}\[\],][^\n]*)$"""),
)
_TAG: Final = re.compile(r"<(/?)([\w.:-]+)([^<>]*)>([^<]*)")
_ATTRIBUTE: Final = re.compile(r"""(?<![\w-])(var|type)\s*=\s*(["'])([^"'<>]*)\2""")
_CDATA: Final = "<![CDATA["


def may_hold_secrets(text: str) -> bool:
    """Whether to look closer: hardly any text has a secret's name in it."""
    return SECRET_NAME.search(text.lower()) is not None or PRIVATE in text


def secrets_in(text: str) -> Iterator[str]:
    """The values in a text whose names say that they are secret."""
    yield from _assigned(text)
    if "<" in text:
        yield from _in_xml(_without_cdata(text))
    if "&quot;" in text or "&#" in text:
        # JSON within XML.
        yield from _assigned(unescape(text))


def variables_in(text: str) -> frozenset[str]:
    """The names of the variables that a GraphQL document gives as something secret: `p` of `password: $p`."""
    assigned = _ASSIGNED.findall(text) if "$" in text else ()
    return frozenset(value[1:] for name, value in assigned if value[0] == "$" and SECRET_NAME.search(name.lower()))


def _assigned(text: str) -> Iterator[str]:
    seen: set[str] = set()
    for found in _ASSIGNED.finditer(text):
        name, value = found.groups()
        if value not in seen and value[0] != "$" and SECRET_NAME.search(name.lower()):
            seen.add(value)
            yield from _readings(value)
    for found in chain.from_iterable(pattern.finditer(text) for pattern in _UNQUOTED):
        name, value = found[1], found[2].strip()
        if value not in seen and SECRET_NAME.search(name.lower()):
            seen.add(value)
            yield value
            yield unquote_plus(value)
            # Of `Bearer x`.
            yield value.rpartition(" ")[2]


def _readings(quoted: str) -> Iterator[str]:
    """What stands between the quotes, and what it means, as a text of JSON or of XML."""
    plain = quoted[3:-3] if quoted.startswith('"""') else quoted[1:-1]
    yield plain
    yield unescape(plain)
    with contextlib.suppress(ValueError):
        yield str(json.loads(f'"{plain}"'))


def _in_xml(text: str) -> Iterator[str]:
    """The texts of elements with a secret's name, also of those within them, and of a form's private fields."""
    is_private, inside = False, ""
    for found in _TAG.finditer(text):
        closing, name, attributes, behind = found.groups()
        local = name.rpartition(":")[2].lower()
        if local == "field":
            is_private = not closing and _is_private(attributes)
        if closing and local == inside:
            inside = ""
        elif not (closing or inside or attributes.endswith("/")) and SECRET_NAME.search(local):
            inside = local
        if behind.strip() and not closing and (inside or (is_private and local == "value")):
            yield behind
            yield unescape(behind)


def _is_private(attributes: str) -> bool:
    return any(
        SECRET_NAME.search(value.lower()) if name == "var" else value == PRIVATE
        for name, _, value in _ATTRIBUTE.findall(attributes)
    )


def _without_cdata(text: str) -> str:
    first, *others = text.split(_CDATA)
    sections = (other.partition("]]>") for other in others)
    return first + "".join(f"{escape(inside)}{behind}" for inside, _, behind in sections)
