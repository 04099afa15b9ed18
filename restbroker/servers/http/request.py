"""Makes the HTTP request of a job, and of a probe. Pure, but for reading secrets.

Called by the connector. Always holds: arguments that make no valid request are refused before anything is sent; method,
headers and the number of the path's segments come from the configuration alone.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from restbroker.config.target import Target
from restbroker.job.command import Call
from restbroker.job.endpoint import quote
from restbroker.job.json_types import Json
from restbroker.servers.api.request import Headers, authorization, harmless_request, kept
from restbroker.servers.api.table import InvalidArguments
from restbroker.servers.http import signature, template
from restbroker.servers.http.catalogue import HttpSettings, Recipe, header_value, path_value
from restbroker.servers.loops import VIA
from restbroker.transport.message import Request

_TYPES: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


def build(
    call: Call, recipe: Recipe, target: Target, headers: Headers, signing: Sequence[str], now_s: float
) -> Request:
    """Return the request of this call, signed with each of the secrets in `signing`; `now_s` is in epoch seconds.

    `headers`: those of `headers_of`.

    Raise `InvalidArguments` for arguments that make no request, and `ConfigError` for a secret that cannot be used.
    """
    given = _arguments(call, recipe)
    below = template.fill_path(recipe.path, given) if recipe.secret_path is None else path_value(recipe.secret_path)
    path = target.url.path + below
    query = tuple(template.fill_pairs(recipe.query, given)) if recipe.query else ()
    body = _body(recipe, given)
    if recipe.has_key or signing:
        headers = _with_identity(headers, call.identity, recipe, signing, now_s=now_s, body=body)
    return Request(
        recipe.method,
        path or "/",
        call.timeout_s,
        query=query,
        headers=headers + call.headers,
        body=body,
        repeatable=recipe.spec.repeat == "safe",
    )


def headers_of(recipe: Recipe, target: Target, settings: HttpSettings) -> Callable[[], Headers]:
    """Return what returns the headers that all requests of a recipe have; it raises `ConfigError` as `build` does."""

    def make() -> Headers:
        kind = {"content-type": _TYPES[recipe.encoding]} if recipe.encoding in _TYPES else {}
        own = {name: header_value(secret) for name, secret in recipe.headers.items()}
        return tuple({**kind, "via": VIA, **dict(_fixed_headers(target, settings)), **own}.items())

    return kept(make, (*target.all_secrets, *settings.headers.values(), *recipe.headers.values()))


def _with_identity(
    headers: Headers, identity: str, recipe: Recipe, signing: Sequence[str], *, now_s: float, body: bytes
) -> Headers:
    found, own = dict(headers), signature.stable_id(identity)
    if recipe.has_key:
        found["idempotency-key"] = own
    if signing:
        keys = [signature.key_of(secret) for secret in signing]
        found |= dict(signature.headers(keys, own, int(now_s), body))
    return tuple(found.items())


def question(target: Target, settings: HttpSettings) -> Request:
    """Return the probe's request; raise `ConfigError` for a secret that cannot be used."""
    method, path = settings.probe or ("HEAD", "")
    headers = tuple(_fixed_headers(target, settings))
    return harmless_request(target, target.url.path + path, headers, method)


def _fixed_headers(target: Target, settings: HttpSettings) -> Headers:
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
    left: Mapping[str, Json] | None = None
    if recipe.spec.takes_more:
        left = {name: value for name, value in given.items() if recipe.spec.argument(name) is None}
    match recipe.encoding, recipe.body:
        case "json", parts:
            return _json(template.fill_value(parts, given) if left is None else left)
        case "form", _ if left is not None:
            return urlencode(template.pairs_of(left)).encode("ascii")
        case "form", Mapping() as parts:
            return urlencode(template.fill_pairs(parts, given)).encode("ascii")
        case _:
            return b""


# Not orjson, which refuses integers beyond 64 bits and lone surrogates; both are JSON and pass unchanged.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _json(value: Json | Mapping[str, Json]) -> bytes:
    try:
        return _ENCODER.encode(value).encode("ascii")
    except ValueError:
        raise InvalidArguments(
            "an argument contains a number that JSON does not allow (NaN, thousands of digits)"
        ) from None
