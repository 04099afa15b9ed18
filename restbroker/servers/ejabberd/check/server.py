"""Examines one ejabberd: reachable, its API at all, login, rights, version, virtual host.

Called by `registry.check`. Always holds: nothing changes on the server. Commands are first called with an argument that
no command has, which ejabberd refuses before anything runs; rights, which it checks after the form of the arguments,
are tested by calls that cannot have an effect (see `check.rights`). The one exception: if the target uses tokens that
ejabberd issues, one is requested, lives for a minute at most, and is revoked.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import trio

from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.servers.api.checks import open_client
from restbroker.servers.ejabberd import catalogue
from restbroker.servers.ejabberd.check import ejabberd_yml
from restbroker.servers.ejabberd.check.entry import (
    TEXTS,
    Entry,
    classify_entry,
    is_silent,
    lost_connection,
    out_of_time,
    unreachable,
    unusable_login,
)
from restbroker.servers.ejabberd.check.find_api import PORTS, find_api
from restbroker.servers.ejabberd.check.hosts import classify_hosts, trial_host
from restbroker.servers.ejabberd.check.logins import check_login
from restbroker.servers.ejabberd.check.rights import UNKNOWN_ARGUMENT, ask_rights, classify_rights, is_missing
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.ejabberd.request import question
from restbroker.servers.findings import Finding, ok
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Transport

LIMIT_S: Final = 30.0
"""The limit in seconds for all questions together, some thirty; ejabberd needs some milliseconds for each."""

MODULES: Final[Mapping[str, Sequence[str]]] = {
    "mod_admin_extra": ("check_account", "send_message", "change_password", "kick_user", "add_rosteritem", "set_vcard"),
    "mod_muc_admin": ("create_room", "set_room_affiliation"),
}
"""Commands that are commonly needed, by the module that brings them."""


async def check(target: Target, ports: Sequence[tuple[str, int]] = PORTS, limit_s: float = LIMIT_S) -> list[Finding]:
    """Return all findings about this target; a failure that a person can act on is a finding, and not raised.

    `ports`: (scheme, port) pairs at which to look for the API if the target's URL does not have it. After `limit_s`
    seconds, return the findings so far. Safe to cancel.
    """
    found: list[Finding] = []
    with trio.move_on_after(limit_s) as limit:
        await _check_server(target, ports, found)
    if limit.cancelled_caught:
        found.append(out_of_time(target, limit_s, answered=bool(found)))
    return found


async def _check_server(target: Target, ports: Sequence[tuple[str, int]], found: list[Finding]) -> None:
    elsewhere = True
    timed_out = False
    try:
        async with open_client(target) as http:
            entry = classify_entry(target, await http.send(question(target, "status")))
            found.append(entry.finding)
            elsewhere = entry.elsewhere
            if entry.finding.level == "ok":
                await _inside(target, http, entry, found)
    except ConfigError as error:
        found.append(unusable_login(target, error))
        return
    except (NotSent, MaybeSent) as error:
        found.append(unreachable(target, error))
        elsewhere, timed_out = not is_silent(error), error.timed_out
    if elsewhere:
        urls = await find_api(target, ports)
        # A server that is too slow, or behind a firewall, may well offer the API.
        if urls or not timed_out:
            found.append(_suggestion(target, urls))


def _suggestion(target: Target, urls: Sequence[object]) -> Finding:
    if urls:
        return TEXTS.finding(target.name, "FoundElsewhere", urls=", ".join(map(str, urls)), url=urls[0])
    url = target.url
    ports = ", ".join(map(str, dict.fromkeys([url.port, *(port for _, port in PORTS)])))
    tried = f"ports {ports}" if url.socket is None else "this socket"
    return TEXTS.finding(target.name, "FoundNowhere", host=url.host, tried=tried, hint=ejabberd_yml.listen(url))


async def _inside(target: Target, http: Transport, entry: Entry, found: list[Finding]) -> None:
    try:
        found += _version(target, entry.version)
        found += await _modules(target, http)
        hosts = await http.send(question(target, "registered_vhosts"))
        host = trial_host(target, hosts)
        rights = await ask_rights(target, http, host, entry.version)
        found.append(classify_rights(target, rights, host))
        if not any(finding.level == "problem" for finding in found):
            found.append(classify_hosts(target, hosts, entry.version))
            found += await check_login(target, http, host.name)
    except (NotSent, MaybeSent) as error:
        found.append(lost_connection(target, error))


def _version(target: Target, version: str | None) -> Iterator[Finding]:
    wanted = target.options_as(Options).server_version
    if version is None:
        return
    if wanted not in ("auto", version):
        yield TEXTS.finding(target.name, "OtherVersion", wanted=wanted, version=version)
    if (message := catalogue.too_old(target, version)) is not None:
        yield TEXTS.finding(target.name, "NoApiVersions", message=message, hint=catalogue.NO_API_VERSION)
    known = catalogue.for_target(target, version).version
    yield ok(target.name, "Version", f"It is ejabberd {version}; restbroker uses the command list of {known}.")


async def _modules(target: Target, http: Transport) -> list[Finding]:
    """Return which commands are missing, by module, as findings; ask with an argument that no command has."""
    missing: dict[str, list[str]] = {}
    for module, commands in MODULES.items():
        for command in commands:
            response = await http.send(question(target, command, UNKNOWN_ARGUMENT))
            if is_missing(response):
                missing.setdefault(module, []).append(command)
    return [
        TEXTS.finding(
            target.name,
            "ModuleMissing",
            commands=", ".join(commands),
            module=module,
            hint=ejabberd_yml.module(module),
        )
        for module, commands in missing.items()
    ]
