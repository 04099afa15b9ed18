"""What `restbroker check` looks at in a target of kind `http`. The registry calls `check`.

Always holds: only the probe is sent, which changes nothing there.
"""

import trio

from restbroker.config.target import Target
from restbroker.job.outcome import Probe
from restbroker.servers.findings import Finding, ok
from restbroker.servers.http.connector import judge_probe, ready
from restbroker.servers.http.recipes import Settings, settings_of
from restbroker.transport.client import open_transport
from restbroker.transport.errors import MaybeSent, NotSent

_WAIT = "Jobs for this target wait in Redis until it works."


async def check(target: Target) -> list[Finding]:
    """Everything about this target. What a person can act on is a finding. Safe to cancel."""
    settings = settings_of(target)
    return [
        _commands(target, settings),
        *([_signed(target, settings)] if settings.signing else []),
        await _answer(target),
    ]


async def _answer(target: Target) -> Finding:
    settings, http = settings_of(target), open_transport(target)
    try:
        response = await http.send(ready(target, settings))
    except (NotSent, MaybeSent) as error:
        return _unreachable(target, error)
    finally:
        with trio.CancelScope(shield=True):
            await http.aclose()
    return _judged(target, judge_probe(response, is_asked=settings.probe is not None), settings)


def _commands(target: Target, settings: Settings) -> Finding:
    return ok(target.name, "Commands", f"Jobs may ask for {', '.join(sorted(settings.recipes))}.")


def _signed(target: Target, settings: Settings) -> Finding:
    by = "one secret" if len(settings.signing) == 1 else f"{len(settings.signing)} secrets"
    return ok(target.name, "Signed", f"Each request is signed with {by} (Standard Webhooks).")


def _judged(target: Target, probe: Probe, settings: Settings) -> Finding:
    name = target.name
    if probe.denied:
        return Finding("problem", name, "LoginRefused", f"{target.url}: {probe.detail}", _WAIT, probe.cure, "refused")
    if not probe.ok:
        return Finding("problem", name, "Unwell", f"{target.url}: {probe.detail}", _WAIT, probe.cure, "target")
    if settings.probe is None:
        message = f"{target.url} answers; whether it takes the login is not known."
        why = "A job that meets 401 or 403 is parked, since nothing tells whether all would."
        cure = 'Name something that needs the login and changes nothing: "Probe": {"Path": "/me"} in Options.'
        return Finding("note", name, "LoginUnknown", message, why, cure)
    return ok(name, "Reachable", f"{target.url} answers, and takes the login.")


def _unreachable(target: Target, error: NotSent | MaybeSent) -> Finding:
    if isinstance(error, NotSent) and error.tls:
        cure = "Look at the server's certificate, and at TLS.CAFile."
        return Finding("problem", target.name, "TlsFailed", error.message, _WAIT, cure, "target")
    cure = "Check that the server runs, and the target's URL; for one in a private network say AllowPrivate in Options."
    return Finding("problem", target.name, "Unreachable", error.message, _WAIT, cure, "target")
