"""Reads what Openfire answers: an error as JSON or XML, the page of its console, or nothing at all.

Used by the judge, the connector and the check. Always holds: no body makes it raise. Pure.
"""

import re
from html import unescape
from typing import Final

from restbroker.servers.api.answer import AnswerForm
from restbroker.servers.api.texts import parse_json
from restbroker.servers.openfire.normal import LOGINS
from restbroker.transport.message import Response

_HEAD_LIMIT: Final = 4096
_PARTS: Final = re.compile(r"<(exception|message|resource|ressource)>([^<]*)</")
_TITLE: Final = re.compile(r"<title>([^<]*)</title>", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^>]*>")
_COOKIE: Final = re.compile(r"JSESSIONID=([A-Za-z0-9._!~-]{1,128})(?:;|,|$)")


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
    return parts.get("exception", ""), words or _page(text)


def _page(text: str) -> str:
    if not text.lstrip().startswith("<"):
        return text
    head = text[:_HEAD_LIMIT]
    title = _TITLE.search(head)
    return unescape(title[1] if title else _TAG.sub(" ", head)).strip()


FORM: Final = AnswerForm(_error, LOGINS)
