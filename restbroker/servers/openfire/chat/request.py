"""Makes the HTTP request of a job, and of a probe. Pure, but for reading secrets.

Called by the connector, the logins and the check. Always holds: each part of the path is encoded; a text that begins
with a brace is sent as an object with `body`, since the server would take it for JSON (read); the login is sent from
the beginning, since a 401 does not ask for it (measured). The first type of `Accept` is JSON: the server writes an
error in it, and if it cannot, the error becomes a 500 without a word (measured on the REST API plugin; the same code
was read).
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import attrs
import orjson

from restbroker.config.target import Target
from restbroker.job.command import Call
from restbroker.job.jid import fold_case
from restbroker.job.json_types import Json
from restbroker.light import field, frozen
from restbroker.servers.api.request import Headers, harmless_request, json_body, path_of, query_of
from restbroker.servers.api.table import InvalidArguments, fit
from restbroker.servers.openfire.access import login_header
from restbroker.servers.openfire.chat.catalogue import FROM, STREAM, ChatEntry, table
from restbroker.servers.openfire.chat.forms import BODIES, service_of
from restbroker.servers.openfire.chat.options import Options
from restbroker.servers.openfire.entities import Entity, check_room, xml
from restbroker.transport.message import Request

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=UTF-8"
_PLUGIN: Final = "/restapi/v1"
_PROBE: Final = f"{_PLUGIN}/system/statistics/sessions"
_JOIN: Final = "join_room"
LOOK_AT_ROOM: Final = "chat_get_room"


@frozen
class ChatRequest:
    """A request that still lacks the stream of the user who acts. `user` is "" if none does.

    `arguments`: the arguments as they are sent.
    """

    user: str
    arguments: Mapping[str, Json] = field(repr=False)
    _request: Request = field(repr=False)
    _before: str = field(repr=False)
    _behind: str = field(repr=False)

    def for_stream(self, stream: str) -> Request:
        """Return the request on this stream; the stream does not count if no user acts."""
        path = f"{self._before}{quote(stream, safe='')}{self._behind}" if self.user else self._before
        return attrs.evolve(self._request, path=path)


def build(call: Call, entry: ChatEntry, target: Target) -> ChatRequest:
    """Return the request of a call, without its stream.

    Raise `InvalidArguments` for arguments that do not fit, `ConfigError` for a secret that cannot be used.
    """
    host = target.default_host
    given = _with_service(entry, fit(entry.takes, entry.name, call.command.arguments, host), host)
    if entry.body == "MUCRoomEntity":
        check_room(given)
    return _make(call, entry, target, given)


def join_request(call: Call, request: ChatRequest, target: Target) -> ChatRequest:
    """Return the request that has the user of a command join its room. Raise `ConfigError` as `build` does."""
    given = {name: request.arguments[name] for name in (FROM, "roomName", "service") if name in request.arguments}
    return _make(call, _entry_of(target, _JOIN), target, given)


def room_of(request: ChatRequest) -> str:
    """Return the room of the command with its service, such as `balcony@conference`, folded as servers fold names."""
    return fold_case(named_room(request))


def named_room(request: ChatRequest) -> str:
    """Return the room with its service, such as `Balcony@conference`, as the job writes it.

    For messages: masking finds a secret only as the job wrote it, not in folded letters.
    """
    service = request.arguments.get("service", request.arguments.get("servicename", "conference"))
    return f"{request.arguments['roomName']}@{service}"


def room_question(call: Call, request: ChatRequest, target: Target, service: str | None = None) -> Request:
    """Return the request that asks whether the command's room is there; every account may ask. Raise `ConfigError`.

    `service`: where to look, None for the room's own service.
    """
    name, _, own = room_of(request).rpartition("@")
    given = {"roomName": name, "servicename": service or own}
    return _make(call, _entry_of(target, LOOK_AT_ROOM), target, given).for_stream("")


def question(
    target: Target, path: str = _PROBE, method: str = "GET", *, accept: str = _JSON, body: bytes | None = None
) -> Request:
    """Return a request below the target's path that belongs to no job, and may be repeated. Raise `ConfigError`.

    By default it is the probe's, for the number of sessions, which every account may ask for. `body`: a text.
    """
    headers = (accept_header(accept), *(() if body is None else (("Content-Type", _TEXT),)))
    headers = (*headers, *authorization_header(target))
    return harmless_request(target, target.url.path + path, headers, method, body or b"")


def _entry_of(target: Target, name: str) -> ChatEntry:
    return table(target.options_as(Options).paths)[name]


def _with_service(entry: ChatEntry, given: dict[str, Json], host: str | None) -> Mapping[str, Json]:
    """Return the arguments with a room's JID split into name and service.

    Raise `InvalidArguments` if services differ.
    """
    room = given.get("roomName")
    if not isinstance(room, str) or "@" not in room:
        return given
    argument = "service" if "service" in entry.parts[2] else "servicename"
    name, service = service_of(room, host)
    if given.setdefault(argument, service) != service:
        raise InvalidArguments(f'the room\'s JID in "roomName" is of another service than "{argument}" says')
    return {**given, "roomName": name}


def _make(call: Call, entry: ChatEntry, target: Target, given: Mapping[str, Json]) -> ChatRequest:
    method, path, names = entry.parts
    before, _, behind = path.partition(f"{{{STREAM}}}")
    before = target.url.path + _PLUGIN + path_of(before, given, _segment)
    behind = path_of(behind, given, _segment)
    query = query_of(names, given)
    kind, body = _body(entry, given)
    headers = (accept_header(entry.accepts), *authorization_header(target), *call.headers)
    if kind:
        headers = (*headers, ("Content-Type", kind))
    repeatable = entry.repeat == "safe"
    request = Request(method, before, call.timeout_s, query=query, headers=headers, body=body, repeatable=repeatable)
    return ChatRequest(str(given[FROM]) if entry.acts else "", given, request, before=before, behind=behind)


def _segment(_name: str, text: str) -> str:
    return quote(text, safe="")


def _body(entry: ChatEntry, given: Mapping[str, Json]) -> tuple[str, bytes]:
    """Return the content type and the body; two empty ones if there is no body."""
    match entry.sends:
        case "text":
            return _TEXT, str(given.get(entry.raw, "")).encode()
        case "either":
            return _TEXT, _message(given[entry.raw])
        case "" if entry.body:
            return _of_entity(BODIES[entry.body], {**entry.defaults, **given})
        case "":
            return "", b""


def _of_entity(entity: Entity, given: Mapping[str, Json]) -> tuple[str, bytes]:
    if entity.root:
        return "application/xml", xml(entity, given)
    return _JSON, json_body({row.name: given[row.name] for row in entity.members if row.name in given})


def _message(given: Json) -> bytes:
    if isinstance(given, str) and given.lstrip().startswith("{") and not _has_body(given):
        given = {"body": given}
    return given.encode() if isinstance(given, str) else json_body(given)


def _has_body(text: str) -> bool:
    try:
        found = orjson.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and "body" in found


def accept_header(kind: str) -> tuple[str, str]:
    """Return the `Accept` header: errors as JSON, and answers of this type, which may be the only one of a command."""
    return "Accept", _JSON if kind == _JSON else f"{_JSON}, {kind};q=0.9"


def authorization_header(target: Target) -> Headers:
    """Return the header that logs in; none without a login and secret. Raise the same as `login_header`."""
    return login_header(target, target.options_as(Options).secret)
