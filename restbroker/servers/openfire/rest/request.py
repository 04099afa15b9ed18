"""Makes the HTTP request of a job, and of a probe, and reads what Openfire answers. Pure, but for reading secrets.

Used by the connector, the judge and the check. Always holds: there is exactly one `Accept`, without which 1.2 answers
500 in place of a refusal (measured); bodies are XML; the login is sent at once, since the server never asks for it; a
path's parts are encoded, and a slash in one is refused (500, measured). An answer is an error as JSON or XML, the page
of Openfire's console, or nothing at all; no body makes reading it raise.
"""

import re
from collections.abc import Callable, Mapping
from html import unescape
from typing import Final
from urllib.parse import quote

from restbroker.config.target import Target
from restbroker.job.command import Call
from restbroker.job.json_types import Json
from restbroker.servers.api.answer import AnswerForm
from restbroker.servers.api.request import Headers, harmless_request, path_of, query_of
from restbroker.servers.api.table import fit, without_host
from restbroker.servers.api.texts import page_heading, parse_json
from restbroker.servers.openfire.access import login_header
from restbroker.servers.openfire.entities import check_room, xml
from restbroker.servers.openfire.forms import check_segment
from restbroker.servers.openfire.normal import LOGINS
from restbroker.servers.openfire.rest.catalogue import NEW_NAME, RestEntry
from restbroker.servers.openfire.rest.options import Options
from restbroker.transport.message import Request, Response

JSON: Final = "application/json"
XML: Final = "application/xml"
STATISTICS: Final = "/system/statistics/sessions"
READY: Final = "/system/readiness/server"
DESCRIPTION: Final = "/openapi.yaml"
YAML: Final = "application/yaml"
_ACCEPTS: Final[Mapping[str, str]] = {"xml": XML, "yaml": YAML}
_HEAD_LIMIT: Final = 4096
_PARTS: Final = re.compile(r"<(exception|message|resource|ressource)>([^<]*)</")
_COOKIE: Final = re.compile(r"JSESSIONID=([A-Za-z0-9._!~-]{1,128})(?:;|,|$)")


def build(call: Call, entry: RestEntry, target: Target, login: Callable[[], Headers], cookie: str | None) -> Request:
    """Return the request of a call. `cookie`: the id of the session, None if there is none yet.

    `login` returns the header that logs in.

    Raise `InvalidArguments`, or `ConfigError` for a secret that cannot be used.
    """
    arguments = without_host(call.command.arguments, target.default_host)
    given = fit(entry.takes, entry.name, arguments, target.default_host)
    if entry.body == "MUCRoomEntity":
        check_room(given)
    method, path, query = entry.parts
    own = login() if entry.logs_in else ()
    headers: Headers = (("Accept", _ACCEPTS.get(entry.answer, JSON)), *own, *_cookie(cookie))
    body = b""
    if (entity := entry.entity) is not None:
        body, headers = xml(entity, _members(entry, given)), (*headers, ("Content-Type", XML))
    return Request(
        method,
        target.url.path + path_of(path, given, _segment),
        call.timeout_s,
        query=query_of(query, given),
        headers=headers + call.headers,
        body=body,
        repeatable=method == "GET" and entry.repeat == "safe",
    )


def question(target: Target, path: str, cookie: str | None = None, accept: str = JSON) -> Request:
    """Return a harmless GET of a path below the target's own. Raise `ConfigError` if the login cannot be read or used.

    `cookie`: the id of the session, if there is one.
    """
    headers: Headers = (("Accept", accept), *login_header(target, target.options_as(Options).secret), *_cookie(cookie))
    return harmless_request(target, target.url.path + path, headers)


def _cookie(cookie: str | None) -> Headers:
    return () if cookie is None else (("Cookie", f"JSESSIONID={cookie}"),)


def _members(entry: RestEntry, given: Mapping[str, Json]) -> Mapping[str, Json]:
    renamed = {"username": given[NEW_NAME]} if NEW_NAME in given else {}
    return {**entry.defaults, **given, **renamed}


def _segment(name: str, text: str) -> str:
    check_segment(name, text)
    return quote(text, safe="@")


def session_in(response: Response) -> str | None:
    """Return the id of the session that this answer opens (its cookie); None if it opens none."""
    cookies = response.headers.get("set-cookie")
    found = None if cookies is None else _COOKIE.search(cookies)
    return found[1] if found else None


def _error(response: Response, text: str) -> tuple[str, str]:
    """Return the Java class that the plugin names for an error, and its words.

    The class is "" if none is named, as in all answers that are not the plugin's own. In newer versions an error may be
    XML although JSON was asked for (measured); up to 1.2 it names a `ressource`.
    """
    body = parse_json(text.encode()) if text.lstrip().startswith("{") else None
    if isinstance(body, dict):
        found = [(name, value) for name, value in body.items() if isinstance(value, str)]
    else:
        is_xml = "<error>" in text or "xml" in response.headers.get("content-type", "")
        found = [(name, unescape(value)) for name, value in _PARTS.findall(text[:_HEAD_LIMIT])] if is_xml else []
    parts = {name.replace("ressource", "resource"): value for name, value in found}
    words = ", ".join(parts[name] for name in ("exception", "message", "resource") if parts.get(name))
    return parts.get("exception", ""), words or page_heading(text)


FORM: Final = AnswerForm(_error, LOGINS)
