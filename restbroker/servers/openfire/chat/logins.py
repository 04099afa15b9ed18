"""Logs users in, once for all processes: acting as a user needs the id of their stream, which a login gives.

The connector uses it, and so does the reader of events, through the registry. Always holds: one process at a time logs
a user in, and those that wait get the result; a process does not ask Redis for what it knows itself; an id is in no
text.
"""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar, assert_never

import attrs
import trio

from restbroker.config.target import Target
from restbroker.errors import ConfigError, StoreRefused
from restbroker.job.jid import fold_case
from restbroker.job.outcome import Denied, Rejected
from restbroker.servers.contract import Logins, LoginStore, NoLogin, Ports
from restbroker.servers.openfire.chat.error_table import ASKS, LOGGED_IN
from restbroker.servers.openfire.chat.forms import user_name
from restbroker.servers.openfire.chat.sessions import Sessions
from restbroker.store.logins import (
    AskingOnly,
    LoggedIn,
    LoggedOff,
    LoginBusy,
    LoginGranted,
    LoginLock,
    LoginState,
    LogoffReason,
)
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Response

_LATER_S: Final = 5.0
"""The seconds, beyond the login's own time-out, after which others take the process that logs a user in for dead."""
_LOOK_S: Final = 0.05
_LONGEST_LOOK_S: Final = 0.5
_RELEASE_S: Final = 1.0
_FIRM_S: Final = 30
"""The age in seconds of a question from which the server is asked whether its name still has a connection."""
_MOST_KNOWN: Final = 50_000

T = TypeVar("T")


@attrs.frozen
class LogoffResult:
    """The server's answer to a logoff. `is_over`: the stream is over, and the name has no connection by it."""

    stream: str = attrs.field(repr=False)
    response: Response
    is_over: bool


