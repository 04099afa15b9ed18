"""One open stream: the login that asks for it, what people see of it, and how its reading ends; why there is none.

Used by the other files of this folder. Always holds: no text has a password, a stream's id or a part of an event; all
that the server sent over a stream is read before it is closed, however long its events wait for Redis. A stream is
asked for in the user's own name, with a login in Latin-1, as the server's Jetty reads it (measured): UTF-8, which the
rest of Openfire takes, is a wrong password there. Of the login's id, which is as good as a password, only the end
leaves the process.
"""

import base64
import math
from typing import Final

import trio

from restbroker.config.passwords import passwords_in
from restbroker.config.secret import Secret
from restbroker.config.target import Target
from restbroker.errors import ConfigError, StoreRefused
from restbroker.job.outcome import Delivered
from restbroker.light import define, field, frozen
from restbroker.servers.findings import Problem, Texts
from restbroker.servers.in_redis import StreamInfo
from restbroker.servers.openfire.chat.sessions import NoLogin
from restbroker.store.logins import LoggedIn, LoggedOff, LoginState
from restbroker.transport.message import MaybeSent, NotSent
from restbroker.transport.stream import EventStream

NO_STREAM: Final = (Problem, NoLogin, NotSent, MaybeSent, StoreRefused)
"""What is raised where a stream cannot be opened."""
NOT_LOGGED_IN: Final = 404
UNWANTED: Final = 405
TEXTS: Final = Texts.beside(__file__)
_OTHER: Final = "OpenfireAway-status"
_OF_STATUS: Final = {
    401: "OpenfireDenied-status",
    403: "OpenfireDenied-status",
    405: "OpenfireAway-accept",
    503: "OpenfireAway-now",
}
"""Measured, but for 403."""
_GRACE_S: Final = 1.0
"""The seconds without an event after which a connection that was left is closed.

The server sends nothing more over it, but what it sent before may fill it, after a suspension or an outage of Redis.
"""
_SETTLING_HEARTBEATS: Final = 2
"""After so many, the server has served every request that it kept while it stood still."""
_SHOWN: Final = 3
_HIDDEN: Final = 6
"""The least number of an id's characters that are not shown."""


@define(eq=False)
class OpenStream:
    """One stream, and how its reading ends: by itself, or once it is left and empty.

    `is_doubtful`: the server may serve an earlier request after this one's, and then sends no more events over this.
    """

    stream: EventStream
    last_event_s: float
    """Its last event was sent after this, or it was opened then. Epoch seconds."""
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    over: trio.Event = field(factory=trio.Event)
    is_doubtful: bool = False
    is_replaced: bool = False
    is_suspended: bool = False

    @property
    def is_due(self) -> bool:
        """Whether the stream is doubtful, and another one that is opened now would not be."""
        return self.is_doubtful and self.stream.came.heartbeats >= _SETTLING_HEARTBEATS

    def leave(self) -> None:
        """End the reading once nothing comes any more: another stream takes its place, here or in another process."""
        self.is_replaced = True
        self._end_soon()

    def suspend(self) -> None:
        """Suspend the end that `leave` began while an event is put into the buffer, which may wait for Redis."""
        self.is_suspended = True
        self.scope.deadline = math.inf

    def resume(self) -> None:
        """Resume the end after `suspend`: the event is in the buffer, and more may follow it."""
        self.is_suspended = False
        self._end_soon()

    def _end_soon(self) -> None:
        if self.is_replaced and not self.is_suspended:
            self.scope.deadline = trio.current_time() + _GRACE_S


def refusal(target: Target, user: str, status: int) -> Problem:
    """Return the problem that the server answered this status to the question for a stream."""
    return TEXTS.problem(_OF_STATUS.get(status, _OTHER), url=target.url, user=user, status=status)


def no_answer(why: str) -> Problem:
    """Return the problem that the server does not answer; `why` is a sentence."""
    return TEXTS.problem("OpenfireAway-silent", why=why)


def as_problem(user: str, error: Problem | NoLogin | NotSent | MaybeSent | StoreRefused) -> Problem:
    """Return why this user's stream is not open now."""
    match error:
        case Problem():
            return error
        case NoLogin(outcome=outcome):
            why = "the server refuses the login." if isinstance(outcome, Delivered) else outcome.reason.message
            return TEXTS.problem("OpenfireDenied-login", user=user, why=why)
        case _:
            return no_answer(error.message)


@frozen
class Gap:
    """A time in which events may have been lost."""

    since_s: float
    until_s: float
    why: str


