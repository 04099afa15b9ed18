"""Checks whether restbroker's own services are there: rosters for Prosody, and the paths to which events are posted.

Called by `restbroker check`; `operate.post_event` asks as it does. Always holds: the check posts no event, and what is
read of a roster is thrown away; the secrets go to the configured address only, and into no finding.
"""

import base64
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import quote

from restbroker.config.core import Config
from restbroker.config.events import Events, EventSource
from restbroker.config.roster import USER, QueryKey, Roster
from restbroker.config.target import Basic
from restbroker.config.tls import ends_at_s
from restbroker.errors import ConfigError
from restbroker.operate.check.config import TEXTS
from restbroker.servers.findings import Finding, moment, ok

_WAIT_S: Final = 5.0
_USER: Final = "restbroker-check"
_ANYWHERE: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  only looked for


def check_services(config: Config) -> Iterator[Finding]:
    """Yield the findings on what is configured to be served here."""
    if config.roster is not None:
        yield _roster(config.roster)
    if config.events is not None:
        yield from _events(config.events)


def why_unserved(events: Events, source: EventSource) -> str | None:
    """Return a sentence saying that no process accepts what servers post to this source; None if one may accept it.

    Nothing is posted: the check only sees whether something listens.
    """
    if source.path is None:
        return None
    bind = source.listen or events.listen
    host, port = bind
    try:
        socket.create_connection((_ANYWHERE.get(host, host), port), _WAIT_S).close()
    except OSError as error:
        return unserved_text(bind, error)
    return None


def _roster(roster: Roster) -> Finding:
    area, where = "Roster", _url_host(roster.bind)
    path = roster.path.replace(USER, _USER)
    headers: dict[str, str] = {}
    try:
        match roster.auth:
            case Basic(user, password):
                login = base64.b64encode(f"{user}:{password.reveal()}".encode()).decode()
                headers["Authorization"] = f"Basic {login}"
            case QueryKey(value):
                path = f"{path}?key={quote(value.reveal(), safe='')}"
            case None:
                pass
        status = _ask(_connection(roster.bind), "GET", path, headers).status
    except ConfigError:
        return TEXTS.finding(area, "NotLookedAt-secret")
    except (OSError, HTTPException) as error:
        command = "run" if roster.served else "roster serve"
        return TEXTS.finding(area, "NotServing-roster", where=where, fault=_why(error), command=command)
    if status == 200:
        return ok(area, "Serving", f"A process serves rosters at {where}.")
    return TEXTS.finding(area, "NotOurs", where=where, what="", status=status)


def _events(events: Events) -> Iterator[Finding]:
    area = "Events"
    told: set[tuple[str, int]] = set()
    if events.tls is not None and (ends_s := ends_at_s(events.tls.cert)) <= time.time():
        yield TEXTS.finding(area, "CertificateExpired", file=events.tls.cert, at=moment(ends_s))
    for source in events.sources:
        if source.path is None:
            continue
        bind = source.listen or events.listen
        where = _url_host(bind)
        try:
            status = ask_source(events, source, "OPTIONS", source.path, {}).status
        except ConfigError:
            yield TEXTS.finding(area, "NotLookedAt-secret")
            continue
        except (OSError, HTTPException) as error:
            if bind not in told:
                told.add(bind)
                yield TEXTS.finding(area, "NotServing-events", message=unserved_text(bind, error))
            continue
        if status == 200:
            yield ok(area, "Serving", f"A process accepts events of the source {source.name} at {where}.")
        else:
            yield TEXTS.finding(area, "NotOurs", where=where, what=f" for the source {source.name}", status=status)


def ask_source(
    events: Events, source: EventSource, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
) -> HTTPResponse:
    """Return the answer to a request with the source's secret; its body can still be read.

    Raise `ConfigError` if the secret cannot be read, and `OSError` or `HTTPException` if there is no answer.
    """
    secret = "" if source.secret is None else source.secret.reveal().encode().decode("latin-1")
    login = {"authorization": f"Bearer {secret}"} if secret else {}
    is_secured = source.listen is None and events.tls is not None
    connection = _connection(source.listen or events.listen, is_secured=is_secured)
    return _ask(connection, method, path, {**login, **headers}, body)


def _connection(bind: tuple[str, int], *, is_secured: bool = False) -> HTTPConnection:
    host, port = bind
    where = _ANYWHERE.get(host, host)
    if is_secured:
        return HTTPSConnection(where, port, timeout=_WAIT_S, context=_unverified_context())
    return HTTPConnection(where, port, timeout=_WAIT_S)


def _ask(
    connection: HTTPConnection, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
) -> HTTPResponse:
    """Return the answer to one request; raise `OSError` or `HTTPException` if there is none."""
    try:
        connection.request(method, path, body, {"Connection": "close", **headers})
        return connection.getresponse()
    finally:
        connection.close()


def _unverified_context() -> ssl.SSLContext:
    """Return a TLS context that checks no certificate.

    The address is our own, and the certificate has the name that others use for it.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def unserved_text(bind: tuple[str, int], error: OSError | HTTPException) -> str:
    """Return the sentence that no process accepts events at this address."""
    return f"No process accepts events at {_url_host(bind)}: {_why(error)}."


def _url_host(bind: tuple[str, int]) -> str:
    host, port = bind
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _why(error: OSError | HTTPException) -> str:
    words = error.strerror if isinstance(error, OSError) else None
    return words or str(error) or type(error).__name__
