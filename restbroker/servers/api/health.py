"""The health of a target, as the answer to a harmless request shows it: one value for the prober and for `check`.

A kind's probe makes it. Always holds: unless the target is up, it has a hint.
"""

from typing import Final

from restbroker.job.outcome import Probe
from restbroker.light import frozen
from restbroker.servers.api.answer import Answer

# Only secret files are read again while it runs.
_WAIT: Final = (
    "Jobs wait in Redis. restbroker continues by itself after a change on the server or in a secret's file; a "
    "change in env.json needs a reload (SIGHUP) or a restart."
)
IF_NOT: Final = "Jobs wait in Redis until it does. If it does not come back, "
"""The beginning of a hint for a server that does not work now; where to look follows."""


@frozen
class Health:
    """The health of a target: the probe's result, and the `code` of the finding that `check` makes of it.

    `hint`: what to do, without the sentence about the jobs that wait, which `probe.hint` has.
    """

    probe: Probe
    code: str
    hint: str = ""


def target_up(detail: str, version: str | None = None) -> Health:
    """Return the health of a server that works for us; `version` is the server's, None if it tells none."""
    return Health(Probe(ok=True, denied=False, version=version, detail=detail), "Reachable")


def target_denied(code: str, detail: str, hint: str) -> Health:
    """Return the health of a server that works but refuses us: the login or the address is wrong."""
    return Health(Probe(ok=False, denied=True, version=None, detail=detail, hint=f"{hint} {_WAIT}"), code, hint)


def target_down(detail: str, hint: str, code: str = "Unwell") -> Health:
    """Return the health of a server that does not work now."""
    return Health(Probe(ok=False, denied=False, version=None, detail=detail, hint=hint), code, hint)


def standard_health(answer: Answer, server: str, check_login: str, check_url: str) -> Health:
    """Return the health that an answer shows by its status alone; a kind judges first what means more to it.

    `server` is what should answer; `check_login` and `check_url` are hints.
    """
    match answer.status:
        case 401 | 403:
            return target_denied("LoginRefused", f"The login is refused ({answer.summary}).", check_login)
        case status if 300 <= status < 400:
            where = answer.masked_text.address() or "elsewhere"
            return target_denied("Redirect", f"The server redirects to {where} (status {answer.status}).", check_url)
        case 200 | 404 | 405:
            return target_denied("NotTheApi", f"This is not {server} ({answer.summary}).", check_url)
        case _:
            return target_down(f"The server does not work now ({answer.summary}).", f"{IF_NOT}see its log.")
