"""Looks at what a source of the kind `openfire-sse` needs of its server. Called by `operate.check_services`.

Always holds: nothing is read or changed there: a stream that were opened would take the events of a running broker. So
one is asked for with a header `Accept` that the server refuses (measured), after it has looked at the login.
"""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import quote

from restbroker.config.events import EventSource
from restbroker.config.passwords import passwords_in
from restbroker.config.target import Basic, Target
from restbroker.config.tls import context_of
from restbroker.errors import ConfigError
from restbroker.servers.api.login import authorization
from restbroker.servers.api.texts import parsed
from restbroker.servers.findings import Cause, Finding, ok
from restbroker.servers.openfire.stream.access import basic
from restbroker.servers.openfire.stream.options import Options
from restbroker.servers.openfire.stream.troubles import NOT_LOGGED_IN, UNWANTED, Trouble, jammed, no_password, refused
from restbroker.servers.reported import reported
from restbroker.store.sources import SourceState

AREA: Final = "Events"
_WAIT_S: Final = 5.0
_WHY: Final = "What Openfire tells of this user becomes no job."
_STREAM: Final = "ofchat"
_MOST_BYTES: Final = 1024 * 1024
_CAUSES: Final[dict[str, Cause]] = {
    "OpenfireAway": "target",
    "OpenfireDenied": "refused",
    "OpenfireJammed": "target",
}


def check(source: EventSource, states: Sequence[SourceState] = ()) -> Iterator[Finding]:
    """What is found, of each user; no more once the server does not answer. And what `states`, of the processes that
    read the streams, say is wrong.
    """
    found = list(_looked_at(source))
    yield from found
    yield from reported(states, found, _WHY, _CAUSES)


def _looked_at(source: EventSource) -> Iterator[Finding]:
    settings, target = source.options, source.target
    assert isinstance(settings, Options)  # noqa: S101  as its options judged it
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
            login = basic(user, passwords[user])
            status = _status(target, user, login)
            jams = status == NOT_LOGGED_IN and _is_logged_in(target, user)
            if jams:  # he may have been logged in in between
                status = _status(target, user, login)
        except Trouble as trouble:
            yield _of(source, trouble)
            continue
        except (OSError, HTTPException, ConfigError) as error:
            message = f"Source {source.name}: streams of {target.url} cannot be reached: {_words(error)}."
            yield Finding("problem", AREA, "OpenfireAway", message, _WHY, "Start the server, or mend URL.", "target")
            return
        if status == NOT_LOGGED_IN and jams:
            yield _of(source, jammed(target, user))
        elif status in (NOT_LOGGED_IN, UNWANTED):
            well.append(user)
        else:
            yield _of(source, refused(target, user, status))
    if well:
        where = f"{target.url.origin}/sse"
        yield ok(AREA, "Streams", f"The source {source.name} can ask for the streams of {', '.join(well)} at {where}.")


def _of(source: EventSource, trouble: Trouble) -> Finding:
    message = f"Source {source.name}: {trouble.message}"
    return Finding("problem", AREA, trouble.code, message, _WHY, trouble.cure, _CAUSES[trouble.code])


def _status(target: Target, user: str, login: str) -> int:
    """What is answered to a question for the user's stream that opens none. Raises `OSError` or `HTTPException`."""
    headers = {"Accept": "text/plain", "Authorization": login}
    return _get(target, f"/sse/{quote(user, safe='')}", headers)[0]


def _is_logged_in(target: Target, user: str) -> bool:
    """Whether the Chat API has a session of him open, the host of which is its stream's id (measured).

    Raises as above, and `ConfigError`. False where only an administrator's login could tell.
    """
    if not isinstance(target.credentials, Basic):
        return False
    path = f"{target.url.path}/restapi/v1/sessions/{quote(user, safe='')}"
    _, body = _get(target, path, {"Accept": "application/json", **dict(authorization(target.credentials))})
    match parsed(body):
        case {"session": sessions}:
            listed = sessions if isinstance(sessions, list) else [sessions]
            return any(isinstance(one, dict) and str(one.get("hostAddress")).startswith(_STREAM) for one in listed)
        case _:
            return False


def _get(target: Target, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    url = target.url
    if url.scheme == "https":
        context: ssl.SSLContext = context_of(target.tls)
        connection: HTTPConnection = HTTPSConnection(url.host, url.port, timeout=_WAIT_S, context=context)
    else:
        connection = HTTPConnection(url.host, url.port, timeout=_WAIT_S)
    try:
        connection.request("GET", path, headers={**headers, "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_BYTES)
    finally:
        connection.close()


def _words(error: Exception) -> str:
    if isinstance(error, ConfigError):
        return error.message.rstrip(".")
    words = error.strerror if isinstance(error, OSError) else None
    return words or str(error) or type(error).__name__
