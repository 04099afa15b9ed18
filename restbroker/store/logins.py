"""Which stream a user of a server has, where acting as a user needs one: one login for all processes.

Used by `app` for connectors and readers of events. Always holds: one at a time logs a user in, and the others get
what came of it; who dies at it is followed by another when its lease ends, by Redis' clock; a name is logged in, or it
asks, and never both; each call may be repeated after a lost answer. A stream is as good as a password: it is in no
repr, no text of an error, and no log.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import attrs

from restbroker.store.client import Client
from restbroker.store.replies import integer, items, text, unexpected


@attrs.frozen
class LoggedIn:
    """He is logged in, as far as is known. `number`: of all his logins only this one has it."""

    stream: str = attrs.field(repr=False)
    number: int = attrs.field(default=0, eq=False)


@attrs.frozen
class LoggedOff:
    """A job logged him off, and nobody has logged him in since. `stream`: what he had then, until that is known to be
    over. `number`: of the login that ended.
    """

    stream: str = attrs.field(default="", repr=False)
    number: int = attrs.field(default=0, eq=False)


@attrs.frozen
class SessionUncertain:
    """His session may have been ended, which the server does not tell: this stream is logged off before it is used.

    Or he may have been logged in, with an answer that was lost: the stream has a blank then.
    """

    stream: str = attrs.field(repr=False)


@attrs.frozen
class AskingOnly:
    """The name has a connection because it asks a question, and is not logged in. `claim`: of that question, or of all
    that may be under way.

    `age_s`: for how long, where that was asked for.
    """

    claim: str
    age_s: int = attrs.field(default=0, eq=False)


@attrs.frozen
class LoginGranted:
    """It is the caller's turn: to log him in, or off, or to ask. `ends`: the stream that is to be ended by that."""

    ends: str = attrs.field(default="", repr=False)


@attrs.frozen
class LoginBusy:
    """Somebody logs him in or off, for `left_ms` at most."""

    left_ms: int


Known: TypeAlias = LoggedIn | LoggedOff | SessionUncertain | AskingOnly | None
"""What is noted of a name."""
Taken: TypeAlias = LoggedIn | LoggedOff | AskingOnly | LoginGranted | LoginBusy
Claimed: TypeAlias = LoggedIn | LoggedOff | LoginGranted | LoginBusy
Ending: TypeAlias = LoggedOff | LoginGranted | LoginBusy | None
How: TypeAlias = Literal["off", "doubted"]
"""Why a login is ended: a job logs him off, or a command may have ended his session."""


@attrs.frozen
class LoginTurn:
    """Whose turn at a login it is. `holder` is new for each; `lease_ms`: how long the login may take."""

    holder: str
    lease_ms: int


def take(client: Client, target: str, user: str, turn: LoginTurn, *, stale: str = "", stays_off: bool = False) -> Taken:
    """His stream, if there is one that is not the stale one; else the turn at logging him in.

    `stays_off`: who was logged off by a job is not logged in. Raises `StoreUnavailable`: the turn may be the caller's.
    """
    keys = [client.keys.logins(target), _lease(client, target, user)]
    flag = "1" if stays_off else "0"
    answer = items(client.run("login_take", keys, [user, stale, flag, turn.holder, max(1, turn.lease_ms)]))
    match answer:
        case [b"ON", stream]:
            return LoggedIn(text(stream))
        case [b"OFF"]:
            return LoggedOff()
        case [b"ASKS", claim, age_s]:
            return AskingOnly(text(claim), integer(age_s))
        case [b"YOURS", ends]:
            return LoginGranted(text(ends))
        case [b"BUSY", left_ms]:
            return LoginBusy(integer(left_ms))
        case other:
            raise unexpected("what login_take answers", other)


def put(client: Client, target: str, user: str, holder: str, stream: str) -> bool:
    """Ends the holder's turn; an empty stream: he could not be logged in. False: nothing changed by it.

    A stream with a blank, which no id has: nobody knows whether he was. It is `SessionUncertain` then, if nothing else
    is known.
    """
    keys = [client.keys.logins(target), _lease(client, target, user)]
    return client.run("login_put", keys, [user, holder, stream]) == 1


def off(client: Client, target: str, user: str, turn: LoginTurn, how: How) -> Ending:
    """The turn at ending the stream that is known of him: `end` it once it is over, and `put`. None: none is known.

    Raises `StoreUnavailable`: the turn may be the caller's.
    """
    keys = [client.keys.logins(target), _lease(client, target, user)]
    match items(client.run("login_off", keys, [user, how, turn.holder, max(1, turn.lease_ms)])):
        case [b"YOURS", stream]:
            return LoginGranted(text(stream))
        case [b"BUSY", left_ms]:
            return LoginBusy(integer(left_ms))
        case [b"OFF"]:
            return LoggedOff()
        case [b"NONE"]:
            return None
        case other:
            raise unexpected("what login_off answers", other)


def ask(client: Client, target: str, user: str, claim: str) -> Claimed:
    """Claims the name for a question, where nobody is or is being logged in by it. `claim` is new for each.

    `LoggedOff`: he was to be logged off, and whether that was done is not known.
    Raises `StoreUnavailable`: it may be noted.
    """
    keys = [client.keys.logins(target), _lease(client, target, user)]
    match items(client.run("login_ask", keys, [user, claim])):
        case [b"ON"]:
            return LoggedIn("")
        case [b"OFF"]:
            return LoggedOff()
        case [b"YOURS"]:
            return LoginGranted()
        case [b"BUSY", left_ms]:
            return LoginBusy(integer(left_ms))
        case other:
            raise unexpected("what login_ask answers", other)


def end(client: Client, target: str, user: str, what: LoggedIn | AskingOnly) -> bool:
    """Forgets this stream, which is over, or these claims. False: something else is noted, as other claims are."""
    state, noted = ("on", what.stream) if isinstance(what, LoggedIn) else ("asks", what.claim)
    return client.run("login_end", [client.keys.logins(target)], [user, state, noted]) == 1


def read_state(client: Client, target: str, user: str) -> Known:
    """What is noted of him."""
    return read_states(client, target, [user])[0]


def read_states(client: Client, target: str, users: Sequence[str]) -> list[Known]:
    """What is noted of each."""
    if not users:
        return []
    return [_read_entry(entry) for entry in items(client.command("HMGET", client.keys.logins(target), *users))]


def _read_entry(entry: object) -> Known:
    match text(entry).split(" ", 2) if isinstance(entry, bytes) else []:
        case ["on", number, stream]:
            return LoggedIn(stream, int(number))
        case ["off", number, stream]:
            return LoggedOff(stream, int(number))
        case ["doubted", _, stream]:
            return SessionUncertain(stream)
        case ["asks", _, claim]:
            return AskingOnly(claim)
        case _:
            return None


def _lease(client: Client, target: str, user: str) -> str:
    return client.keys.lease(f"login:{target}:{user}")
