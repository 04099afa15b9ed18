"""Judges whether the server has the target's domain, and chooses a host for the check of rights. Pure.

Called by `check`. Always holds: exactly one finding; nothing is guessed about a server that does not tell its hosts.
"""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches

import attrs

from restbroker.config.target import Basic, IssuedLogin, Target
from restbroker.servers.ejabberd.answer import hosts_in, read
from restbroker.servers.ejabberd.check import ejabberd_yml
from restbroker.servers.ejabberd.check.entry import TEXTS
from restbroker.servers.findings import Finding, ok
from restbroker.transport.message import Response

INVALID_HOST = "restbroker.invalid"
"""A host that no server has (RFC 2606)."""


@attrs.frozen
class TrialHost:
    """The host that the check of rights names in its calls; `is_served`: the server certainly has it."""

    name: str
    is_served: bool


def trial_host(target: Target, response: Response) -> TrialHost:
    """Return the host for the check of rights; `response` is the answer to `registered_vhosts`.

    It is the target's domain, else the account's, which is there since the login was taken, else any of the server's.
    If the server does not tell its hosts, the account's counts before the target's domain.
    """
    served = hosts_in(response)
    own = _own_host(target)
    if served is None:
        return TrialHost(own or target.default_host or INVALID_HOST, is_served=own is not None)
    found = next((host for host in (target.default_host, own, *served) if host in served), None)
    return TrialHost(found or INVALID_HOST, is_served=found is not None)


def _own_host(target: Target) -> str | None:
    credentials = target.credentials
    login = credentials.login if isinstance(credentials, IssuedLogin) else credentials
    return login.user.rpartition("@")[2].lower() if isinstance(login, Basic) and "@" in login.user else None


def classify_hosts(target: Target, response: Response, version: str | None) -> Finding:
    """Return the finding about the answer to `registered_vhosts`; `version` is the server's, None if not known."""
    name, domain = target.name, target.default_host
    served, hide = hosts_in(response), read(response).masked_text.hide
    if served is None:
        return TEXTS.finding(name, "HostsHidden", hint=ejabberd_yml.permissions(target, ["registered_vhosts"]))
    if domain is None:
        more = ""
        if version is not None and _number(version) >= (24, 12) and target.host_header not in served:
            more = " ejabberd also logs a warning for each request, since the Host header names none of its hosts."
        hint = f'"JabberDomain": "{hide(served[0])}"' if served else None
        return TEXTS.finding(name, "NoDomain", hosts=_some(served, hide), more=more, hint=hint)
    if domain in served:
        return ok(name, "Host", f"The server has the virtual host {domain}.")
    nearest = get_close_matches(domain, served, n=1, cutoff=0.6) or served[:1]
    hint = f'"JabberDomain": "{hide(nearest[0])}"' if nearest else None
    return TEXTS.finding(name, "UnknownHost", domain=domain, hosts=_some(served, hide), hint=hint)


def _some(hosts: Sequence[str], hide: Callable[[str], str]) -> str:
    return hide(", ".join(hosts[:5])) + (f" and {len(hosts) - 5} more" if len(hosts) > 5 else "")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
