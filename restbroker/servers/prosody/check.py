"""What `restbroker check` looks at in a target of kind `prosody-rest`. The registry calls `check`.

Always holds: nothing changes on the server, and no stanza goes to anybody but the account's own host.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from restbroker.config.target import Basic, Target
from restbroker.errors import ConfigError
from restbroker.servers.api.login import authorization
from restbroker.servers.findings import Finding, ok
from restbroker.servers.prosody.answer import read
from restbroker.servers.prosody.connector import judge_probe, ready
from restbroker.servers.prosody.options import Place, options_of
from restbroker.servers.prosody.outcomes import CHECK_URL
from restbroker.transport.client import open_transport
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response, Transport

_WAIT = "Jobs for this target wait in Redis until it works."
_PARKED = "Jobs with its commands are parked."
_LIMIT_BYTES = 65_536


async def check(target: Target) -> list[Finding]:
    """Everything about this target. What a person can act on is a finding. Safe to cancel."""
    settings = options_of(target)
    async with _open(target) as http:
        try:
            first = _judged(target, await http.send(ready(target, settings)))
            if first.level != "ok":
                return [first]
            found = [first]
            if settings.host is None:
                found.append(_no_host(target))
            if (admin := settings.places.get("admin")) is not None:
                found.append(_admin(target, await http.send(_asking_admin(target, admin))))
            if (msg := settings.places.get("msg")) is not None:
                found.append(_msg(target, await http.send(_asking_msg(target, msg))))
        except (NotSent, MaybeSent) as error:
            return [_unreachable(target, error)]
        except ConfigError as error:
            return [Finding("problem", target.name, "BadLogin", error.message, _WAIT, error.cure, "config")]
    return found


@asynccontextmanager
async def _open(target: Target) -> AsyncIterator[Transport]:
    http = open_transport(target)
    try:
        yield http
    finally:
        with trio.CancelScope(shield=True):
            await http.aclose()


def _judged(target: Target, response: Response) -> Finding:
    probe, name = judge_probe(response), target.name
    message = f"{target.url}: {probe.detail}"
    if probe.ok:
        return ok(name, "Reachable", message)
    if not probe.denied:
        return Finding("problem", name, "Unwell", message, _WAIT, probe.cure, "target")
    if response.status in (401, 403):
        return Finding("problem", name, "LoginRefused", message, _WAIT, _login_cure(target), "refused")
    return Finding("problem", name, "NotTheApi", message, _WAIT, probe.cure, "target")


def _login_cure(target: Target) -> str:
    match target.credentials:
        case None:
            return "Give Auth: mod_rest takes an account's password, or a token."
        case Basic():
            return "Check that the account exists on that VirtualHost, and its password."
        case _:
            return "Make a new token for the account, and let it send stanzas."


def _no_host(target: Target) -> Finding:
    message = "The account's domain is not known, so that its host could not be asked for a version."
    why = "The probe sees whether the login is taken, and not whether stanzas are."
    return Finding("note", target.name, "NoDomain", message, why, f'"Domain": "example.org" in Targets.{target.name}')


def _asking_admin(target: Target, place: Place) -> Request:
    return Request(
        "GET", f"{place.path}/server/info", target.timeout_s, (), authorization(place.login), b"", _LIMIT_BYTES
    )


def _admin(target: Target, response: Response) -> Finding:
    return _beside(target, response, is_well=response.status == 200, option="AdminURL", module="mod_http_admin_api")


def _asking_msg(target: Target, place: Place) -> Request:
    # No JSON: whoever is let in is told that, and nothing is sent.
    headers = (*authorization(place.login), ("Content-Type", "application/json"))
    return Request("POST", f"{place.path}/restbroker", target.timeout_s, (), headers, b"{", _LIMIT_BYTES)


def _msg(target: Target, response: Response) -> Finding:
    return _beside(target, response, is_well=response.status in (400, 422), option="MsgURL", module="mod_post_msg")


def _beside(target: Target, response: Response, *, is_well: bool, option: str, module: str) -> Finding:
    name, status = target.name, response.status
    if is_well:
        return ok(name, option, f"{module} answers, and takes the login.")
    answer = read(response)
    says = f"status {status}: {answer.words}" if answer.words else f"status {status}"
    match status:
        case 401 | 403:
            cure = (
                "Check AdminToken." if option == "AdminURL" else "Check the account with its domain, and its password."
            )
            message = f"{module} refuses the login ({says})."
            return Finding("problem", name, "LoginRefused", message, _PARKED, cure, "refused")
        case _ if status < 500:
            message = f"{option} does not lead to {module} ({says})."
            return Finding("problem", name, "NotTheApi", message, _PARKED, CHECK_URL, "target")
        case _:
            message = f"{module} does not work now ({says})."
            return Finding("problem", name, "Unwell", message, _PARKED, "See Prosody's log.", "target")


def _unreachable(target: Target, error: NotSent | MaybeSent) -> Finding:
    if isinstance(error, NotSent) and error.tls:
        cure = "Look at the server's certificate, and at TLS.CAFile."
        return Finding("problem", target.name, "TlsFailed", error.message, _WAIT, cure, "target")
    cure = "Check that Prosody runs, its http_interfaces and http_ports, and the target's URL."
    return Finding("problem", target.name, "Unreachable", error.message, _WAIT, cure, "target")
