"""Logs users in, once for all processes: acting as a user needs the id of their stream, which a login gives.

The connector uses it, and so does the reader of events, through the registry. Always holds: of all processes and
targets one at a time adds or removes a connection at a server, and for a user who waits, another's login counts; two
users never act on one stream; a process does not ask Redis for what it knows itself; an id is in no text.

The plugin makes the ids of its clock's milliseconds, and changes the web server's table of paths without a lock (read):
two logins at once get one id, or a path is lost, and then no one gets a new stream of events until Openfire restarts
(measured). So each such request has the server's lock: login, logoff, question, kick.
"""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Final, TypeVar, assert_never

import attrs
import trio

from restbroker.config.target import Target
from restbroker.errors import ConfigError, StoreRefused
from restbroker.job.jid import fold_case
from restbroker.job.outcome import Denied, Rejected
from restbroker.light import define, field, frozen
from restbroker.servers.contract import Ports
from restbroker.servers.in_redis import LoginsInRedis
from restbroker.servers.openfire.chat.forms import user_name
from restbroker.servers.openfire.chat.outcomes import ASKS, LOGGED_IN, SHARED
from restbroker.servers.openfire.chat.sessions import NoLogin, Sessions
from restbroker.store import logins, rooms
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
from restbroker.transport.message import MaybeSent, NotSent, Response

_LATER_S: Final = 5.0
"""The seconds, beyond the requests' time-outs, after which others take the holder of a lock for dead.

Also how long a question without an answer has the lock if the server cannot be asked for its connection.
"""
_LOOK_S: Final = 0.005
_LONGEST_LOOK_S: Final = 0.5
_PATH_S: Final = 0.05
"""The seconds between two looks whether a question's connection is there."""
_RELEASE_S: Final = 1.0
_ENDED_MS: Final = 1000
_FIRM_S: Final = 30
"""The age in seconds of a question from which the server is asked whether its name still has a connection."""
_MOST_KNOWN: Final = 50_000
_NOBODY: Final = ""
"""The name for the server's lock without a user."""

T = TypeVar("T")


@frozen
class LogoffResult:
    """The server's answer to a logoff. `is_over`: the stream is over, and the name has no connection by it."""

    stream: str = field(repr=False)
    response: Response
    is_over: bool


