"""Judges whether the server has the target's domain. Pure.

Called by `check`. Always holds: exactly one finding; a server that does not tell its hosts is not guessed at.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from restbroker.config.target import Target
from restbroker.connectors.ejabberd.answer import read
from restbroker.connectors.ejabberd.check import ejabberd_yml
from restbroker.rules.findings import Finding, ok
from restbroker.transport.message import Response


def judge_hosts(target: Target, response: Response, version: str | None) -> Finding:
    """What the answer to `registered_vhosts` means. `version` is the server's, None if it does not tell."""
    name, domain = target.name, target.default_host
    hosts = read(response).body
    if response.status != 200 or not isinstance(hosts, list):
        message = "Whether the server knows JabberDomain cannot be told: the login may not call registered_vhosts."
        lines = ejabberd_yml.permissions(target, ["registered_vhosts"])
        return Finding("note", name, "HostsHidden", message, "Nothing else needs that command.", lines)
    served = [str(host) for host in hosts]
    if domain is None:
        why = "Jobs must name their host."
        if version is not None and _number(version) >= (24, 12) and target.host_header not in served:
            why += " And ejabberd logs a warning for each request, since the Host header names none of its hosts."
        cure = f'"JabberDomain": "{served[0]}"' if served else None
        message = f"The server has the virtual hosts {_some(served)}; JabberDomain names none."
        return Finding("note", name, "NoDomain", message, why, cure)
    if domain in served:
        return ok(name, "Host", f"The server has the virtual host {domain}.")
    nearest = get_close_matches(domain, served, n=1, cutoff=0.6) or served[:1]
    return Finding(
        "problem",
        name,
        "UnknownHost",
        f"The server has no virtual host {domain}; it has {_some(served)}.",
        "Commands for a host that it does not have are refused, and their jobs parked.",
        f'"JabberDomain": "{nearest[0]}"' if nearest else None,
    )


def _some(hosts: Sequence[str]) -> str:
    return ", ".join(hosts[:5]) + (f" and {len(hosts) - 5} more" if len(hosts) > 5 else "")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
