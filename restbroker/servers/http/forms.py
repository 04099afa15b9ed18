"""The forms of values that only the options of `http` have: statuses, secrets, headers.

Used by `options`. Always holds: as in `config.form`.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

from restbroker.config.form import Form, Items, Names
from restbroker.config.values import BadValue, is_plain
from restbroker.job.json_types import Json

Method: TypeAlias = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
COMMAND: Final = r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,63}"
_HEADER: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}"
_NAME: Final = r"[^\s{}\ud800-\udfff]{1,100}"
_CLASS: Final = re.compile(r"([2-5])xx")
_WHERE: Final[dict[str, Json]] = {
    "type": "object",
    "properties": {"File": {"type": "string"}, "Env": {"type": "string"}},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}


def _status(value: Json) -> range:
    if isinstance(value, int) and not isinstance(value, bool) and 200 <= value <= 599:
        return range(value, value + 1)
    if isinstance(value, str) and (found := _CLASS.fullmatch(value)):
        first = int(found[1]) * 100
        return range(first, first + 100)
    raise BadValue('a status from 200 to 599, or a class such as "2xx"', value)


def _secret(value: Json) -> str | tuple[str, str]:
    if isinstance(value, Mapping) and len(value) == 1:
        ((where, named),) = value.items()
        if where in ("File", "Env") and isinstance(named, str) and named and is_plain(named):
            return where, named
    elif isinstance(value, str) and is_plain(value):
        return value
    raise BadValue('a string without line breaks, {"File": "its path"} or {"Env": "its variable"}', value)


Statuses: TypeAlias = Annotated[
    tuple[range, ...],
    Items(
        "list of statuses",
        'a list of statuses such as [200, 202] or ["2xx", 404]',
        Form("status", {"anyOf": [{"type": "integer"}, {"enum": ["2xx", "3xx", "4xx", "5xx"]}]}, _status),
    ),
]
WrittenSecret: TypeAlias = Annotated[
    str | tuple[str, str], Form("string, `File` or `Env`", {"anyOf": [{"type": "string"}, _WHERE]}, _secret)
]
"""A secret as it is written: its text, or where it is ("File" or "Env") and the name of that."""
Secrets: TypeAlias = Annotated[
    tuple[WrittenSecret, ...],
    Items("list of `File` or `Env`", 'a list of secrets such as [{"File": "/run/credentials/hook"}]'),
]
Headers: TypeAlias = Annotated[Mapping[str, WrittenSecret], Names("secrets by header", _HEADER, "a header's name")]
Query: TypeAlias = Annotated[Mapping[str, str], Names("templates by name", _NAME, "a name without blanks and braces")]
