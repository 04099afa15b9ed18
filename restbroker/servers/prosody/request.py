"""Makes the HTTP request of a job, and of a probe. Pure, but for reading secrets.

Called by the connector. Always holds: what Prosody would leave out of a stanza without a word is refused here: no
address or one that is no JID (mod_rest answers 202, measured), a member that it does not know, or of another type
(read in its source), and a character that XML cannot hold. The body has a Content-Length and the type
`application/json` with nothing behind it: mod_post_msg answers 415 to a charset (measured).
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final
from urllib.parse import quote

from restbroker.config.target import Target
from restbroker.job.command import Call
from restbroker.job.endpoint import kind_of, quoted
from restbroker.job.hosts import plain
from restbroker.job.json_types import Json
from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.api.jid import is_jid
from restbroker.servers.api.login import Headers, authorization
from restbroker.servers.api.request import json_body
from restbroker.servers.api.texts import NO_XML, fits_xml
from restbroker.servers.prosody.options import Options
from restbroker.servers.prosody.ways import Form, Way
from restbroker.transport.message import Request

_ACCEPT: Final = ("Accept", "application/json")
_JSON: Final = ("Content-Type", "application/json")
_TIMEOUT: Final = "Prosody-Rest-Timeout"
_EARLIER_S: Final = 1.0
"""So much before our own time is up Prosody gives up on an iq, so that its answer still comes."""
# What stands in a path as it is: how Prosody reads an escape there is known of no version.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*", re.ASCII)
_SETS: Final = frozenset({"command", "archive"})
"""Members that make mod_rest send an iq without a type as a `set` (read)."""
_EVERYBODY: Final = frozenset({"online", "all"})


def build(call: Call, way: Way, settings: Options) -> Request:
    """The request. Raises `InvalidArguments` for what the job gives, `ConfigError` for a secret that cannot be used."""
    given = _fit(call, way, settings)
    place = settings.places[way.api]
    headers: Headers = (_ACCEPT, *authorization(place.login))
    if way.kind == "iq":
        headers = (*headers, (_TIMEOUT, f"{call.timeout_s - min(_EARLIER_S, call.timeout_s / 5):g}"))
    method, path, members = _put(way, given, call.identity)
    body = b"" if members is None else json_body(members)
    if members is not None:
        headers = (*headers, _JSON)
    repeatable = is_question(way, given)
    return Request(
        method, place.path + path or "/", call.timeout_s, (), (*headers, *call.headers), body, repeatable=repeatable
    )


def is_question(way: Way, given: Mapping[str, Json]) -> bool:
    """Whether it is an iq that asks, which does no harm when it is sent twice."""
    if way.repeat == "safe":
        return True
    kind = given.get("type", "set" if _SETS & given.keys() else "get")
    return way.kind == "iq" and kind == "get"


def question(target: Target, settings: Options) -> Request:
    """The probe: an iq to the account's own host for its version; where no host is known, a body that is no stanza,
    to which mod_rest says 400 to those that it lets in. Raises `ConfigError`.
    """
    place = settings.places["rest"]
    headers: Headers = (_ACCEPT, *authorization(place.login))
    if settings.host is not None and _PLAIN.fullmatch(settings.host):
        return Request(
            "GET", f"{place.path}/version/{settings.host}", target.timeout_s, (), headers, b"", 65_536, repeatable=True
        )
    path = place.path or "/"
    return Request(
        "POST", path, target.timeout_s, (), (*headers, _JSON), b"{}", body_limit_bytes=65_536, repeatable=True
    )


def _put(way: Way, given: Mapping[str, Json], identity: str) -> tuple[str, str, Mapping[str, Json] | None]:
    """Method, path and body."""
    if way.query:
        to = str(given["to"])
        if "node" not in given and all(map(_PLAIN.fullmatch, to.split("/", 1))):
            return "GET", f"/{way.query}/{to}", None
        asked = {way.name: given["node"]} if "node" in given else {}
        return "POST", "", {**way.fixed, **asked, "to": to}
    if way.api == "rest":
        own = {"id": identity} if way.kind != "iq" and identity and fits_xml(identity) else {}
        return "POST", "", {**way.fixed, **own, **given}
    left = dict(given)
    path = "".join(f"/{_segment(part, left)}" for part in way.path.split("/"))
    return way.method, path, None if way.method in ("GET", "DELETE") else left


def _segment(part: str, left: dict[str, Json]) -> str:
    if not part.startswith("{"):
        return part
    name = part.strip("{}")
    text = str(left.pop(name))
    if not _PLAIN.fullmatch(text):
        raise InvalidArguments(f'the argument "{name}" stands in the path, and has a character that it cannot hold')
    return quote(text, safe="~!$&'()*+,;=:@")


def _fit(call: Call, way: Way, settings: Options) -> Mapping[str, Json]:
    forms = way.forms
    # mod_rest leaves out what is null.
    given = {name: value for name, value in call.command.arguments.items() if value is not None or name in way.needs}
    if way.kind and given.get("kind") == way.kind:
        del given["kind"]
    if way.api == "admin" and "host" in given:
        _check_host(given.pop("host"), settings.host)
    for name, value in given.items():
        if name not in forms:
            near = get_close_matches(name, forms, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise InvalidArguments(f"there is an argument {quoted(name)}, which {way.name} does not have{meant}")
        _check(name, value, forms[name])
    for name in way.needs:
        if name not in given:
            raise InvalidArguments(f'the argument "{name}" is missing')
    return given


def _check_host(host: Json, own: str | None) -> None:
    if own is None or not isinstance(host, str) or plain(host) != plain(own):
        known = "which has no Domain" if own is None else f"which is {own}'s"
        raise InvalidArguments(f'the argument "host" is not the host of this target, {known}')


def _check(name: str, value: Json, form: Form) -> None:
    wanted = None
    match form:
        case "text" | "credential" | "name" if not isinstance(value, str):
            wanted = "a text"
        case "jid" if not isinstance(value, str) or not is_jid(value):
            wanted = "a JID such as juliet@example.org"
        case "whole" if not isinstance(value, int) or isinstance(value, bool):
            wanted = "a whole number"
        case "flag" if not isinstance(value, bool):
            wanted = "true or false"
        case "texts" if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            wanted = "a list of texts"
        case "recipients" if not _are_recipients(value):
            wanted = '"online", "all", or a list of JIDs'
        case _:
            if not fits_xml(value):
                raise InvalidArguments(f'the argument "{name}" has {NO_XML}')
    if wanted is not None:
        if isinstance(value, str) and form in ("jid", "recipients"):
            raise InvalidArguments(f'the argument "{name}" is a text, but not {wanted}')
        raise InvalidArguments(f'the argument "{name}" is {kind_of(value)}, where {wanted} is needed')


def _are_recipients(value: Json) -> bool:
    if isinstance(value, str):
        return value in _EVERYBODY
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) and is_jid(one) for one in value)