@define(eq=False)
class SharedLogins:
    """One login for each of a target's users, shared by all processes; users are bare names or JIDs.

    Each call may raise `NoLogin`, `NotSent`, `MaybeSent` and `StoreRefused`, and waits while Redis is away. The ids
    that they return are as good as the user's password: they are shown nowhere.
    """

    _target: Target
    store: LoginsInRedis
    _sessions: Sessions
    _streams: dict[str, str] = field(factory=dict, repr=False)
    _line: trio.Lock = field(factory=trio.Lock, repr=False)
    """Who holds it looks for all in this process whether the server's lock is free."""

    async def stream(self, user: str) -> str:
        """Return the id of the user's stream, as far as is known; log them in if there is none, also after a logoff."""
        name = user_name(user)
        return self._streams.get(name) or await self._find_stream(name, "")

    async def renew(self, user: str, stale: str) -> str:
        """Return the id of the user's stream after the server refused `stale`: another process' login, or a new one.

        If it is the same id again, the server knows it, and refused the request for another reason.
        """
        return await self._find_stream(user_name(user), stale)

    async def stream_for_reader(self, user: str, stale: str = "", *, afresh: bool = False) -> str | None:
        """Return an id as `stream` does, or with a `stale` one as `renew` does; None for a user not to be logged in.

        That is a user whom a job logged off, or whose name asks a question. `afresh`: no events come over the stale
        stream although the server knows it; it is logged off first.
        """
        return await self._find_stream(user_name(user), stale, stays_off=True, afresh=afresh) or None

    async def read_states(self, users: Sequence[str]) -> list[LoginState]:
        """Return the state of each user's login in Redis, in the order of `users`."""
        return await self.store.call(logins.read_states, [user_name(user) for user in users])

    async def login(self, user: str, password: str | None = None) -> str:
        """Log the user in now, even if a stream is known, and return the new stream's id.

        `password` is used in place of the configured one. Raise `NoLogin` if the server refuses, or if the name asks a
        question.
        """
        name = user_name(user)
        lock = new_lock(self._target.timeout_s)
        while True:
            (known,) = await self.store.call(logins.read_states, [name])
            stale = known.stream if isinstance(known, LoggedIn) else ""
            match await self._acquire(lock, partial(self.store.call, logins.take, name, lock, stale=stale)):
                case LoginGranted(ends):
                    return await self._log_in(name, lock, password, ends=(ends,))
                case AskingOnly() as asks:
                    await self._require_over(name, asks)
                case LoggedIn() | LoggedOff():
                    pass  # another holder logged them in just now

    async def read_state(self, user: str) -> LoginState:
        """Return the state of the user's login in Redis."""
        (known,) = await self.read_states([user])
        return known

    async def ask(self, user: str) -> AskingOnly:
        """Claim the name for a question, with the server's lock: `send_question` must follow at once.

        Raise `NoLogin` if the user is logged in.

        Two connections of one name leave every later login without a stream, until Openfire restarts (measured).
        """
        name, lock = user_name(user), new_lock(self._target.timeout_s)
        while True:
            # Others may have logged them in, or a login whose answer was lost.
            if await self.read_state(user) in (None, LoggedOff()) and await self._sessions.is_taken(user):
                raise NoLogin(LOGGED_IN)
            match await self._acquire(lock, partial(self.store.call, logins.ask, name, lock)):
                case LoginGranted():
                    return AskingOnly(lock.holder)
                case LoggedOff():
                    done = await self._end_login(name, "doubted", self._sessions.log_off)
                    if done is not None and not isinstance(done, LoggedOff) and not done.is_over:
                        raise NoLogin(self._sessions.logoff_failure(done.response))
                case LoggedIn():
                    raise NoLogin(LOGGED_IN)

    async def send_question(self, user: str, asks: AskingOnly, send: Callable[[], Awaitable[Response]]) -> Response:
        """Return what `send` returns: the answer to the question that `ask` claimed the name for.

        The connection is made at once and the answer comes late: in between others may go on.
        """
        async with self._releasing(asks.claim):
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._release_once_connected, user_name(user), asks.claim)
                    try:
                        return await send()
                    finally:
                        nursery.cancel_scope.cancel()
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None  # that of `send`: the other task raises none

    async def send_alone(self, send: Callable[[], Awaitable[Response]]) -> Response:
        """Return what `send` returns, which may remove connections, called while no one else adds or removes one."""
        lock = new_lock(self._target.timeout_s)
        await self._acquire(lock, partial(self.store.call, logins.take, _NOBODY, lock))
        async with self._releasing(lock.holder):
            return await send()

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
        await self.store.call(logins.end, name, what)

    async def log_off_kicked(self, user: str) -> None:
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
        """Send the user's presence, after a login if there is none: a login alone makes no user available."""
        await self._sessions.present(await self.stream(user))

    async def record_expelled(self, user: str, room: str) -> None:
        """Note that the user is out of the room (`balcony@conference`), which they join before their next post."""
        await self.store.call_room(rooms.forget, fold_case(room), user_name(user), is_out=True)

    async def aclose(self) -> None:
        """Close the connection to Redis; a later call opens a new one."""
        await self.store.aclose()

    async def _end_login(
        self, name: str, how: LogoffReason, send: Callable[[str], Awaitable[Response]]
    ) -> LogoffResult | LoggedOff | None:
        """End the login under the server's lock, as `log_off` describes; `how` says why it ends.

        No login runs meanwhile: one that meets a logoff on the server may get a stream that is about to end.
        """
        lock = new_lock(self._target.timeout_s)
        known = await self._acquire(lock, partial(self.store.call, logins.start_logoff, name, lock, how))
        # What this process has beside what Redis knows, Redis lost.
        self._streams.pop(name, None)
        if not isinstance(known, LoginGranted):
            return known
        async with self._releasing(lock.holder):
            response = await send(known.ends)
            is_over = await self._sessions.is_over(name, response)
            if is_over:
                with bounded():
                    await self.store.call(logins.end, name, LoggedIn(known.ends))
            return LogoffResult(known.ends, response, is_over)

    async def _require_over(self, name: str, asks: AskingOnly) -> None:
        """Return if the question is over, which a restart of the server does not tell. Raise `NoLogin` if it is not."""
        if asks.age_s < _FIRM_S or await self._sessions.has_path(name) is not False:
            raise NoLogin(ASKS)
        await self.store.call(logins.end, name, asks)

    async def _find_stream(self, name: str, stale: str, *, stays_off: bool = False, afresh: bool = False) -> str:
        """Return the id of the user's stream; "" if a job logged the user off or they ask, and `stays_off` is set.

        `stale` and `afresh` are those of `stream_for_reader`.
        """
        here = self._streams.get(name)
        # Whether they were logged off, by any process, only Redis knows.
        if here is not None and here != stale and not stays_off:
            return here
        lock = new_lock(self._target.timeout_s)
        while True:
            attempt = partial(self.store.call, logins.take, name, lock, stale=stale, stays_off=stays_off)
            known: LoggedIn | LoggedOff | AskingOnly | LoginGranted = await self._acquire(lock, attempt)
            match known:
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
                    return await self._log_in(name, lock, None, ends=(ends, stale if afresh else ""))
                case other:
                    assert_never(other)

    async def _log_in(self, name: str, lock: LoginLock, password: str | None, *, ends: Collection[str]) -> str:
        """Log the user in while holding this lock, note the stream in Redis, and return its id.

        `ends`: streams that are logged off first if the server gives one of them again. When it fails or is cancelled,
        the lock ends as `_releasing` says.
        """
        unknown = f"? {lock.holder}"
        stream = unknown  # until it is answered, they may be logged in or not
        async with self._releasing(lock.holder):
            try:
                stream = await self._new_stream(name, lock, password, ends=ends)
            except NotSent:
                stream = ""
                raise
            except NoLogin as refused:
                stream = "" if isinstance(refused.outcome, Denied | Rejected) else unknown
                raise
            finally:
                if stream == unknown:
                    with bounded():
                        await self.store.call(logins.put, name, lock.holder, unknown)
            self._keep(name, stream)
        return stream

    async def _new_stream(self, name: str, lock: LoginLock, password: str | None, *, ends: Collection[str]) -> str:
        """Log the user in, and return a stream that is none of `ends` and no other user's, once it is noted."""
        given = await self._sessions.log_in(name, password)
        if given in ends or await self.store.call(logins.put, name, lock.holder, given) == "shared":
            # A kick or a lock ended their session, which the plugin does not notice (measured), or a late logoff; or
            # another program logged one of two users in at the same moment, who both have this stream now.
            await self.store.call(logins.take, _NOBODY, attrs.evolve(lock, lease_ms=3 * lock.lease_ms))
            await self._sessions.end(name, given)
            given = await self._sessions.log_in(name, password)
            if await self.store.call(logins.put, name, lock.holder, given) == "shared":
                raise NoLogin(SHARED)
        return given

    async def _acquire(self, lock: LoginLock, attempt: Callable[[], Awaitable[T | LoginBusy]]) -> T:
        """Return what `attempt` returns once no one else has the server's lock; with the lock, if it is granted.

        First come, first served in this process. When cancelled, the lock is no one's.
        """
        try:
            answer = await self._attempt(attempt)
            if isinstance(answer, LoginBusy):
                async with self._line:
                    return await until_free(partial(self._attempt, attempt))
        except BaseException:
            await self._release(lock.holder)  # an attempt without an answer may have got it
            raise
        return answer

    async def _attempt(self, attempt: Callable[[], Awaitable[T | LoginBusy]]) -> T | LoginBusy:
        """Return what `attempt` returned a moment ago: if this process was frozen since, the lock may be another's."""
        while True:
            began_s = trio.current_time()
            answer = await attempt()
            if trio.current_time() - began_s < _LATER_S:
                return answer

    @asynccontextmanager
    async def _releasing(self, holder: str) -> AsyncIterator[None]:
        """Release the server's lock afterwards; if a request may still be under way there, the lease ends it.

        A server that ended the connection does within a second what it had got.
        """
        may_run = False
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            may_run = True
            yield
            may_run = False
        except MaybeSent as error:
            if not error.timed_out:
                with bounded():
                    await self.store.call(logins.take, _NOBODY, LoginLock(holder, _ENDED_MS))
            raise
        except Exception:
            may_run = False
            raise
        finally:
            if not may_run:
                await self._release(holder)

    async def _release(self, holder: str) -> None:
        """Release the server's lock, if it is still this holder's, and Redis takes that within a second."""
        with bounded():
            await self.store.call(logins.put, _NOBODY, holder, "")

    async def _release_once_connected(self, name: str, holder: str) -> None:
        """Release the server's lock as soon as the name has a connection."""
        with contextlib.suppress(NotSent, MaybeSent):
            while True:
                has_path = await self._sessions.has_path(name)
                if has_path is not False:
                    break
                await trio.sleep(_PATH_S)
            await trio.sleep(0.0 if has_path else _LATER_S)
            await self._release(holder)

    def _keep(self, name: str, stream: str) -> None:
        if len(self._streams) >= _MOST_KNOWN:
            self._streams.clear()
        self._streams[name] = stream


