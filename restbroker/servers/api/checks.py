"""Findings of `restbroker check` that are the same for targets of every kind: up, down, or unreachable.

The checks of the kinds call these. Always holds: requests use the same transport settings as the target's jobs.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio

from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.servers.api.health import Health
from restbroker.servers.findings import Cause, Finding
from restbroker.transport.client import open_transport
from restbroker.transport.message import MaybeSent, NotSent, Transport

JOBS_WAIT: Final = "Jobs for this target wait in Redis until it works."
_CAUSES: Final[Mapping[str, Cause]] = {
    "CommandForbidden": "refused",
    "LoginRefused": "refused",
    "NoApiVersions": "config",
    "NoToken": "refused",
    "Refused": "refused",
}
"""By the code of a health, what its problem is about; that of others is the target."""


@asynccontextmanager
async def open_client(target: Target) -> AsyncIterator[Transport]:
    """Open an HTTP client for the target, and close it at the end of the block. Safe to cancel."""
    http = open_transport(target)
    try:
        yield http
    finally:
        with trio.CancelScope(shield=True):
            await http.aclose()


@asynccontextmanager
async def asking(target: Target, found: list[Finding], hint: str, plain: str = "") -> AsyncIterator[Transport]:
    """Open an HTTP client for the block; add to `found` why something in it could not be sent or was not answered.

    `hint` and `plain`: as of `unreachable`. Safe to cancel.
    """
    try:
        async with open_client(target) as http:
            yield http
    except (NotSent, MaybeSent) as error:
        found.append(unreachable(target, error, hint, plain))
    except ConfigError as error:
        found.append(bad_login(target, error))


def problem(
    target: Target, code: str, message: str, hint: str | None, *, why: str = JOBS_WAIT, cause: Cause = "target"
) -> Finding:
    """Return a finding of something that must be changed; `hint` says how."""
    return Finding("problem", target.name, code, message=message, why=why, hint=hint, cause=cause)


def finding(target: Target, health: Health, hint: str | None = None) -> Finding:
    """Return `health` as a finding; with `hint` in place of its own."""
    message = f"{target.url}: {health.probe.detail}"
    if health.probe.ok:
        return Finding("ok", target.name, health.code, message, version=health.probe.version)
    return problem(target, health.code, message, hint or health.probe.hint, cause=_CAUSES.get(health.code, "target"))


def unreachable(target: Target, error: NotSent | MaybeSent, hint: str, plain: str = "") -> Finding:
    """Return the finding about a request that could not be sent or was not answered.

    `hint` says what to do; `plain` is a sentence to put before it.
    """
    if isinstance(error.__cause__, ConfigError):
        return bad_login(target, error.__cause__)
    if isinstance(error, NotSent) and error.tls:
        return problem(target, "TlsFailed", error.message, f"{plain}{error.tls_hint}")
    better = error.hint if isinstance(error, NotSent) else None
    return problem(target, "Unreachable", error.message, f"{plain}{better or hint}")


def bad_login(target: Target, error: ConfigError) -> Finding:
    """Return the finding about a login that cannot be sent, since its secret cannot be read or used."""
    return problem(target, "BadLogin", error.message, error.hint, cause="config")
