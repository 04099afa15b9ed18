"""Makes the HTTP request of a job, and of a probe. Pure, but for reading secrets.

Called by the connector. Always holds: each part of the path is encoded; a text that begins with a brace goes as an
object with `body`, since the server takes it for JSON (read).
"""

import base64
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import attrs
import orjson

from restbroker.config.target import Target
from restbroker.job.command import Call
from restbroker.job.jid import folded
from restbroker.job.json_types import Json
from restbroker.servers.api.request import json_body
from restbroker.servers.openfire.chat import ways
from restbroker.servers.openfire.chat.bodies import written
from restbroker.servers.openfire.chat.headers import accepting, authorized
from restbroker.servers.openfire.chat.options import Options
from restbroker.servers.openfire.chat.values import fit
from restbroker.servers.openfire.chat.ways import FROM, Way
from restbroker.servers.openfire.entities import ROOM_DEFAULTS
from restbroker.transport.message import Request

_TEXT: Final = "text/plain; charset=UTF-8"
_PROBE: Final = "/restapi/v1/system/statistics/sessions"
_STREAM: Final = "{streamid}"


@attrs.frozen
class Asked:
    """A request but for the stream of the user who acts. `user` is "" where nobody does."""

    user: str
    given: Mapping[str, Json] = attrs.field(repr=False)
    _request: Request = attrs.field(repr=False)
    _before: str = attrs.field(repr=False)
    _behind: str = attrs.field(repr=False)

    def of(self, stream: str) -> Request:
        """As who has this stream."""
        path = f"{self._before}{quote(stream, safe='')}{self._behind}" if self.user else self._before
        return attrs.evolve(self._request, path=path)


def build(call: Call, way: Way, target: Target) -> Asked:
    """The request. Raises `InvalidArguments` for what the job gives, `ConfigError` for a secret that cannot be used."""
    given = fit(way, call.command.arguments, target.default_host)
    return _asked(call, way, target, given)


def joining(call: Call, asked: Asked, target: Target) -> Asked:
    """What has the user be in the room of his command. Raises `ConfigError`."""
    way = ways.ways(target.options_as(Options).paths)[ways.JOIN]
    given = {name: asked.given[name] for name in (FROM, "roomName", "service") if name in asked.given}
    return _asked(call, way, target, given)


def room_of(asked: Asked) -> str:
    """The room of the command, with its service, as servers fold their names."""
    return folded(named_room(asked))


def named_room(asked: Asked) -> str:
    """The same as the job writes it: in messages, or a secret in it would not be known for one."""
    service = asked.given.get("service", asked.given.get("servicename", "conference"))
    return f"{asked.given['roomName']}@{service}"


def room_question(call: Call, asked: Asked, target: Target) -> Request:
    """Whether the room of the command is there, which every account may ask. Raises `ConfigError`."""
    name, _, service = room_of(asked).rpartition("@")
    way = ways.ways(target.options_as(Options).paths)[ways.ROOM]
    return _asked(call, way, target, {"roomName": name, "servicename": service}).of("")


def question(target: Target) -> Request:
    """The probe: how many sessions there are, which every account may ask. Raises `ConfigError`."""
    headers = (accepting("application/json"), *authorized(target))
    path = target.url.path + _PROBE
    return Request("GET", path, target.timeout_s, (), headers, b"", 65_536, repeatable=True)


def _asked(call: Call, way: Way, target: Target, given: Mapping[str, Json]) -> Asked:
    before, _, behind = way.path.partition(_STREAM)
    before, behind = target.url.path + _filled(before, given), _filled(behind, given)
    query = tuple((name, _plain(given[name])) for name in way.query if name in given)
    if way.name.startswith(ways.LEGACY) and (secret := target.options_as(Options).secret) is not None:
        query = (*query, ("secret", secret.reveal()))
    kind, body = _body(way, given)
    headers = (accepting(way.accepts), *authorized(target), *call.headers)
    if kind:
        headers = (*headers, ("Content-Type", kind))
    repeatable = way.repeat == "safe"
    request = Request(way.method, before, call.timeout_s, query, headers, body, repeatable=repeatable)
    return Asked(str(given[FROM]) if way.acts else "", given, request, before, behind)


def _filled(path: str, given: Mapping[str, Json]) -> str:
    return "/".join(_segment(part, given) for part in path.split("/"))


def _segment(part: str, given: Mapping[str, Json]) -> str:
    if not part.startswith("{"):
        return part
    name = part[1:-1]
    text = str(given[name])
    if name == "url":
        text = base64.b64encode(text.encode()).decode("ascii")
    return quote(text, safe="")


def _body(way: Way, given: Mapping[str, Json]) -> tuple[str, bytes]:
    """The content type and the body; two empty ones for none."""
    match way.sends:
        case "":
            return "", b""
        case "entity":
            given = {**ROOM_DEFAULTS, **given} if way.body == "MUCRoomEntity" else given
            return written(way.body, {name: given[name] for name in way.fields if name in given})
        case "json":
            value = given[way.raw]
            # A text is taken for JSON as it is.
            return "application/json", value.encode() if isinstance(value, str) else json_body(value)
        case "either":
            return _TEXT, _message(given[way.raw])
        case "text":
            text = given.get(way.raw, "")
            # The plugin takes a name without any comma for no name at all (read).
            names = [*map(str, text), *([""] if len(text) == 1 else [])] if isinstance(text, list) else [str(text)]
            return _TEXT, ",".join(names).encode()


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


def _plain(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
