"""What is asked of a server besides jobs, and what the answers mean: whether it is well, whose login it takes, in which
dialect it speaks, and which version it is.

Used by the connector and the check. Always holds: nothing changes on the server.
"""

import re
from typing import Final

from restbroker.servers.api.answer import read
from restbroker.servers.api.health import IF_NOT, Health, denied, unwell, well
from restbroker.servers.api.texts import parse_json
from restbroker.servers.openfire.rest.answer import FORM
from restbroker.servers.openfire.rest.outcomes import BARRED, CHECK_ENABLED, CHECK_LOGIN, CHECK_URL, REDIRECTS
from restbroker.servers.openfire.writing import Dialect
from restbroker.transport.message import Response

_VERSION: Final = re.compile(rb"^  version: *[\"']?([0-9][\w.-]{0,30})", re.MULTILINE)
_WAITS: Final = f"{IF_NOT}see Openfire's log."


def dialect_in(response: Response) -> Dialect | None:
    """The dialect, by the number of sessions: a text up to 1.2; None if it is none of both."""
    body = parse_json(response.body)
    match body.get("localSessions") if isinstance(body, dict) else None:
        case str():
            return "1.2"
        case int():
            return "1.3"
        case _:
            return None


def is_starting(response: Response) -> bool:
    """Whether this answer to the question for readiness says no. All else means that it was not understood: 404 before
    1.8.0, and 1.10 is broken on Openfire 4.8 (read).
    """
    return response.status == 503


def version_of(dialect: Dialect | None, ready: Response, described: Response | None) -> str | None:
    """The plugin's version, or which it may be: it describes itself since 1.7.0, and is asked whether it is ready since
    1.8.0 (read). None: it cannot be told. `described`: its description, which nobody asks of the old dialect.
    """
    if dialect == "1.2":
        return "up to 1.2"
    if described is None or dialect is None:
        return None
    if described.status == 200 and (found := _VERSION.search(described.body)):
        return found[1].decode()
    # Somebody may have built a newer one without its description (measured on 1.10.2).
    return "1.3 to 1.6" if ready.status == described.status == 404 else None


def starting() -> Health:
    """Of a server that says that it is."""
    return unwell("Openfire answers but is not ready: it is starting or stopping.", _WAITS)


def health_of(response: Response) -> Health:
    """What the answer to the question for the number of sessions means."""
    status, dialect, answer = response.status, dialect_in(response), read(FORM, response)
    match status:
        case 200 if dialect is not None:
            about = "up to 1.2" if dialect == "1.2" else "1.3 or newer"
            return well(f"The REST API plugin answers, and takes the login; its JSON is that of {about}.")
        case 401:
            return denied("LoginRefused", f"The login is refused ({answer.briefly}).", CHECK_LOGIN)
        case 403:
            return denied("PluginDisabled", f"The plugin is switched off ({answer.briefly}).", CHECK_ENABLED)
        case _ if 300 <= status < 400:
            where = answer.shown.address() or "elsewhere"
            return unwell(REDIRECTS.format(location=where), BARRED, "Redirected")
        case _ if status < 500:
            return denied("NotTheApi", f"This is not the REST API plugin ({answer.briefly}).", CHECK_URL)
        case _:
            return unwell(f"The server does not work now ({answer.briefly}).", _WAITS)
