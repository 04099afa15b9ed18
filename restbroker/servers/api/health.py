"""What the answer to a harmless question tells of a target: one judgement for the prober and for `check`.

A kind's probe judges with it. Always holds: a judgement that is not well says what to do.
"""

from typing import Final

import attrs

from restbroker.job.outcome import Probe

# Only secret files are read again while it runs.
_WAIT: Final = (
    "Jobs wait in Redis. restbroker continues by itself after a change on the server or in a secret's file; a "
    "change in env.json needs a reload (SIGHUP) or a restart."
)
IF_NOT: Final = "Jobs wait in Redis until it does. If it does not come back, "
"""The beginning of a hint for a server that does not work now; where to look follows."""


@attrs.frozen
class Health:
    """The judgement of a target: the probe's answer, and the `code` of the finding that `check` makes of it.

    `hint`: what to do, without what becomes of jobs meanwhile.
    """

    probe: Probe
    code: str
    hint: str = ""


def target_up(detail: str, version: str | None = None) -> Health:
    """Return the judgement that the server works for us; `version` is the server's, if it tells one."""
    return Health(Probe(ok=True, denied=False, version=version, detail=detail), "Reachable")


def target_denied(code: str, detail: str, hint: str) -> Health:
    """Return the judgement that the server answers, but not us: the login or the address is wrong."""
    return Health(Probe(ok=False, denied=True, version=None, detail=detail, hint=f"{hint} {_WAIT}"), code, hint)


def target_down(detail: str, hint: str, code: str = "Unwell") -> Health:
    """Return the judgement that the server does not work now."""
    return Health(Probe(ok=False, denied=False, version=None, detail=detail, hint=hint), code, hint)