@attrs.define(eq=False)
class SharedLogins:
    """The logins of one target's users, as `servers.contract.Logins` describes them."""

    _target: Target
    _store: LoginStore
    _sessions: Sessions
    _streams: dict[str, str] = attrs.field(factory=dict, repr=False)
    _locks: dict[str, trio.Lock] = attrs.field(factory=dict, repr=False)

    async def stream(self, user: str) -> str:
        """Return the id of the user's stream, as `Logins.stream` promises, at once if this process knows it."""
        name = user_name(user)
        return self._streams.get(name) or await self._find_stream(name, "")

    async def renew(self, user: str, stale: str) -> str:
        """Return the id of a stream other than the stale one, as `Logins.renew` promises."""
        return await self._find_stream(user_name(user), stale)

    async def stream_for_reader(self, user: str, stale: str = "", *, afresh: bool = False) -> str | None:
        """Return the id of a stream to read events from, or None, as `Logins.stream_for_reader` promises."""
        return await self._find_stream(user_name(user), stale, stays_off=True, afresh=afresh) or None

    async def read_states(self, users: Sequence[str]) -> list[LoginState]:
        """Return the state of each user's login in Redis, in the order of `users`."""
        return await self._store.read_states([user_name(user) for user in users])

    async def login(self, user: str, password: str | None = None, totp: str | None = None) -> str:
        """Log the user in now, even if a stream is known, and return the new stream's id.

        `password` is used in place of the configured one, `totp` is a one-time password. Raise `NoLogin` if the server
        refuses, or if the name asks a question.
        """
        name = user_name(user)
        async with self._lock(name):
            lock = self._new_lock()
            while True:
                (known,) = await self._store.read_states([name])
                stale = known.stream if isinstance(known, LoggedIn) else ""
                match await self._store.take(name, lock, stale=stale):
                    case LoginGranted(ends):
                        return await self._log_in(name, lock, password, totp, ends=(ends,))
                    case LoginBusy(remaining_ms):
                        await trio.sleep(min(remaining_ms / 1000, _LOOK_S))
                    case AskingOnly() as asks:
                        await self._require_over(name, asks)
                    case LoggedIn() | LoggedOff():
                        pass  # another holder logged them in just now

    async def read_state(self, user: str) -> LoginState:
        """Return the state of the user's login in Redis."""
        (known,) = await self.read_states([user])
        return known

    async def ask(self, user: str) -> AskingOnly:
        """Claim the name for a question, after any login or logoff in progress.

        Raise `NoLogin` if the user is logged in.

        Two connections of one name leave every later login without a stream, until Openfire restarts (measured).
        """
        name, claim = user_name(user), secrets.token_hex(8)
        while True:
            # Others may have logged them in, or a login whose answer was lost.
            if await self.read_state(user) in (None, LoggedOff()) and await self._sessions.is_taken(user):
                raise NoLogin(LOGGED_IN)
            match await self._store.ask(name, claim):
                case LoginGranted():
                    return AskingOnly(claim)
                case LoginBusy(remaining_ms):
                    await trio.sleep(min(remaining_ms / 1000, _LOOK_S))
                case LoggedOff():
                    done = await self._end_login(name, "doubted", self._sessions.log_off)
                    if done is not None and not isinstance(done, LoggedOff) and not done.is_over:
                        raise NoLogin(self._sessions.logoff_failure(done.response))
                case LoggedIn():
                    raise NoLogin(LOGGED_IN)

    async def end_question(self, user: str, asks: AskingOnly) -> None:
        """Remove the record of a question that the server reports as over, if its name has no connection any more.

        The server reports that even if the connection stays (read). If it cannot be reached, the record stays.
        """
        with contextlib.suppress(NotSent, MaybeSent):
            if not await self._sessions.is_taken(user):
                await self.end(user, asks)

    async def end(self, user: str, what: LoggedIn | AskingOnly) -> None:
        """Remove the user's record, here and in Redis, since the stream or the question in `what` is over."""
        name = user_name(user)
        self._streams.pop(name, None)
        await self._store.end(name, what)

    async def note_kicked(self, user: str) -> None:
        """Log the user off, since a job may have ended the session, which the plugin does not notice.

        The next job that needs the user logs them in. Never raise: if the server or Redis does not do it, that job
        does.
        """
        with contextlib.suppress(NotSent, MaybeSent, StoreRefused):
            await self._end_login(user_name(user), "doubted", self._sessions.log_off)

    async def log_off(self, user: str, send: Callable[[str], Awaitable[Response]]) -> LogoffResult | LoggedOff | None:
        """Log the user off with `send`, which is called with the id of the known stream, and return the result.

        `LoggedOff`: a job did so before; None: no stream is known. In both cases `send` is not called.
        """
        return await self._end_login(user_name(user), "off", send)

    async def present(self, user: str) -> None:
        """Make the user available, as `Logins.present` promises, after a login if there is none."""
        await self._sessions.present(await self.stream(user))

    async def note_expelled(self, user: str, room: str) -> None:
        """Note in Redis that the user is out of the room (`balcony@conference`), as `Logins.note_expelled` promises."""
        await self._store.forget_room(fold_case(room), user_name(user), is_out=True)

    async def aclose(self) -> None:
        """Close the connection to Redis; a later call opens a new one."""
        await self._store.aclose()

    async def _end_login(
        self, name: str, how: LogoffReason, send: Callable[[str], Awaitable[Response]]
    ) -> LogoffResult | LoggedOff | None:
        """End the login under the user's lock, as `log_off` describes; `how` says why it ends.

        No login runs meanwhile: one that meets a logoff on the server may get a stream that is about to end.
        """
        async with self._lock(name):
            lock = self._new_lock()
            while True:
                match await self._store.start_logoff(name, lock, how):
                    case LoginGranted(stream):
                        self._streams.pop(name, None)
                        return await self._end_stream(name, lock, stream, send)
                    case LoginBusy(remaining_ms):
                        await trio.sleep(min(remaining_ms / 1000, _LOOK_S))
                    case known:
                        # What this process has beside that, Redis lost.
                        self._streams.pop(name, None)
                        return known

    async def _end_stream(
        self, name: str, lock: LoginLock, stream: str, send: Callable[[str], Awaitable[Response]]
    ) -> LogoffResult:
        is_over = False
        try:
            response = await send(stream)
            is_over = await self._sessions.is_over(name, response)
            return LogoffResult(stream, response, is_over)
        finally:
            with trio.move_on_after(_RELEASE_S, shield=True):
                if is_over:
                    await self._store.end(name, LoggedIn(stream))
                await self._store.put(name, lock.holder, "")

    async def _require_over(self, name: str, asks: AskingOnly) -> None:
        """Return if the question is over, which a restart of the server does not tell. Raise `NoLogin` if it is not."""
        if asks.age_s < _FIRM_S or await self._sessions.has_path(name) is not False:
            raise NoLogin(ASKS)
        await self._store.end(name, asks)

    async def _find_stream(self, name: str, stale: str, *, stays_off: bool = False, afresh: bool = False) -> str:
        """Return the id of the user's stream; "" if a job logged the user off or they ask, and `stays_off` is set.

        `stale` and `afresh` are those of `stream_for_reader`.
        """
        async with self._lock(name):
            known = self._streams.get(name)
            # Whether they were logged off, by any process, only Redis knows.
            if known is not None and known != stale and not stays_off:
                return known
            return await self._take_stream(name, stale, stays_off=stays_off, afresh=afresh)

    async def _take_stream(self, name: str, stale: str, *, stays_off: bool, afresh: bool) -> str:
        lock, wait_s = self._new_lock(), _LOOK_S
        while True:
            match await self._store.take(name, lock, stale=stale, stays_off=stays_off):
                case LoggedIn(stream):
                    self._keep(name, stream)
                    return stream
                case LoggedOff():
                    self._streams.pop(name, None)
                    return ""
                case AskingOnly() as asks:
                    self._streams.pop(name, None)
                    try:
                        await self._require_over(name, asks)
                    except NoLogin:
                        if stays_off:
                            return ""
                        raise
                case LoginGranted(ends):
                    return await self._log_in(name, lock, None, None, ends=(ends, stale if afresh else ""))
                case LoginBusy(remaining_ms):
                    await trio.sleep(min(remaining_ms / 1000, wait_s))
                    wait_s = min(wait_s * 2, _LONGEST_LOOK_S)
                case other:
                    assert_never(other)

    async def _log_in(
        self, name: str, lock: LoginLock, password: str | None, totp: str | None, *, ends: Collection[str]
    ) -> str:
        """Log the user in while holding this lock, note the stream in Redis, and return its id.

        `ends`: streams that are logged off first if the server gives one of them again. When it fails or is cancelled,
        the lock is released, if Redis takes it within a second.
        """
        sessions, unknown = self._sessions, f"? {lock.holder}"
        stream = unknown  # until it is answered, they may be logged in or not
        try:
            given = await sessions.log_in(name, password, totp)
            if given in ends:
                # A kick or a lock ended their session, which the plugin does not notice (measured), or a late logoff.
                await self._store.take(name, attrs.evolve(lock, lease_ms=3 * lock.lease_ms), stale=given)
                await sessions.end(name, given)
                given = await sessions.log_in(name, password, totp)
            stream = given
        except NotSent:
            stream = ""
            raise
        except NoLogin as refused:
            stream = "" if isinstance(refused.outcome, Denied | Rejected) else unknown
            raise
        finally:
            if stream in ("", unknown):  # the next one need not wait until the lease ends
                with trio.move_on_after(_RELEASE_S, shield=True):
                    await self._store.put(name, lock.holder, stream)
        await self._store.put(name, lock.holder, stream)
        self._keep(name, stream)
        return stream

    def _new_lock(self) -> LoginLock:
        return LoginLock(secrets.token_hex(8), round((self._target.timeout_s + _LATER_S) * 1000))

    @asynccontextmanager
    async def _lock(self, name: str) -> AsyncIterator[None]:
        """Hold the name's lock in this process: one job asks, and the others then find its result."""
        lock = self._locks.setdefault(name, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().tasks_waiting and self._locks.get(name) is lock and not lock.locked():
                del self._locks[name]

    def _keep(self, name: str, stream: str) -> None:
        if len(self._streams) >= _MOST_KNOWN:
            self._streams.clear()
        self._streams[name] = stream


async def as_unsent(ask: Callable[..., Awaitable[T]], *arguments: str | None) -> T:
    """Return what `ask` returns, raising `NotSent` in place of `MaybeSent`.

    A login without an answer leaves the command unsent, even after a 400, since that did nothing.
    """
    try:
        return await ask(*arguments)
    except MaybeSent as error:
        raise NotSent(error.message, timed_out=error.timed_out) from error


def open_logins(target: Target, ports: Ports) -> Logins:
    """Return the logins of this target's users. Raise `ConfigError` if `ports` lacks logins in Redis or HTTP."""
    return shared_logins(target, ports)


def shared_logins(target: Target, ports: Ports) -> SharedLogins:
    """Return the same as `open_logins`, with the methods that only the connector uses."""
    if ports.logins is None or ports.http is None:
        raise ConfigError(f"The target {target.name} needs logins in Redis.", "Please report this.")
    return SharedLogins(target, ports.logins, Sessions(target, ports.http.send, ports.now_s))
