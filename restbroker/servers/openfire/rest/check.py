"""What `restbroker check` checks in a target of kind `openfire-rest`. The registry calls `check`.

Always holds: nothing changes on the server.
"""

from typing import Final

import attrs

from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.servers.api.checks import JOBS_WAIT, bad_login, finding, open_client, unreachable
from restbroker.servers.findings import Finding, Texts, ok
from restbroker.servers.openfire.rest.connector import dialect_in, health_of, is_starting, version_of
from restbroker.servers.openfire.rest.options import BASE
from restbroker.servers.openfire.rest.request import DESCRIPTION, READY, STATISTICS, YAML, question
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Response

_TEXTS: Final = Texts.beside(__file__)
_CHAT_PORTS: Final = (7070, 7443)
"""The ports of the listener for web clients, which has the Chat API."""
_CONSOLE_PORTS: Final = {7070: 9090, 7443: 9091}


async def check(target: Target) -> list[Finding]:
    """Ask the target's server and return the findings; a failure that a person can act on is a finding, too.

    Safe to cancel.
    """
    try:
        async with open_client(target) as http:
            sessions = await http.send(question(target, STATISTICS))
            found = health_of(sessions)
            if found.probe.ok:
                ready = await http.send(question(target, READY))
                described = await http.send(question(target, DESCRIPTION, accept=YAML))
                version = version_of(dialect_in(sessions), ready, described)
                return [finding(target, found), *_unready(target, ready), _version(target, version)]
            if found.code == "NotTheApi" and target.url.port in _CHAT_PORTS:
                return [_chat_port(target)]
            if found.code == "NotTheApi" and target.url.path != BASE:
                usual = attrs.evolve(target, url=attrs.evolve(target.url, path=BASE))
                there = health_of(await http.send(question(usual, STATISTICS)))
                if there.probe.ok or there.code in ("LoginRefused", "PluginDisabled"):
                    return [_other_path(target)]
    except (NotSent, MaybeSent) as error:
        return [no_answer(target, error)]
    except ConfigError as error:
        return [bad_login(target, error)]
    return [finding(target, found)]


def no_answer(target: Target, error: NotSent | MaybeSent) -> Finding:
    """Return the finding that the target did not answer a request of the check, for the reason in `error`."""
    is_plain = target.url.scheme == "https" and target.url.port == 9090
    plain = "Port 9090 has no TLS by default: https is on 9091. " if is_plain else ""
    hint = "Check that Openfire runs, the address and port of its console, and the target's URL."
    return unreachable(target, error, hint, plain)


def _unready(target: Target, ready: Response) -> list[Finding]:
    return [_TEXTS.finding(target.name, "Unwell", why=JOBS_WAIT)] if is_starting(ready) else []


def _version(target: Target, version: str | None) -> Finding:
    about = "A REST API plugin of unknown version" if version is None else f"REST API plugin {version}"
    return ok(target.name, "Version", f"{about}.")


def _chat_port(target: Target) -> Finding:
    port = target.url.port
    url = attrs.evolve(target.url, port=_CONSOLE_PORTS[port], path=BASE)
    return _TEXTS.finding(target.name, "OtherPort", port=port, url=url, why=JOBS_WAIT)


def _other_path(target: Target) -> Finding:
    url = attrs.evolve(target.url, path=BASE)
    return _TEXTS.finding(target.name, "OtherPath", own=target.url, base=BASE, url=url, why=JOBS_WAIT)
