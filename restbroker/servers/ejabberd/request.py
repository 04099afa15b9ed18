"""Makes the HTTP request of a command. Pure, but for reading secrets.

Called by the connector. Always holds: the body is one JSON object, never empty and never chunked, because ejabberd
answers 400 with an HTML page to an empty or a chunked body, and 23.01 takes an array for "no arguments" and runs the
command (measured on 23.01 and 24.12).

A message whose job gives it an `id` becomes a stanza of its own: `send_message` makes up another id for each sending.
The stanza is what ejabberd makes of such a message (measured on 23.01 and 24.12), but for the `id`, and with `receipts`
the wish to be told when it arrives and is read, so that it says no more than a token for `send_message` may.
"""

from collections.abc import Mapping
from typing import Final
from xml.etree import ElementTree as ET

import attrs

from restbroker.config.target import Credentials, IssuedLogin, Login, Target
from restbroker.job.command import Call, Command, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.xml_text import NO_XML, fits_xml
from restbroker.light import frozen
from restbroker.servers.api.request import Headers, authorization, json_body
from restbroker.servers.api.table import InvalidArguments
from restbroker.servers.ejabberd.catalogue import BY_JID, MESSAGE, STANZA, api_of, pinned_api
from restbroker.servers.ejabberd.options import Options
from restbroker.transport.message import Request

_BY_JID: Final = 2
_TAKES: Final = frozenset({"type", "from", "to", "subject", "body", "id"})
"""The arguments of a message with an `id`."""
RECEIPTS: Final = "receipts"
_WISHES: Final = {"true": (("request", "urn:xmpp:receipts"), ("markable", "urn:xmpp:chat-markers:0")), "false": ()}
_HEADERS: Final = (("Content-Type", "application/json"), ("X-Admin", "true"))


@frozen
class EndpointRequest:
    """What is the same for every request of one endpoint; `spec` is None for a command outside the catalogue.

    `host_names`: the names under which the command knows its host; none if it takes none. `path_by_jid`: the path of a
    call whose `user` and `host` become one `jid`; None if they stay as they are.
    """

    spec: CommandSpec | None
    path: str
    repeatable: bool
    host_names: tuple[str, ...]
    path_by_jid: str | None = None


def route(endpoint: str, spec: CommandSpec | None, target: Target) -> EndpointRequest:
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
    return EndpointRequest(
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


def build(call: Call, way: EndpointRequest, headers: Headers) -> Request:
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
    body = json_body(arguments)
    return Request("POST", path, call.timeout_s, headers=headers, body=body, repeatable=way.repeatable)


def question(target: Target, command: str, arguments: Mapping[str, Json] | None = None, login: Login = None) -> Request:
    """Return the request of a harmless command; raise `ConfigError` as `headers_of` does.

    It names no version of the interface, so that servers of any version accept it.
    """
    path, headers = f"{target.url.path}/{command}", headers_of(login or target.credentials)
    return Request("POST", path, target.timeout_s, headers=headers, body=json_body(arguments or {}), repeatable=True)


def host_of(call: Call, way: EndpointRequest) -> str | None:
    """Return the virtual host in this call's `host`, or the default that fills it; None if it takes none."""
    given = _arguments(call, way.host_names)
    return next((str(given[name]) for name in ("host", *way.host_names) if way.host_names and name in given), None)


def _arguments(call: Call, host_names: tuple[str, ...]) -> Mapping[str, Json]:
    return with_host(call.command.arguments, host_names, call.host)


def with_host(given: Mapping[str, Json], host_names: tuple[str, ...], host: str | None) -> Mapping[str, Json]:
    """Return the arguments of a call, and the default `host` where they lack theirs."""
    if host is None or "host" in given or not host_names or any(name in given for name in host_names):
        return given
    return {**given, "host": host}


def headers_of(credentials: Credentials) -> Headers:
    """Return all headers of this login's requests, except for those of a single call.

    Raise `ConfigError` if its secret cannot be read or used.
    """
    login = credentials.login if isinstance(credentials, IssuedLogin) else credentials
    return (*_HEADERS, *authorization(login))


def is_own_stanza(endpoint: str, arguments: Mapping[str, Json]) -> bool:
    """Tell whether it is a message with `id` or `receipts`, which `send_message` does not have."""
    return ("id" in arguments or RECEIPTS in arguments) and endpoint.partition("/")[0] == MESSAGE


def as_stanza(call: Call) -> Call:
    """Return the call that sends this message as a stanza; raise `InvalidArguments` if its arguments make none.

    Its `identity` is the message's id: the job's, if it gives one.
    """
    wishes = _WISHES.get(str(call.command.arguments.get(RECEIPTS, False)).lower())
    if wishes is None:
        raise InvalidArguments(f'the argument "{RECEIPTS}" is neither "true" nor "false"')
    given = _texts({"id": call.identity, **call.command.arguments})
    if not fits_xml(given["id"]):  # the job's own: admission has seen the arguments
        raise InvalidArguments(f'the argument "id" has {NO_XML}')
    message = ET.Element("message", {"type": given["type"], "id": given["id"]})
    if given["subject"] or not given["body"]:
        # As ejabberd does: an empty one stands beside an empty body alone.
        ET.SubElement(message, "subject").text = given["subject"]
    ET.SubElement(message, "body").text = given["body"]
    for name, space in wishes:
        ET.SubElement(message, name, {"xmlns": space})
    # A parser makes a line feed of a bare carriage return.
    written = ET.tostring(message, "unicode").replace("\r", "&#13;")
    arguments = {"from": given["from"], "to": given["to"], "stanza": written}
    command = Command(STANZA + call.command.endpoint[len(MESSAGE) :], arguments)
    return attrs.evolve(call, command=command, identity=given["id"])


def _texts(arguments: Mapping[str, Json]) -> Mapping[str, str]:
    given = {name: value for name, value in arguments.items() if name != RECEIPTS}
    if missing := sorted(_TAKES - given.keys()):
        raise InvalidArguments(f'the argument "{missing[0]}" is missing')
    if unknown := sorted(given.keys() - _TAKES):
        raise InvalidArguments(f'the argument "{unknown[0]}" is unknown')
    texts: dict[str, str] = {}
    for name, value in given.items():
        if not isinstance(value, str) or (name == "id" and not value):
            raise InvalidArguments(f'the argument "{name}" is not a string, or is empty')
        texts[name] = value
    return texts
