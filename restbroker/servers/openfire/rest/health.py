"""Judges the answers to questions besides jobs: is the server well, does it take the login, which dialect and version.

Used by the connector and the check. Always holds: nothing changes on the server.
"""

import re
from typing import Final, Literal

from restbroker.servers.api.answer import read
from restbroker.servers.api.health import IF_NOT, Health, target_denied, target_down, target_up
from restbroker.servers.api.texts import parse_json
from restbroker.servers.openfire.rest.answer import FORM
from restbroker.servers.openfire.rest.outcomes import BARRED, CHECK_ENABLED, CHECK_LOGIN, CHECK_URL, REDIRECTS
from restbroker.transport.message import Response

Dialect = Literal["1.2", "1.3"]
"""How the plugin writes JSON: `1.2` as versions up to 1.2.x do, `1.3` as newer ones do."""
_VERSION: Final = re.compile(rb"^  version: *[\"']?([0-9][\w.-]{0,30})", re.MULTILINE)
_WAITS: Final = f"{IF_NOT}see Openfire's log."


def dialect_in(response: Response) -> Dialect | None:
    """Return the dialect by the answer for the number of sessions: a text up to 1.2, else a number; None if neither."""
    body = parse_json(response.body)
    match body.get("localSessions") if isinstance(body, dict) else None:
        case str():
            return "1.2"
        case int():
            return "1.3"
        case _:
            return None


def is_starting(response: Response) -> bool:
    """Tell whether this answer to the question for readiness says no.

    Any other answer means that the question was not understood: 404 before 1.8.0, and 1.10 is broken on Openfire 4.8
    (read).
    """
    return response.status == 503


def version_of(dialect: Dialect | None, ready: Response, described: Response | None) -> str | None:
    """Return the plugin's version, or a range such as "1.3 to 1.6"; None if it cannot be told.

    The plugin describes itself since 1.7.0, and answers the question for readiness (`ready`) since 1.8.0 (read).
    `described` is the answer to the question for its description, which is not sent to a server with the old dialect.
    """
    if dialect == "1.2":
        return "up to 1.2"
    if described is None or dialect is None:
        return None
    if described.status == 200 and (found := _VERSION.search(described.body)):
        return found[1].decode()
    # Someone may have built a newer one without its description (measured on 1.10.2).
    return "1.3 to 1.6" if ready.status == described.status == 404 else None


def target_starting() -> Health:
    """Return the health of a server that says that it is starting or stopping."""
    return target_down("Openfire answers but is not ready: it is starting or stopping.", _WAITS)


def health_of(response: Response) -> Health:
    """Judge the answer to the question for the number of sessions: whether the server is well, and why not."""
    status, dialect, answer = response.status, dialect_in(response), read(FORM, response)
    match status:
        case 200 if dialect is not None:
            about = "up to 1.2" if dialect == "1.2" else "1.3 or newer"
            return target_up(f"The REST API plugin answers, and accepts the login; its JSON is that of {about}.")
        case 401:
            return target_denied("LoginRefused", f"The login is refused ({answer.summary}).", CHECK_LOGIN)
        case 403:
            return target_denied("PluginDisabled", f"The plugin is switched off ({answer.summary}).", CHECK_ENABLED)
        case _ if 300 <= status < 400:
            where = answer.masked_text.address() or "elsewhere"
            return target_down(REDIRECTS.format(location=where), BARRED, "Redirected")
        case _ if status < 500:
            return target_denied("NotTheApi", f"This is not the REST API plugin ({answer.summary}).", CHECK_URL)
        case _:
            return target_down(f"The server does not work now ({answer.summary}).", _WAITS)
