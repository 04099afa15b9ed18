"""Makes the HTTP request of a job, and of a probe. Pure, but for reading secrets.

Called by the connector. Always holds: what Prosody would leave out of a stanza without a word is refused here: no
address or one that is no JID (mod_rest answers 202, measured), a member that it does not know, or of another type
(read in its source), and a character that XML cannot hold. The body has a Content-Length and the type
`application/json` with nothing behind it: mod_post_msg answers 415 to a charset (measured).
"""

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from restbroker.config.target import Target
from restbroker.job.command import Call
from restbroker.job.json_types import Json
from restbroker.job.xml_text import fits_xml
from restbroker.servers.api.ad_hoc import ADMIN, AdHoc
from restbroker.servers.api.request import Headers, authorization, harmless_request, json_body, path_of
from restbroker.servers.api.table import InvalidArguments, fit, without_host
from restbroker.servers.prosody import xml_stanza
from restbroker.servers.prosody.catalogue import ProsodyEntry
from restbroker.servers.prosody.options import Options
from restbroker.transport.message import Request

_ACCEPT: Final = ("Accept", "application/json")
_JSON: Final = ("Content-Type", "application/json")
_XML: Final = "application/xmpp+xml"
_TIMEOUT: Final = "Prosody-Rest-Timeout"
_EARLIER_S: Final = 1.0
"""So many seconds before our own time is up Prosody gives up on an iq, so that its answer still comes."""
# What stands in a path as it is: how Prosody reads an escape there is known of no version.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*", re.ASCII)
_SETS: Final = frozenset({"command", "archive"})
"""Members that make mod_rest send an iq without a type as a `set` (read)."""


def build(call: Call, entry: ProsodyEntry, settings: Options, login: Callable[[], Headers]) -> Request:
    """Return the request of this call; `login` returns the header that logs in to its API.

    Raise `InvalidArguments` for arguments that make no request, and `ConfigError` for a secret that cannot be used.
    """
    given = _fit(call, entry, settings)
    place = settings.apis[entry.api]
    is_xml = xml_stanza.is_given(given)
    headers: Headers = (("Accept", _XML) if is_xml else _ACCEPT, *login())
    if entry.stanza == "iq":
        headers = (*headers, (_TIMEOUT, f"{call.timeout_s - min(_EARLIER_S, call.timeout_s / 5):g}"))
    repeatable = is_question(entry, given)
    if is_xml:
        body = xml_stanza.body_of(None if entry.name == "stanza" else entry.stanza, given, call.identity)
        headers = (*headers, ("Content-Type", _XML), *call.headers)
        return Request("POST", place.path or "/", call.timeout_s, headers=headers, body=body, repeatable=repeatable)
    method, path, members = _fill(entry, given, call, settings)
    body = b"" if members is None else json_body(members)
    if members is not None:
        headers = (*headers, _JSON)
    return Request(
        method,
        place.path + path or "/",
        call.timeout_s,
        headers=headers + call.headers,
        body=body,
        repeatable=repeatable,
    )


def is_question(entry: ProsodyEntry, given: Mapping[str, Json]) -> bool:
    """Tell whether the request changes nothing (an iq of type get, or a safe command), and may be sent twice."""
    if entry.repeat == "safe" or entry.ad_hoc is not None:
        return entry.repeat == "safe"
    if xml_stanza.is_given(given):
        return xml_stanza.is_question(given)
    return entry.stanza == "iq" and given.get("type", "set" if _SETS & given.keys() else "get") == "get"


def question(target: Target, settings: Options) -> Request:
    """Return the probe's request: an iq that asks the account's own host for its version; raise `ConfigError`.

    If no host is known, its body is no stanza: mod_rest answers 400 to that if it accepts the login.
    """
    place = settings.apis["rest"]
    headers: Headers = (_ACCEPT, *authorization(place.login))
    if settings.host is not None and _PLAIN.fullmatch(settings.host):
        return harmless_request(target, f"{place.path}/version/{settings.host}", headers)
    return harmless_request(target, place.path, (*headers, _JSON), "POST", b"{}")


def _fill(
    entry: ProsodyEntry, given: Mapping[str, Json], call: Call, settings: Options
) -> tuple[str, str, Mapping[str, Json] | None]:
    """Return method, path and members of the body; None: there is no body."""
    if entry.ad_hoc is not None:
        return "POST", "", _command(entry.ad_hoc, given, call.host or settings.host)
    if entry.asks:
        to = str(given["to"])
        if "node" not in given and all(map(_PLAIN.fullmatch, to.split("/", 1))):
            return "GET", f"/{entry.asks}/{to}", None
        asked = {entry.name: given["node"]} if "node" in given else {}
        return "POST", "", {**entry.constants, **asked, "to": to}
    if entry.api == "rest":
        own = {"id": call.identity} if entry.stanza != "iq" and call.identity and fits_xml(call.identity) else {}
        return "POST", "", {**entry.constants, **own, **given}
    path = "/" + path_of(entry.path, given, _segment)
    members = {name: value for name, value in given.items() if f"{{{name}}}" not in entry.path}
    return entry.method, path, None if entry.method in ("GET", "DELETE") else members


def _command(command: AdHoc, given: Mapping[str, Json], default_host: str | None) -> Mapping[str, Json]:
    host = given.get("host", default_host)
    if not isinstance(host, str):
        raise InvalidArguments('the argument "host" is missing, and the target has no Domain')
    asked: Json = {"node": f"{ADMIN}#{command.node}", "data": command.form(given, host)}
    return {"kind": "iq", "type": "set", "to": host, "command": asked}


def _segment(name: str, text: str) -> str:
    if not _PLAIN.fullmatch(text):
        raise InvalidArguments(
            f'the argument "{name}" becomes a part of the path, and has a character that no path may have'
        )
    return quote(text, safe="~!$&'()*+,;=:@")


def _fit(call: Call, entry: ProsodyEntry, settings: Options) -> Mapping[str, Json]:
    given = call.command.arguments
    if entry.stanza and given.get("kind") == entry.stanza:
        given = {name: value for name, value in given.items() if name != "kind"}
    return fit(entry.takes, entry.name, without_host(given, settings.host) if entry.api == "admin" else given)