@define(eq=False)
class StreamState:
    """The state of one user, over all streams that are opened for them in this process."""

    login: LoginState = None
    """What was noted of the user's login when the stream was asked for."""
    is_outdated: bool = False
    """Whether something else is noted by now, so that the stream brings nothing any more."""
    opened_s: float = 0.0
    _login_number: int = 0
    """The number of the last login of which it is known what was missed."""
    _broken: tuple[float, str] | None = None
    """Since when events may have been lost, and why, until another stream has proven to be one."""

    def record_open(self, now_s: float) -> None:
        """Note that a stream is open."""
        self.opened_s = now_s
        self.is_outdated = False
        self._login_number = self.login.number if isinstance(self.login, LoggedIn) else 0

    def take_gap(self) -> Gap | None:
        """Return the gap before the open stream, the same gap only once; None if there is none.

        Call it when the first frame shows that the stream works.
        """
        broken, self._broken = self._broken, None
        return None if broken is None else Gap(broken[0], self.opened_s, broken[1])

    def record_break(self, last_event_s: float, why: str = "the stream ended") -> None:
        """Note that the stream is left or over, and that its last event was sent after `last_event_s`.

        Only the first break counts until `take_gap` is called.
        """
        why = "the login ended, by a job or in Openfire" if self.is_outdated else why
        if self._broken is None:
            self._broken = (last_event_s, why)

    def record_replacement(self, login: LoginState, last_event_s: float, *, is_over: bool, is_taken: bool) -> None:
        """Note that another stream is open in the place of one that was quiet.

        `login`: the login that the quiet one was opened under; `last_event_s`: its last event was sent after this;
        `is_over`: it has ended; `is_taken`: another process says that it had opened a stream. If the quiet one had no
        login, as an asker's, only `is_taken` counts: nothing is sent to users who ask nothing.
        """
        if is_taken:
            self.record_break(last_event_s, "another process had opened a stream of theirs")
        elif isinstance(login, LoggedIn) and (is_over or self.login != login):
            self.is_outdated = self.login != login
            self.record_break(last_event_s)

    def record_logoff(self, looked_s: float, known: LoginState) -> Gap | None:
        """Note that `known` shows the user logged off at `looked_s`; return the gap of a missed login, or None.

        A login was missed if they were logged in and off again since the last stream: its events are lost. After the
        next login events may come before a stream is open, so that the next gap begins at `looked_s`.
        """
        broken, gap = self._broken, None
        if isinstance(known, LoggedOff) and known.number != self._login_number:
            since_s = self.opened_s if broken is None else broken[0]
            # Before the first stream here, nothing is known of earlier logins.
            missed = Gap(since_s, looked_s, "the user logged in and off before it was open")
            gap = missed if self.opened_s else None
            self._login_number = known.number
        self._broken = (looked_s, "the user logged in before it was open" if broken is None else broken[1])
        return gap

    def clear_break(self) -> None:
        """Note that the user asks no question: they get no events meanwhile, so that there is no gap."""
        self._broken = None

    def note(self, known: LoginState, was: LoginState) -> None:
        """Note `known`, the state of the user's login in Redis; `was` is the stream's login when Redis was asked.

        If they differ, the stream is outdated, unless another stream is being opened by now.
        """
        # Where it is another by now, another stream is being opened.
        if was is self.login and known != was:
            self.is_outdated = True


def basic(user: str, password: str) -> str:
    """Return the value of the header `Authorization`. Raise `Problem` if Latin-1 lacks one of the characters."""
    for what, text in ((f"the name {user}", user), (f"the password of {user}", password)):
        try:
            text.encode("latin-1")
        except UnicodeEncodeError:
            # Without the cause, which repeats the text.
            raise TEXTS.problem("OpenfireDenied-letters", what=what) from None
    return "Basic " + base64.b64encode(f"{user}:{password}".encode("latin-1")).decode()


async def headers_of(user: str, passwords: Secret) -> tuple[tuple[str, str], ...]:
    """Return exactly the headers that the server accepts. Raise `Problem` if there is no usable password of the user.

    The server refuses any other type, or a second one (measured).
    """
    try:
        # A slow disk must not hold up others.
        known = await trio.to_thread.run_sync(passwords_in, passwords)
    except ConfigError as error:
        raise TEXTS.problem("OpenfireDenied-password", user=user, why=error.message) from None
    if user not in known:
        raise TEXTS.problem("OpenfireDenied-password", user=user, why="the file has no line for this user.")
    return (("Accept", "text/event-stream"), ("Authorization", basic(user, known[user])))


@define(eq=False)
class StreamAttributes:
    """The facts about the stream that was opened last. Times are epoch seconds."""

    event_s: float = 0.0
    _login: str = ""
    _opened_s: float = 0.0
    _stream: EventStream | None = field(default=None, repr=False)

    def record_opened(self, stream: EventStream, login: str, now_s: float) -> None:
        """Note that this stream is open, under the login of this id; "" if it has none."""
        self._stream, self._login, self._opened_s = stream, _end_of(login), now_s

    def record_ended(self) -> None:
        """Note that there is no stream any more, and no login."""
        self._stream, self._login, self._opened_s = None, "", 0.0

    def __call__(self) -> StreamInfo:
        """Return the facts as they are now."""
        heartbeat_s = 0.0 if self._stream is None else self._stream.came.heartbeat_s
        return StreamInfo(self._login, self._opened_s, self.event_s, heartbeat_s)


def _end_of(login: str) -> str:
    shown = max(0, min(_SHOWN, len(login) - _HIDDEN))
    return f"…{login[len(login) - shown :]}" if login else ""
