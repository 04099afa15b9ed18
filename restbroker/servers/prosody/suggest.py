"""Writes the lines that load the modules of Prosody that a target's tokens need. Pure.

The registry calls `suggest`. Always holds: no module is loaded for tokens that allow no command of it; comments say
what a module allows beyond the tokens.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from restbroker.config.target import Bearer, Target
from restbroker.config.urls import is_loopback
from restbroker.servers.allowed_commands import AllowedCommands
from restbroker.servers.prosody.catalogue import TABLE
from restbroker.servers.prosody.options import Api, account_domain, options_of

_MODULES: Final[Mapping[Api, str]] = {"rest": "rest", "admin": "http_admin_api", "msg": "post_msg"}
_AD_HOC: Final = "admin_adhoc"
"""The module that answers the ad-hoc commands, which mod_rest passes on."""


def suggest(target: Target, allowed: AllowedCommands) -> str:
    """Return the lines for Prosody's configuration, with comments that say what to know about them."""
    return "\n".join((*_remarks(target, allowed), *_host(target, allowed)))


def _remarks(target: Target, allowed: AllowedCommands) -> Iterator[str]:
    yield f"-- Prosody's configuration, for the target {target.name}; after the change: restart Prosody"
    yield "-- A module is allowed as a whole. The tokens' Allow says which of its commands jobs may run."
    yield "-- The account that logs in to mod_rest sends in its own name; it must not be an administrator (admins)"
    yield "-- unless jobs are to manage accounts, or send iqs that only an administrator may send."
    if _MODULES["admin"] in _modules_needed(target, allowed):
        yield "-- mod_http_admin_api takes an administrator's token: in 0.12 with the scope prosody:scope:admin, in 13"
        yield "-- with the account's role (prosody:operator for accounts in admins). It needs mod_groups_internal."
    if isinstance(target.credentials, Bearer):
        yield "-- A token may be a bot's, at a component (on 0.12; see examples/prosody-bot). Then it is"
        yield f'-- Component {json.dumps(_name(target))} "rest" in the place of the VirtualHost below.'
    if allowed.hosts:
        yield f"-- Only restbroker keeps jobs to {', '.join(allowed.hosts)}."


def _host(target: Target, allowed: AllowedCommands) -> Iterator[str]:
    yield from listener_lines(target)
    yield f"VirtualHost {json.dumps(_name(target))}"
    yield "    modules_enabled = {"
    for module, commands in _modules_needed(target, allowed).items():
        what = ", ".join(commands) or "restbroker asks it whether Prosody works"
        yield f"        {json.dumps(module)}; -- {what}"
    yield "    }"


def _name(target: Target) -> str:
    return account_domain(target) or target.host_header or "THE VIRTUAL HOST"


def _modules_needed(target: Target, allowed: AllowedCommands) -> Mapping[str, list[str]]:
    """Return the commands of each module; mod_rest is needed even without any, since the probe asks it."""
    found: dict[str, list[str]] = {_MODULES["rest"]: []}
    for name in allowed.commands:
        entry = TABLE.get(name)
        if entry is not None and entry.api in options_of(target).apis:
            module = _MODULES[entry.api] if entry.ad_hoc is None else _AD_HOC
            found.setdefault(module, []).append(name)
    return found


def listener_lines(target: Target) -> Iterator[str]:
    """Yield lines that have Prosody's web server listen where this target's URL leads; on loopback only, if that is."""
    url = target.url
    used = "https" if url.scheme == "https" else "http"
    yield "-- This applies to all that Prosody's web server offers, not only to this target."
    if is_loopback(url.host):
        yield f'{used}_interfaces = {{ "127.0.0.1" }}'
    else:
        yield "-- Others must not reach this port: give it an address that only restbroker reaches."
        yield f'{used}_interfaces = {{ "THE ADDRESS THAT RESTBROKER REACHES" }}'
    yield f"{used}_ports = {{ {url.port} }}"
