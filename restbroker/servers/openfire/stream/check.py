"""Checks the server of a source of kind `openfire-sse`. Called by `operate.check.reading`.

Always holds: nothing is read or changed there, since an opened stream would take the events of a running broker. So a
stream is asked for with a header `Accept` that the server refuses (measured) after it has checked the login. The
request goes the way of the reader, and a question for sessions goes that of jobs: the target's socket, certificates,
times and engine.
"""

from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

import trio

from restbroker.config.events import EventSource
from restbroker.config.passwords import passwords_in
from restbroker.config.target import Basic, Target
from restbroker.errors import ConfigError
from restbroker.servers.api.checks import open_client
from restbroker.servers.api.texts import parse_json
from restbroker.servers.event_contract import Problem
from restbroker.servers.findings import Cause, Finding, Texts, findings_of, ok, problem_of
from restbroker.servers.openfire.chat.request import question
from restbroker.servers.openfire.stream.open_stream import basic
from restbroker.servers.openfire.stream.options import Options
from restbroker.servers.openfire.stream.problems import (
    NOT_LOGGED_IN,
    UNWANTED,
    no_new_streams,
    no_password,
    refusal,
)
from restbroker.store.sources import SourceState
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request
from restbroker.transport.stream import open_stream

AREA: Final = "Events"
_TEXTS: Final = Texts.beside(__file__)
_WHY: Final = "Openfire's events for this user do not become jobs."
_STREAM: Final = "ofchat"
_MOST_BYTES: Final = 1024 * 1024
_CAUSES: Final[dict[str, Cause]] = {
    "OpenfireAway": "target",
    "OpenfireDenied": "refused",
    "OpenfireJammed": "target",
}


def check(source: EventSource, states: Sequence[SourceState] = ()) -> Iterator[Finding]:
    """Return the findings on each user's stream, and what `states`, those of the reading processes, say is wrong.

    The remaining users are left out once the server does not answer. It blocks and runs an event loop of its own: do
    not call it in a thread that has one.
    """
    found = trio.run(_check_source, source)
    return iter([*found, *findings_of(states, found, _WHY, _CAUSES)])


async def _check_source(source: EventSource) -> list[Finding]:
    settings, target = source.options, source.target
    assert isinstance(settings, Options)  # noqa: S101  as its options judged it
    assert target is not None  # noqa: S101  as the configuration was judged
    try:
        passwords = passwords_in(settings.passwords)
    except ConfigError as error:
        return [_TEXTS.finding(AREA, "OpenfireDenied-unread", message=error.message, hint=error.hint)]
    found, well = [], []
    for user in settings.everybody:
        try:
            if user not in passwords:
                raise no_password(user, "the file has no line for this user.")
            await _try(target, user, basic(user, passwords[user]))
            well.append(user)
        except Problem as problem:
            found.append(problem_of(source.name, problem, _WHY, _CAUSES))
        except (NotSent, MaybeSent) as error:
            return [*found, _TEXTS.finding(AREA, "OpenfireAway", source=source.name, fault=error.message)]
        except ConfigError as error:
            return [*found, _TEXTS.finding(AREA, "OpenfireAway-unusable", message=error.message, hint=error.hint)]
    if well:
        where = f"{target.url.origin}/sse"
        what = f"The source {source.name} can open the streams of {', '.join(well)} at {where}."
        found.append(ok(AREA, "Streams", what))
    return found


async def _try(target: Target, user: str, login: str) -> None:
    """Raise `Problem` if the user's stream would be refused, and what `_status` and `_is_logged_in` raise."""
    status = await _status(target, user, login)
    if status == NOT_LOGGED_IN and await _is_logged_in(target, user):
        # They may have been logged in meanwhile.
        status = await _status(target, user, login)
        if status == NOT_LOGGED_IN:
            raise no_new_streams(target, user)
    if status not in (NOT_LOGGED_IN, UNWANTED):
        raise refusal(target, user, status)


async def _status(target: Target, user: str, login: str) -> int:
    """Return the status of a question for the user's stream that opens none. Raise `NotSent`."""
    headers = (("Accept", "text/plain"), ("Authorization", login))
    request = Request("GET", f"/sse/{quote(user, safe='')}", target.timeout_s, headers=headers)
    stream = await open_stream(target, request, silence_s=target.timeout_s, limit_bytes=_MOST_BYTES)
    await stream.aclose()
    return stream.status


async def _is_logged_in(target: Target, user: str) -> bool:
    """Tell whether the Chat API has a session of the user open, the host of which is its stream's id (measured).

    False if the target's login is not an administrator's, since only that can tell. Raise `NotSent`, `MaybeSent` and
    `ConfigError`.
    """
    if not isinstance(target.credentials, Basic):
        return False
    asked = question(target, f"/restapi/v1/sessions/{quote(user, safe='')}")
    async with open_client(target) as http:
        answer = await http.send(asked)
    match parse_json(answer.body):
        case {"session": sessions}:
            listed = sessions if isinstance(sessions, list) else [sessions]
            return any(isinstance(one, dict) and str(one.get("hostAddress")).startswith(_STREAM) for one in listed)
        case _:
            return False
