"""Makes the HTTP request of a command. Pure, but for reading secrets.

Called by the connector. Always holds: the body is one JSON object, never empty and never chunked, because ejabberd
answers 400 with an HTML page to an empty or a chunked body, and 23.01 takes an array for "no arguments" and runs the
command (measured on 23.01 and 24.12).
"""

import json
from collections.abc import Mapping
from typing import Final

import attrs
import orjson

from restbroker.config.target import Credentials, IssuedLogin, Login, Target
from restbroker.job.command import Call, CommandSpec
from restbroker.job.json_types import Json
from restbroker.servers.api.login import Headers, authorization
from restbroker.servers.ejabberd.catalogue import api_of, pinned_api
from restbroker.servers.ejabberd.command_attributes import BY_JID
from restbroker.servers.ejabberd.options import Options
from restbroker.transport.message import Request

_BY_JID: Final = 2
_HEADERS: Final = (("Content-Type", "application/json"), ("X-Admin", "true"))


@attrs.frozen
class Route:
    """What is the same for every request of one endpoint; `spec` is None for a command outside the catalogue.

    `host_names`: the names under which the command knows its host; none if it takes none. `path_by_jid`: the path of a
    call whose `user` and `host` become one `jid`; None if they stay as they are.
    """

    spec: CommandSpec | None
    path: str
    repeatable: bool
    host_names: tuple[str, ...]
    path_by_jid: str | None = None


def route(endpoint: str, spec: CommandSpec | None, target: Target) -> Route:
    """Return the route to a command; an endpoint that names no interface version gets the target's (`ApiVersion`)."""
    by_jid = None
    if spec is not None and spec.name in BY_JID and spec.api_version > _BY_JID and pinned_api(target, endpoint) is None:
        by_jid = f"{target.url.path}/{endpoint}/v{_BY_JID}"
    match target.options:
        case Options(api_version=int(api)) if api_of(endpoint) is None:
            endpoint = f"{endpoint}/v{api}"
        case _:
            pass
    repeatable = spec is not None and spec.repeat == "safe"
    return Route(
        spec=spec,
        path=f"{target.url.path}/{endpoint}",
        repeatable=repeatable,
        host_names=_host_names(spec),
        path_by_jid=by_jid,
    )


def _host_names(spec: CommandSpec | None) -> tuple[str, ...]:
    host = None if spec is None else spec.argument("host")
    if host is not None:
        return (host.name, *host.aliases)
    return ("host",) if spec is not None and spec.fills_host else ()


def build(call: Call, way: Route, headers: Headers) -> Request:
    """Return the request of this call, with these headers (of `headers_of`) and its own.

    `Host` is the transport's part (`target.host_header`): ejabberd 24.12 logs a warning for each request whose Host is
    none of its own.
    """
    if call.headers:
        headers += call.headers
    arguments, path = _arguments(call, way.host_names), way.path
    if way.path_by_jid is not None:
        match arguments:
            case {"user": str(user), "host": str(host), **others}:
                arguments, path = {**others, "jid": f"{user}@{host}"}, way.path_by_jid
            case _:
                pass  # the server says what is missing
    body = _encode(arguments)
    return Request("POST", path, call.timeout_s, query=(), headers=headers, body=body, repeatable=way.repeatable)


def question(target: Target, command: str, arguments: Mapping[str, Json] | None = None, login: Login = None) -> Request:
    """Return the request of a harmless command; raise `ConfigError` as `headers_of` does.

    It names no version of the interface, so that servers of any version accept it.
    """
    path, headers = f"{target.url.path}/{command}", headers_of(login or target.credentials)
    return Request(
        "POST", path, target.timeout_s, query=(), headers=headers, body=_encode(arguments or {}), repeatable=True
    )


def host_of(call: Call, way: Route) -> str | None:
    """Return the virtual host in this call's `host`, or the default that fills it; None if it takes none."""
    given = _arguments(call, way.host_names)
    return next((str(given[name]) for name in ("host", *way.host_names) if way.host_names and name in given), None)


def body_of(arguments: Mapping[str, Json], host_names: tuple[str, ...], default_host: str | None) -> bytes:
    """Return the body of a call with these arguments, and the default host where they lack theirs."""
    if default_host is not None and "host" not in arguments:
        arguments = _with_host(arguments, host_names, default_host)
    return _encode(arguments)


def _arguments(call: Call, host_names: tuple[str, ...]) -> Mapping[str, Json]:
    return _with_host(call.command.arguments, host_names, call.host)


def _with_host(given: Mapping[str, Json], host_names: tuple[str, ...], host: str | None) -> Mapping[str, Json]:
    if host is None or "host" in given or not host_names or any(name in given for name in host_names):
        return given
    return {**given, "host": host}


def _encode(arguments: Mapping[str, Json]) -> bytes:
    try:
        # Copied: orjson leaves 4 KiB behind a short text (3.13), for as long as the request is under way.
        return b"%b" % orjson.dumps(arguments)
    except TypeError:
        # orjson refuses integers beyond 64 bits and lone surrogates; both are JSON and pass unchanged.
        return json.dumps(arguments, separators=(",", ":")).encode("ascii")


def headers_of(credentials: Credentials) -> Headers:
    """Return all headers of this login's requests, except for those of a single call.

    Raise `ConfigError` if its secret cannot be read or used.
    """
    login = credentials.login if isinstance(credentials, IssuedLogin) else credentials
    return (*_HEADERS, *authorization(login))
