"""What is asked of a server besides jobs, and what the answers mean: whether it is well, whose login it takes, and in
which dialect it speaks.

Used by the connector and the check. Always holds: nothing changes on the server.
"""

from typing import Final

import attrs

from restbroker.job.outcome import Probe
from restbroker.servers.api.texts import parsed
from restbroker.servers.openfire.rest.answer import read
from restbroker.servers.openfire.rest.outcomes import BARRED, CHECK_ENABLED, CHECK_LOGIN, CHECK_URL, redirects
from restbroker.servers.openfire.rest.writing import Dialect
from restbroker.transport.message import Response

CHECK_LOG: Final = "Jobs wait in Redis until it does. If it does not come back, see Openfire's log."
# Only secret files are read again while it runs.
_WAIT: Final = (
    "Jobs wait in Redis. It goes on by itself after a change on the server or in a secret's own file; a change in"
    " env.json needs a reload (SIGHUP) or a restart."
)


@attrs.frozen
class Health:
    """What the number of sessions told. `code`: of the finding that `check` makes of it."""

    probe: Probe
    code: str
    dialect: Dialect | None = None


def dialect_in(response: Response) -> Dialect | None:
    """The dialect, by the number of sessions: a text up to 1.2; None if it is none of both."""
    body = parsed(response.body)
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


def starting() -> Probe:
    """Of a server that says that it is."""
    detail = "Openfire answers, and is not ready: it starts, or stops."
    return Probe(ok=False, denied=False, version=None, detail=detail, cure=CHECK_LOG)


def judge_health(response: Response) -> Health:
    """What the answer to the question for the number of sessions means."""
    status, dialect = response.status, dialect_in(response)
    answer = read(response)
    says = f"status {status}: {answer.words}" if answer.words else f"status {status}"
    match status:
        case 200 if dialect is not None:
            about = "up to 1.2" if dialect == "1.2" else "1.3 or newer"
            detail = f"The REST API plugin answers, and takes the login; its JSON is that of {about}."
            return Health(Probe(ok=True, denied=False, version=None, detail=detail), "Reachable", dialect)
        case 401:
            return _denied("LoginRefused", f"The login is refused ({says}).", CHECK_LOGIN)
        case 403:
            return _denied("PluginDisabled", f"The plugin is switched off ({says}).", CHECK_ENABLED)
        case _ if 300 <= status < 400:
            probe = Probe(ok=False, denied=False, version=None, detail=redirects(answer), cure=BARRED)
            return Health(probe, "Redirected")
        case _ if status < 500:
            return _denied("NotTheApi", f"This is not the REST API plugin ({says}).", CHECK_URL)
        case _:
            detail = f"The server does not work now ({says})."
            return Health(Probe(ok=False, denied=False, version=None, detail=detail, cure=CHECK_LOG), "Unwell")


def _denied(code: str, detail: str, cure: str) -> Health:
    return Health(Probe(ok=False, denied=True, version=None, detail=detail, cure=f"{cure} {_WAIT}"), code)
