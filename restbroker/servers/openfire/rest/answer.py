"""Reads what Openfire answers: an error as JSON or XML, the page of its console, or nothing at all.

Used by the judge, the connector and the check. Always holds: no body makes it raise, and what is read for people holds
neither a secret of the call nor the login that the request carried.
"""

import re
from collections.abc import Iterable
from html import unescape
from typing import Final

import attrs

from restbroker.job import hiding
from restbroker.servers.api.shown import Shown, show
from restbroker.servers.api.texts import parsed
from restbroker.servers.openfire.normal import LOGINS
from restbroker.transport.message import Response

_HEAD_LIMIT: Final = 4096
_PARTS: Final = re.compile(r"<(exception|message|resource|ressource)>([^<]*)</")
_TITLE: Final = re.compile(r"<title>([^<]*)</title>", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^>]*>")
_COOKIE: Final = re.compile(r"JSESSIONID=([A-Za-z0-9._!~-]{1,128})(?:;|,|$)")


@attrs.frozen
class Answer:
    """`shown`: what people may see. `words`: what it says to them. `exception`: the Java class that the plugin names,
    "" where it names none, as all that is not the plugin's own.
    """

    shown: Shown
    words: str
    exception: str

    @property
    def text(self) -> str:
        """The body, masked and cut."""
        return self.shown.text

    def says(self, status: int) -> str:
        """A sentence."""
        if self.words:
            return f"Status {status}: {self.words}"
        return f"Openfire answered with status {status} and no words."


def read(response: Response, secrets: Iterable[hiding.Secret] = ()) -> Answer:
    """The answer in this response, with these secrets and the login masked wherever the server echoes them."""
    shown = show(response, hiding.spelled(secrets) | LOGINS)
    parts = _error(response, shown.text)
    said = ", ".join(parts[name] for name in ("exception", "message", "resource") if parts.get(name))
    # It decides the job's fate, which no secret that looks like it may change.
    raw = response.body[: hiding.START_LIMIT].decode("utf-8", "replace")
    exception = _error(response, raw).get("exception", "")
    return Answer(shown, shown.hide(said or _page(shown.text)), exception)


def session_in(response: Response) -> str | None:
    """The session that this answer opens; None if it opens none."""
    cookies = response.headers.get("set-cookie")
    found = None if cookies is None else _COOKIE.search(cookies)
    return found[1] if found else None


def _error(response: Response, text: str) -> dict[str, str]:
    """Of newer versions an error may be XML, though JSON was asked for (measured); up to 1.2 it names a `ressource`."""
    body = parsed(text.encode()) if text.lstrip().startswith("{") else None
    if isinstance(body, dict):
        found = [(name, value) for name, value in body.items() if isinstance(value, str)]
    else:
        is_xml = "<error>" in text or "xml" in response.headers.get("content-type", "")
        found = [(name, unescape(value)) for name, value in _PARTS.findall(text[:_HEAD_LIMIT])] if is_xml else []
    return {name.replace("ressource", "resource"): value for name, value in found}


def _page(text: str) -> str:
    if not text.lstrip().startswith("<"):
        return text
    head = text[:_HEAD_LIMIT]
    title = _TITLE.search(head)
    return unescape(title[1] if title else _TAG.sub(" ", head)).strip()
