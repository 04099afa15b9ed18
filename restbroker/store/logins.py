"""Which stream a user of a server has, where acting as a user needs one: one login for all processes.

Used by `app` for connectors and readers of events. Always holds: of all processes and targets one at a time adds or
removes a stream at a server, at least 5 ms after the one before, and the others wait; if it dies, another follows when
its lease ends, by Redis' clock; a name is logged in or asks a question, never both; no two users have one stream; each
call may be repeated after a lost answer. A stream is as good as a password: it is in no repr, no text of an error, and
no log.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from restbroker.light import field, frozen
from restbroker.store.client import Argument, Client, integer, items, text, unexpected_reply

_ENTRY: Final = re.compile("([a-z]+) ([0-9]+) (.*)", re.DOTALL)
"""An entry, as the scripts read it: what looks otherwise is not ours, as if nothing was recorded."""


@frozen
class UserBase:
    """Whose logins are meant: those of a target. `server`: its host, which all targets of one server have in common."""

    target: str
    server: str


@frozen
class LoggedIn:
    """The user is logged in, as far as is known. `number`: of all their logins only this one has it."""

    stream: str = field(repr=False)
    number: int = field(default=0, eq=False)


@frozen
class LoggedOff:
    """A job logged the user off, and no login followed. `number`: that of the login that ended.

    `stream`: the one that they had, until it is known to be over.
    """

    stream: str = field(default="", repr=False)
    number: int = field(default=0, eq=False)


@frozen
class SessionUncertain:
    """The user's session may have ended, which the server does not report: log this stream off before it is used.

    Or they may have been logged in, by an answer that was lost: the stream has a blank then.
    """

    stream: str = field(repr=False)


@frozen
class AskingOnly:
    """The name has a connection because it asks a question, and is not logged in.

    `claim`: that of the question, or of all questions that may be under way. `age_s`: for how many seconds, where
    `take` answered this.
    """

    claim: str
    age_s: int = field(default=0, eq=False)


@frozen
class LoginGranted:
    """The caller has the server's lock: it may log the user in or off, or ask.

    `ends`: the stream to end by that ("": none).
    """

    ends: str = field(default="", repr=False)


@frozen
class LoginBusy:
    """Another caller adds or removes a stream at the server, for `remaining_ms` milliseconds at most."""

    remaining_ms: int


LoginState: TypeAlias = LoggedIn | LoggedOff | SessionUncertain | AskingOnly | None
"""What is noted of a name; None: nothing."""
TakeResult: TypeAlias = LoggedIn | LoggedOff | AskingOnly | LoginGranted | LoginBusy
ClaimResult: TypeAlias = LoggedIn | LoggedOff | LoginGranted | LoginBusy
LogoffStart: TypeAlias = LoggedOff | LoginGranted | LoginBusy | None
PutResult: TypeAlias = Literal["noted", "unchanged", "shared"]
"""What became of a login's stream; `shared`: another user has it, and is `SessionUncertain` now."""
LogoffReason: TypeAlias = Literal["off", "doubted"]
"""Why a login is ended: a job logs the user off, or a command may have ended their session."""


@frozen
class LoginLock:
    """The lock that a caller requests. `holder` is new for each; `lease_ms`: how long its requests may take."""

    holder: str
    lease_ms: int


def take(
    client: Client, base: UserBase, user: str, lock: LoginLock, *, stale: str = "", stays_off: bool = False
) -> TakeResult:
    """Return the user's stream, if there is one that is not the stale one; else the lock for logging them in.

    `stays_off`: a user whom a job logged off is not logged in. Other answers: the name asks a question, or another
    process has the lock. Raise `StoreUnavailable`: the lock may be the caller's.
    """
    keys = _keys(client, base)
    flag = "1" if stays_off else "0"
    answer = items(client.run("login_take", keys, [user, stale, flag, lock.holder, max(1, lock.lease_ms)]))
    match answer:
        case [b"ON", stream]:
            return LoggedIn(text(stream))
        case [b"OFF"]:
            return LoggedOff()
        case [b"ASKS", claim, age_s]:
            return AskingOnly(text(claim), integer(age_s))
        case [b"YOURS", ends]:
            return LoginGranted(text(ends))
        case [b"BUSY", remaining_ms]:
            return LoginBusy(integer(remaining_ms))
        case other:
            raise unexpected_reply("what login_take answers", other)


