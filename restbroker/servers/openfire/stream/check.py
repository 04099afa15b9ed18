"""Checks the server of a source of kind `openfire-sse`. Called by `operate.check.events`.

Always holds: nothing is read or changed there, since an opened stream would take the events of a running broker. So a
stream is asked for with a header `Accept` that the server refuses (measured) after it has checked the login. The
request goes the way of the reader: the target's socket, certificates and times. That Openfire gives no new streams is
seen by the reader alone (`OpenfireJammed`).
"""

from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

import trio

from restbroker.config.events import EventSource
from restbroker.config.passwords import passwords_in
from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.servers.findings import Cause, Finding, Problem, findings_of, ok, problem_of
from restbroker.servers.openfire.stream.open_stream import NOT_LOGGED_IN, TEXTS, UNWANTED, basic, refusal
from restbroker.servers.openfire.stream.options import Options
from restbroker.store.sources import SourceState
from restbroker.transport.message import NotSent, Request
from restbroker.transport.stream import open_stream

AREA: Final = "Events"
_WHY: Final = "Openfire's events for this user do not become jobs."
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
        return [TEXTS.finding(AREA, "OpenfireDenied-unread", message=error.message, hint=error.hint)]
    found, well = [], []
    for user in settings.everybody:
        try:
            if user not in passwords:
                raise TEXTS.problem("OpenfireDenied-password", user=user, why="the file has no line for this user.")
            await _try(target, user, basic(user, passwords[user]))
            well.append(user)
        except Problem as problem:
            found.append(problem_of(source.name, problem, _WHY, _CAUSES))
        except NotSent as error:
            return [*found, TEXTS.finding(AREA, "OpenfireAway", source=source.name, fault=error.message)]
    if well:
        where = f"{target.url.origin}/sse"
        what = f"The source {source.name} can open the streams of {', '.join(well)} at {where}."
        found.append(ok(AREA, "Streams", what))
    return found


async def _try(target: Target, user: str, login: str) -> None:
    """Raise `Problem` if the user's stream would be refused, or `NotSent`.

    A user who is not logged in is well: a reader logs them in.
    """
    headers = (("Accept", "text/plain"), ("Authorization", login))
    request = Request("GET", f"/sse/{quote(user, safe='')}", target.timeout_s, headers=headers)
    stream = await open_stream(target, request, silence_s=target.timeout_s, limit_bytes=_MOST_BYTES)
    await stream.aclose()
    if stream.status not in (NOT_LOGGED_IN, UNWANTED):
        raise refusal(target, user, stream.status)
