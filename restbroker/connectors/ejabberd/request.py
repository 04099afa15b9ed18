"""Makes the HTTP request of a command. Pure, but for reading secrets.

Called by the connector. Always holds: the body is one JSON object, never empty and never chunked, because ejabberd
answers 400 with an HTML page to an empty or a chunked body, and 23.01 takes an array for "no arguments" and runs the
command (measured on 23.01 and 24.12).
"""

import base64
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, assert_never

import orjson

from restbroker.config.target import Basic, Bearer, Credentials, Issued, Login, Target
from restbroker.connectors.ejabberd.catalogue import api_of
from restbroker.connectors.ejabberd.options import Options
from restbroker.errors import ConfigError
from restbroker.rules.command import Call, CommandSpec
from restbroker.rules.json_types import Json
from restbroker.transport.message import Request

_HEADERS: Final = (("Content-Type", "application/json"), ("X-Admin", "true"))


def build(call: Call, spec: CommandSpec | None, target: Target, login: Login = None) -> Request:
    """The request of this call; `spec` is None for a command outside the catalogue; without `login`, the target's own
    credentials count. A command that names no version of the interface gets the target's (`ApiVersion`).

    Raises `ConfigError` when the credentials cannot be read or used. `Host` is the transport's part
    (`target.host_header`): ejabberd 24.12 logs a warning for each request whose Host is none of its own.
    """
    headers = _headers(login or target.credentials)
    endpoint = call.command.endpoint
    match target.options:
        case Options(api_version=int(api)) if api_of(endpoint) is None:
            endpoint = f"{endpoint}/v{api}"
        case _:
            pass
    return _post(
        target,
        endpoint,
        _arguments(call, spec),
        call.timeout_s,
        headers + call.headers if call.headers else headers,
        repeatable=spec is not None and spec.repeat == "safe",
    )


def question(target: Target, command: str, arguments: Mapping[str, Json] | None = None, login: Login = None) -> Request:
    """The request of a command that does no harm. Raises `ConfigError` as `build` does.

    It never names a version of the interface: what is asked so is understood in each, and by servers that know none.
    """
    headers = _headers(login or target.credentials)
    return _post(target, command, arguments or {}, target.timeout_s, headers, repeatable=True)


def _post(
    target: Target,
    endpoint: str,
    arguments: Mapping[str, Json],
    timeout_s: float,
    headers: tuple[tuple[str, str], ...],
    *,
    repeatable: bool,
) -> Request:
    path = f"{target.url.path}/{endpoint}"
    return Request("POST", path, timeout_s, (), headers, _encode(arguments), repeatable=repeatable)


def _arguments(call: Call, spec: CommandSpec | None) -> Mapping[str, Json]:
    given = call.command.arguments
    if call.host is None or spec is None or "host" in given:
        return given
    host = spec.argument("host")
    names = ("host",) if host is None else (host.name, *host.aliases)
    takes_host = spec.fills_host or host is not None
    if not takes_host or any(name in given for name in names):
        return given
    return {**given, "host": call.host}


def _encode(arguments: Mapping[str, Json]) -> bytes:
    try:
        # Copied: orjson leaves 4 KiB behind a short text (3.13), for as long as the request is under way.
        return b"%b" % orjson.dumps(arguments)
    except TypeError:
        # orjson refuses integers beyond 64 bits and lone surrogates; both are JSON and pass unchanged.
        return json.dumps(arguments, separators=(",", ":")).encode("ascii")


def _headers(credentials: Credentials) -> tuple[tuple[str, str], ...]:
    """All headers of this login's requests, but those of a single call."""
    match credentials:
        case None:
            return _HEADERS
        case Issued(login, _):
            return _headers(login)
        case Basic(user, password):
            return _basic(user, password.reveal())
        case Bearer(token):
            return _bearer(token.reveal())
        case _:
            assert_never(credentials)


@lru_cache(maxsize=8)
def _basic(user: str, password: str) -> tuple[tuple[str, str], ...]:
    pair = f"{user}:{password}".encode()
    return (*_HEADERS, ("Authorization", "Basic " + base64.b64encode(pair).decode("ascii")))


@lru_cache(maxsize=8)
def _bearer(text: str) -> tuple[tuple[str, str], ...]:
    if not text or not all("!" <= character <= "~" for character in text):
        raise ConfigError(
            "The bearer token cannot be put into a header: it is empty or has characters beyond visible ASCII.",
            "Put the token alone into the setting or its file, without spaces and line breaks.",
        )
    return (*_HEADERS, ("Authorization", f"Bearer {text}"))
