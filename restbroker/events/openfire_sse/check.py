"""Looks at what a source of the kind `openfire-sse` needs of its server. Called by `admin.check_services`.

Always holds: nothing is read or changed there: a stream that were opened would take the events of a running broker. So
one is asked for with a header `Accept` that the server refuses (measured), after it has looked at the login.
"""

import base64
import ssl
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import quote

from restbroker.config.events import EventSource
from restbroker.config.passwords import passwords_in
from restbroker.config.target import Target
from restbroker.config.tls import context_of
from restbroker.errors import ConfigError
from restbroker.events.openfire_sse.settings import Settings
from restbroker.events.openfire_sse.troubles import NOT_LOGGED_IN, UNWANTED, Trouble, no_password, refused
from restbroker.events.reported import reported
from restbroker.rules.findings import Cause, Finding, ok
from restbroker.store.sources import SourceState

AREA: Final = "Events"
_WAIT_S: Final = 5.0
_WHY: Final = "What Openfire tells of this user becomes no job."
_CAUSES: Final[dict[str, Cause]] = {"OpenfireAway": "target", "OpenfireDenied": "refused"}


def check(source: EventSource, states: Sequence[SourceState] = ()) -> Iterator[Finding]:
    """What is found, of each user; no more once the server does not answer. And what `states`, of the processes that
    read the streams, say is wrong.
    """
    found = list(_looked_at(source))
    yield from found
    yield from reported(states, found, _WHY, _CAUSES)


def _looked_at(source: EventSource) -> Iterator[Finding]:
    settings, target = source.options, source.target
    assert isinstance(settings, Settings)  # noqa: S101  as its options judged it
    assert target is not None  # noqa: S101  as the configuration was judged
    try:
        passwords = passwords_in(settings.passwords)
    except ConfigError as error:
        yield Finding("problem", AREA, "OpenfireDenied", error.message, _WHY, error.cure, "config")
        return
    well = []
    for user in settings.everybody:
        if user not in passwords:
            yield _of(source, no_password(user, "no line names him."))
            continue
        try:
            status = _status(target, user, passwords[user])
        except (OSError, HTTPException, ConfigError) as error:
            message = f"Source {source.name}: streams of {target.url} cannot be reached: {_words(error)}."
            yield Finding("problem", AREA, "OpenfireAway", message, _WHY, "Start the server, or mend URL.", "target")
            return
        if status in (NOT_LOGGED_IN, UNWANTED):
            well.append(user)
        else:
            yield _of(source, refused(target, user, status))
    if well:
        where = f"{target.url.origin}/sse"
        yield ok(AREA, "Streams", f"The source {source.name} can ask for the streams of {', '.join(well)} at {where}.")


def _of(source: EventSource, trouble: Trouble) -> Finding:
    message = f"Source {source.name}: {trouble.message}"
    return Finding("problem", AREA, trouble.code, message, _WHY, trouble.cure, _CAUSES[trouble.code])


def _status(target: Target, user: str, password: str) -> int:
    """What is answered to a question for the user's stream that opens none. Raises `OSError` or `HTTPException`."""
    url = target.url
    if url.scheme == "https":
        context: ssl.SSLContext = context_of(target.tls)
        connection: HTTPConnection = HTTPSConnection(url.host, url.port, timeout=_WAIT_S, context=context)
    else:
        connection = HTTPConnection(url.host, url.port, timeout=_WAIT_S)
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Accept": "text/plain", "Authorization": f"Basic {login}", "Connection": "close"}
    try:
        connection.request("GET", f"/sse/{quote(user, safe='')}", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _words(error: Exception) -> str:
    if isinstance(error, ConfigError):
        return error.message.rstrip(".")
    words = error.strerror if isinstance(error, OSError) else None
    return words or str(error) or type(error).__name__