def new_lock(timeout_s: float) -> LoginLock:
    """Return a lock for two requests with this time-out: the question before a login, a join or a leave, and that."""
    return LoginLock(secrets.token_hex(8), round((2 * timeout_s + _LATER_S) * 1000))


async def until_free(attempt: Callable[[], Awaitable[T | LoginBusy]]) -> T:
    """Return what `attempt` returns once no one else has the lock."""
    wait_s = _LOOK_S
    while isinstance(answer := await attempt(), LoginBusy):
        await trio.sleep(min(answer.remaining_ms / 1000, wait_s))
        wait_s = min(wait_s * 2, _LONGEST_LOOK_S)
    return answer


@contextmanager
def bounded() -> Iterator[None]:
    """Bound a call to Redis after a request, which counts whatever becomes of the call: this raises nothing of it."""
    with trio.move_on_after(_RELEASE_S, shield=True), contextlib.suppress(StoreRefused):
        yield


def shared_logins(target: Target, ports: Ports) -> SharedLogins:
    """Return the logins of this target's users. Raise `ConfigError` if `ports` lacks logins in Redis or HTTP."""
    book = ports.service(LoginsInRedis)
    if book is None or ports.http is None:
        raise ConfigError(f"The target {target.name} needs logins in Redis.", "Please report this.")
    return SharedLogins(target, book, Sessions(target, ports.http.send, ports.now_s))