def put(client: Client, base: UserBase, user: str, holder: str, stream: str) -> PutResult:
    """Release the holder's lock with the user's stream (empty: no login), and tell what became of it.

    A stream with a blank, which no id has, means that nothing is known of the login: it is `SessionUncertain` then, if
    nothing else is known, and the answer is `unchanged`. Then, and if it is `shared`, the lock stays. Raise
    `StoreUnavailable` or `StoreRefused`.
    """
    match client.run("login_put", _keys(client, base), [user, holder, stream, base.target]):
        case 2:
            return "shared"
        case answer:
            return "noted" if answer == 1 else "unchanged"


def start_logoff(client: Client, base: UserBase, user: str, lock: LoginLock, how: LogoffReason) -> LogoffStart:
    """Return the lock for ending the user's known stream: `end` it once it is over, and `put`. None: none is known.

    Other answers: the user is logged off, or another process has the lock. Raise `StoreUnavailable`: the lock may be
    the caller's.
    """
    match items(client.run("login_off", _keys(client, base), [user, how, lock.holder, max(1, lock.lease_ms)])):
        case [b"YOURS", stream]:
            return LoginGranted(text(stream))
        case [b"BUSY", remaining_ms]:
            return LoginBusy(integer(remaining_ms))
        case [b"OFF"]:
            return LoggedOff()
        case [b"NONE"]:
            return None
        case other:
            raise unexpected_reply("what login_off answers", other)


def ask(client: Client, base: UserBase, user: str, lock: LoginLock) -> ClaimResult:
    """Claim the name for a question, if it is not logged in, and take the lock. The claim is the lock's holder.

    `LoginGranted`: the claim is noted; `put` releases the lock. `LoggedOff`: the user was to be logged off, and whether
    that was done is not known. Raise `StoreUnavailable`: it may be noted.
    """
    arguments: list[Argument] = [user, lock.holder, max(1, lock.lease_ms)]
    match items(client.run("login_ask", _keys(client, base), arguments)):
        case [b"ON"]:
            return LoggedIn("")
        case [b"OFF"]:
            return LoggedOff()
        case [b"YOURS"]:
            return LoginGranted()
        case [b"BUSY", remaining_ms]:
            return LoginBusy(integer(remaining_ms))
        case other:
            raise unexpected_reply("what login_ask answers", other)


def end(client: Client, base: UserBase, user: str, what: LoggedIn | AskingOnly) -> bool:
    """Remove the record of this stream, which is over, or of these claims. False: another record is there; it stays.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    state, noted = ("on", what.stream) if isinstance(what, LoggedIn) else ("asks", what.claim)
    return client.run("login_end", _keys(client, base), [user, state, noted]) == 1


def read_states(client: Client, base: UserBase, users: Sequence[str]) -> list[LoginState]:
    """Return the recorded state of each user's login, in the order of `users`; None: nothing is recorded.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    if not users:
        return []
    return [_read_entry(entry) for entry in items(client.command("HMGET", client.keys.logins(base.target), *users))]


def _read_entry(entry: object) -> LoginState:
    found = _ENTRY.fullmatch(text(entry)) if isinstance(entry, bytes) else None
    match found.groups() if found else ():
        case ("on", number, stream):
            return LoggedIn(stream, integer(number.encode()))
        case ("off", number, stream):
            return LoggedOff(stream, integer(number.encode()))
        case ("doubted", _, stream):
            return SessionUncertain(stream)
        case ("asks", _, claim):
            return AskingOnly(claim)
        case _:
            return None


def _keys(client: Client, base: UserBase) -> list[str]:
    keys = client.keys
    return [keys.logins(base.target), keys.lease(f"streams:{base.server}"), keys.streams(base.server)]
