"""What `restbroker check` looks at in a target of kind `openfire-rest`. The registry calls `check`.

Always holds: nothing changes on the server.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.servers.findings import Cause, Finding, ok
from restbroker.servers.openfire.rest import asking
from restbroker.servers.openfire.rest.asking import Health
from restbroker.servers.openfire.rest.options import BASE, Options
from restbroker.servers.openfire.rest.request import READY, STATISTICS, YAML, question
from restbroker.transport.client import open_transport
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Response, Transport

_WAIT: Final = "Jobs for this target wait in Redis until it works."
_CHAT_PORTS: Final = (7070, 7443)
"""Of the listener for web clients, which has the Chat API."""
_CONSOLE_PORTS: Final = {7070: 9090, 7443: 9091}
_DESCRIPTION: Final = "/openapi.yaml"
_VERSION: Final = re.compile(rb"^  version: *[\"']?([0-9][\w.-]{0,30})", re.MULTILINE)


async def check(target: Target) -> list[Finding]:
    """Everything about this target. What a person can act on is a finding. Safe to cancel."""
    try:
        async with _opened(target) as http:
            found = asking.judge_health(await http.send(question(target, STATISTICS)))
            if found.probe.ok:
                ready = await http.send(question(target, READY))
                described = await http.send(question(target, _DESCRIPTION, accept=YAML))
                return [_well(target, found), *_unready(target, ready), _version(target, found, described)]
            if found.code == "NotTheApi" and target.url.port in _CHAT_PORTS:
                return [_chat_port(target)]
            if found.code == "NotTheApi" and target.url.path != BASE:
                usual = attrs.evolve(target, url=attrs.evolve(target.url, path=BASE))
                there = asking.judge_health(await http.send(question(usual, STATISTICS)))
                if there.probe.ok or there.code in ("LoginRefused", "PluginDisabled"):
                    return [_other_path(target)]
    except (NotSent, MaybeSent) as error:
        return [_unreachable(target, error)]
    except ConfigError as error:
        return [Finding("problem", target.name, "BadLogin", error.message, _WAIT, error.cure, "config")]
    return [_unwell(target, found)]


@asynccontextmanager
async def _opened(target: Target) -> AsyncIterator[Transport]:
    http = open_transport(target)
    try:
        yield http
    finally:
        with trio.CancelScope(shield=True):
            await http.aclose()


def _well(target: Target, found: Health) -> Finding:
    return ok(target.name, "Reachable", f"{target.url}: {found.probe.detail}")


def _unready(target: Target, ready: Response) -> list[Finding]:
    if not asking.is_starting(ready):
        return []
    message = "It says that it is not ready: it starts, or stops."
    return [Finding("problem", target.name, "Unwell", message, _WAIT, "Wait, and see Openfire's log.", "target")]


def _version(target: Target, found: Health, described: Response) -> Finding:
    told = _VERSION.search(described.body) if described.status == 200 else None
    about = f"REST API plugin {told[1].decode()}" if told else "A REST API plugin that does not tell its version"
    writes = f"; bodies are written as {target.options_as(Options).write}" if found.dialect == "1.2" else ""
    return ok(target.name, "Version", f"{about}{writes}.")


def _chat_port(target: Target) -> Finding:
    port = target.url.port
    message = f"Port {port} is that of web clients and of the Chat API; the REST API plugin is not there."
    url = attrs.evolve(target.url, port=_CONSOLE_PORTS[port], path=BASE)
    return Finding("problem", target.name, "OtherPort", message, _WAIT, f'"URL": "{url}"', "target")


def _other_path(target: Target) -> Finding:
    message = f"{target.url} is not the REST API plugin, which is under {BASE} there."
    url = attrs.evolve(target.url, path=BASE)
    return Finding("problem", target.name, "OtherPath", message, _WAIT, f'"URL": "{url}"', "target")


def _unwell(target: Target, found: Health) -> Finding:
    message, cure = f"{target.url}: {found.probe.detail}", found.probe.cure
    cause: Cause = "refused" if found.code == "LoginRefused" else "target"
    return Finding("problem", target.name, found.code, message, _WAIT, cure, cause)


def _unreachable(target: Target, error: NotSent | MaybeSent) -> Finding:
    is_plain = target.url.scheme == "https" and target.url.port == 9090
    hint = "Port 9090 speaks no TLS as Openfire comes: https is on 9091. " if is_plain else ""
    if isinstance(error, NotSent) and error.tls:
        cure = f"{hint}Look at the server's certificate, and at TLS.CAFile."
        return Finding("problem", target.name, "TlsFailed", error.message, _WAIT, cure, "target")
    cure = f"{hint}Check that Openfire runs, the address and port of its console, and the target's URL."
    return Finding("problem", target.name, "Unreachable", error.message, _WAIT, cure, "target")
