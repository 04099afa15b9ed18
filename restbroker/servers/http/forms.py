"""The forms of values that only the options of `http` have: statuses, secrets, headers.

Used by `options`. Always holds: as in `config.values`.
"""

import re
from collections.abc import Mapping
from typing import Final

from restbroker.config.kinds import ListOf, MapOf, Scalar
from restbroker.config.values import BadValue, is_plain, json_or_text, text
from restbroker.job.json_types import Json

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
COMMAND: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,63}", re.ASCII)
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
_NAME: Final = re.compile(r"[^\s{}\ud800-\udfff]{1,100}")
_CLASS: Final = re.compile(r"([2-5])xx")
_WHERE: Final[dict[str, Json]] = {
    "type": "object",
    "properties": {"File": {"type": "string"}, "Env": {"type": "string"}},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}


def statuses() -> ListOf:
    """Statuses of answers, as ranges."""
    schema: dict[str, Json] = {"anyOf": [{"type": "integer"}, {"enum": ["2xx", "3xx", "4xx", "5xx"]}]}
    item = Scalar("status", schema, _status, json_or_text)
    return ListOf("list of statuses", item, 'a list of statuses such as [200, 202] or ["2xx", 404]')


def _status(value: Json) -> range:
    if isinstance(value, int) and not isinstance(value, bool) and 200 <= value <= 599:
        return range(value, value + 1)
    if isinstance(value, str) and (found := _CLASS.fullmatch(value)):
        first = int(found[1]) * 100
        return range(first, first + 100)
    raise BadValue('a status from 200 to 599, or a class such as "2xx"', value)


def secret() -> Scalar:
    """A text, or where it is: `{"File": …}`, `{"Env": …}`."""
    schema: dict[str, Json] = {"anyOf": [{"type": "string"}, _WHERE]}
    return Scalar("text, `File` or `Env`", schema, _secret, json_or_text)


def _secret(value: Json) -> str | tuple[str, str]:
    if isinstance(value, Mapping) and len(value) == 1:
        ((where, named),) = value.items()
        if where in ("File", "Env") and isinstance(named, str) and named and is_plain(named):
            return where, named
    elif isinstance(value, str) and is_plain(value):
        return value
    raise BadValue('a text without line breaks, {"File": "its path"} or {"Env": "its variable"}', value)


def secrets() -> ListOf:
    """Several of these."""
    return ListOf("list of `File` or `Env`", secret(), 'a list of secrets such as [{"File": "/run/credentials/hook"}]')


def headers() -> MapOf:
    """Headers of requests."""
    return MapOf("secrets by header", secret(), _HEADER, "a header's name")


def query() -> MapOf:
    """Templates of a query's items."""
    return MapOf("templates by name", text(), _NAME, "a name without blanks and braces")
