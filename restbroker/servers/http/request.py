"""Makes the HTTP request of a job, and of a probe. Pure, but for reading secrets.

Called by the connector. Always holds: arguments that make no valid request are refused before anything is sent; method,
headers and the number of the path's segments come from the configuration alone.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from restbroker.config.target import Target
from restbroker.job.command import Call
from restbroker.job.endpoint import quote
from restbroker.job.json_types import Json
from restbroker.servers.api.request import Headers, authorization, harmless_request
from restbroker.servers.api.table import InvalidArguments
from restbroker.servers.http import signature, template
from restbroker.servers.http.catalogue import Recipe, Settings, header_value, path_value
from restbroker.servers.http.template import Placeholder, Text
from restbroker.servers.loops import VIA
from restbroker.transport.message import Request

_TYPES: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


def build(
    call: Call, recipe: Recipe, target: Target, settings: Settings, signing: Sequence[str], now_s: float
) -> Request:
    """Return the request of this call, signed with each of the secrets in `signing`; `now_s` is in epoch seconds.

    Raise `InvalidArguments` for arguments that make no request, and `ConfigError` for a secret that cannot be used.
    """
    given = _arguments(call, recipe)
    below = template.fill_path(recipe.path, given) if recipe.secret_path is None else path_value(recipe.secret_path)
    path = target.url.path + below
    query = tuple(template.fill_pairs(recipe.query, given))
    body = _body(recipe, given)
    headers = {"content-type": _TYPES[recipe.encoding]} if recipe.encoding in _TYPES else {}
    headers |= {"via": VIA, **dict(_fixed_headers(target, settings))}
    headers |= {name: header_value(secret) for name, secret in recipe.headers.items()}
    own = signature.stable_id(call.identity)
    if recipe.has_key:
        headers["idempotency-key"] = own
    if signing:
        keys = [signature.key_of(secret) for secret in signing]
        headers |= dict(signature.headers(keys, own, int(now_s), body))
    return Request(
        recipe.method,
        path or "/",
        call.timeout_s,
        query=query,
        headers=(*headers.items(), *call.headers),
        body=body,
        repeatable=recipe.spec.repeat == "safe",
    )


def question(target: Target, settings: Settings) -> Request:
    """Return the probe's request; raise `ConfigError` for a secret that cannot be used."""
    method, path = settings.probe or ("HEAD", "")
    headers = tuple(_fixed_headers(target, settings))
    return harmless_request(target, target.url.path + path, headers, method)


def _fixed_headers(target: Target, settings: Settings) -> Headers:
    given = ((name, header_value(secret)) for name, secret in settings.headers.items())
    return (*((name.lower(), value) for name, value in authorization(target.credentials)), *given)


def _arguments(call: Call, recipe: Recipe) -> Mapping[str, Json]:
    given = call.command.arguments
    if call.host is not None and "host" not in given and recipe.spec.argument("host") is not None:
        given = {**given, "host": call.host}
    if not recipe.spec.takes_more:
        for name in given:
            if recipe.spec.argument(name) is None:
                raise InvalidArguments(f"there is an argument {quote(name)}, which the command does not take")
    return given


def _body(recipe: Recipe, given: Mapping[str, Json]) -> bytes:
    parts = recipe.body
    if recipe.spec.takes_more:
        left = (name for name in given if recipe.spec.argument(name) is None)
        parts = {name: Text((Placeholder(name, optional=False),)) for name in left}
    match recipe.encoding, parts:
        case "json", _:
            return _json(template.fill_value(parts, given))
        case "form", Mapping():
            return urlencode(template.fill_pairs(parts, given)).encode("ascii")
        case _:
            return b""


def _json(value: Json) -> bytes:
    try:
        # Not orjson, which refuses integers beyond 64 bits and lone surrogates; both are JSON and pass unchanged.
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except ValueError:
        raise InvalidArguments(
            "an argument contains a number that JSON does not allow (NaN, thousands of digits)"
        ) from None
