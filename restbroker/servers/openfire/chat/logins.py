"""Logs users in, once for all processes: acting as a user needs the id of his stream, which the server gives at login.

The connector uses it, and the reader of events through the registry. Always holds: one process at a time logs a user
in; who waits gets what came of it, and in one process nobody asks Redis for what is known here; an id is in no text.
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
from restbroker.servers.contract import LoginBook, Logins, NoLogin, Ports
from restbroker.servers.openfire.chat.error_table import ASKS, LOGGED_IN
from restbroker.servers.openfire.chat.forms import user_name
from restbroker.servers.openfire.chat.sessions import Sessions
from restbroker.store.logins import AskingOnly, How, Known, LoggedIn, LoggedOff, LoginBusy, LoginGranted, LoginTurn
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Response

_LATER_S: Final = 5.0
"""So much longer than the login's own time-out others wait for whoever is at it, before they take him for dead."""
_LOOK_S: Final = 0.05
_LONGEST_LOOK_S: Final = 0.5
_RELEASE_S: Final = 1.0
_FIRM_S: Final = 30
"""So long a question may be on its way before the server is asked whether its name has a connection still."""
_MOST_KNOWN: Final = 50_000

T = TypeVar("T")


@attrs.frozen
class LogoffResult:
    """What the server answered to a logoff. `is_over`: the stream is, and the name has no connection by it."""

    stream: str = attrs.field(repr=False)
    response: Response
    is_over: bool


@attrs.define(eq=False)
class SharedLogins:
    """See `servers.contract.Logins`."""

    _target: Target
    _book: LoginBook
    _sessions: Sessions
    _known: dict[str, str] = attrs.field(factory=dict, repr=False)
    _asking: dict[str, trio.Lock] = attrs.field(factory=dict, repr=False)

    async def stream(self, user: str) -> str:
        """As `Logins`."""
        name = user_name(user)
        return self._known.get(name) or await self._find_stream(name, "")

    async def renew(self, user: str, stale: str) -> str:
        """As `Logins`."""
        return await self._find_stream(user_name(user), stale)

    async def open_watched(self, user: str, stale: str = "", *, afresh: bool = False) -> str | None:
        """As `Logins`."""
        return await self._find_stream(user_name(user), stale, stays_off=True, afresh=afresh) or None

    async def read_states(self, users: Sequence[str]) -> list[Known]:
        """As `Logins`."""
        return await self._book.read_states([user_name(user) for user in users])

    async def login(self, user: str, password: str | None = None, totp: str | None = None) -> str:
        """Has the server log him in, whatever is known, with this password if one is given."""
        name = user_name(user)
        async with self._turn_here(name):
            turn = self._turn()
            while True:
                (known,) = await self._book.read_states([name])
                stale = known.stream if isinstance(known, LoggedIn) else ""
                match await self._book.take(name, turn, stale=stale):
                    case LoginGranted(ends):
                        return await self._logged_in(name, turn, password, totp, ends=(ends,))
                    case LoginBusy(left_ms):
                        await trio.sleep(min(left_ms / 1000, _LOOK_S))
                    case AskingOnly() as asks:
                        await self._must_be_over(name, asks)
                    case LoggedIn() | LoggedOff():
                        pass  # somebody logged him in just now

    async def read_state(self, user: str) -> Known:
        """What Redis knows of him."""
        (known,) = await self.read_states([user])
        return known

    async def ask(self, user: str) -> AskingOnly:
        """Claims the name for a question, and waits for who logs him in or off. Raises `NoLogin` where he is logged in:
        two connections of one name leave every login after them without a stream, until Openfire's restart (measured).
        """
        name, claim = user_name(user), secrets.token_hex(8)
        while True:
            # Other hands may have logged him in, or a login whose answer was lost.
            if await self.read_state(user) in (None, LoggedOff()) and await self._sessions.is_taken(user):
                raise NoLogin(LOGGED_IN)
            match await self._book.ask(name, claim):
                case LoginGranted():
                    return AskingOnly(claim)
                case LoginBusy(left_ms):
                    await trio.sleep(min(left_ms / 1000, _LOOK_S))
                case LoggedOff():
                    done = await self._end_login(name, "doubted", self._sessions.log_off)
                    if done is not None and not isinstance(done, LoggedOff) and not done.is_over:
                        raise NoLogin(self._sessions.not_ended(done.response))
                case LoggedIn():
                    raise NoLogin(LOGGED_IN)

    async def end_question(self, user: str, asks: AskingOnly) -> None:
        """The server says that his question is over: it does so too where its connection stays (read)."""
        with contextlib.suppress(NotSent, MaybeSent):
            if not await self._sessions.is_taken(user):
                await self.end(user, asks)

    async def end(self, user: str, what: LoggedIn | AskingOnly) -> None:
        """What is noted is no longer so: his stream was ended, or his question is over."""
        name = user_name(user)
        self._known.pop(name, None)
        await self._book.end(name, what)

    async def note_kicked(self, user: str) -> None:
        """A job may have ended his session, which the plugin does not notice: it is told, and he is logged in when he
        is needed. Never raises: where it could not be told, whoever needs him does it.
        """
        with contextlib.suppress(NotSent, MaybeSent, StoreRefused):
            await self._end_login(user_name(user), "doubted", self._sessions.log_off)

    async def log_off(self, user: str, send: Callable[[str], Awaitable[Response]]) -> LogoffResult | LoggedOff | None:
        """Logs him off: `send` does so with the stream that is known of him. `LoggedOff`: he is; None: no stream is
        known.
        """
        return await self._end_login(user_name(user), "off", send)

    async def present(self, user: str) -> None:
        """As `Logins`."""
        await self._sessions.present(await self.stream(user))

    async def note_expelled(self, user: str, room: str) -> None:
        """As `Logins`."""
        await self._book.room_lose(fold_case(room), user_name(user), is_out=True)

    async def aclose(self) -> None:
        """As `Logins`."""
        await self._book.aclose()

    async def _end_login(
        self, name: str, how: How, send: Callable[[str], Awaitable[Response]]
    ) -> LogoffResult | LoggedOff | None:
        """Nobody logs him in meanwhile: a login that meets a logoff on the server may get what is about to end."""
        async with self._turn_here(name):
            turn = self._turn()
            while True:
                match await self._book.start_logoff(name, turn, how):
                    case LoginGranted(stream):
                        self._known.pop(name, None)
                        return await self._end_stream(name, turn, stream, send)
                    case LoginBusy(left_ms):
                        await trio.sleep(min(left_ms / 1000, _LOOK_S))
                    case known:
                        # What this process has beside that, Redis lost.
                        self._known.pop(name, None)
                        return known

    async def _end_stream(
        self, name: str, turn: LoginTurn, stream: str, send: Callable[[str], Awaitable[Response]]
    ) -> LogoffResult:
        is_over = False
        try:
            response = await send(stream)
            is_over = await self._sessions.is_over(name, response)
            return LogoffResult(stream, response, is_over)
        finally:
            with trio.move_on_after(_RELEASE_S, shield=True):
                if is_over:
                    await self._book.end(name, LoggedIn(stream))
                await self._book.put(name, turn.holder, "")

    async def _must_be_over(self, name: str, asks: AskingOnly) -> None:
        """Returns where the question is over, as after a restart, of which nobody told. Raises `NoLogin` where not."""
        if asks.age_s < _FIRM_S or await self._sessions.has_path(name) is not False:
            raise NoLogin(ASKS)
        await self._book.end(name, asks)

    async def _find_stream(self, name: str, stale: str, *, stays_off: bool = False, afresh: bool = False) -> str:
        """His stream; empty for who was logged off, and stays so."""
        async with self._turn_here(name):
            known = self._known.get(name)
            # Whether he was logged off, by whichever process, only Redis knows.
            if known is not None and known != stale and not stays_off:
                return known
            return await self._take_stream(name, stale, stays_off=stays_off, afresh=afresh)

    async def _take_stream(self, name: str, stale: str, *, stays_off: bool, afresh: bool) -> str:
        turn, wait_s = self._turn(), _LOOK_S
        while True:
            match await self._book.take(name, turn, stale=stale, stays_off=stays_off):
                case LoggedIn(stream):
                    self._keep(name, stream)
                    return stream
                case LoggedOff():
                    self._known.pop(name, None)
                    return ""
                case AskingOnly() as asks:
                    self._known.pop(name, None)
                    try:
                        await self._must_be_over(name, asks)
                    except NoLogin:
                        if stays_off:
                            return ""
                        raise
                case LoginGranted(ends):
                    return await self._logged_in(name, turn, None, None, ends=(ends, stale if afresh else ""))
                case LoginBusy(left_ms):
                    await trio.sleep(min(left_ms / 1000, wait_s))
                    wait_s = min(wait_s * 2, _LONGEST_LOOK_S)
                case other:
                    assert_never(other)

    async def _logged_in(
        self, name: str, turn: LoginTurn, password: str | None, totp: str | None, *, ends: Collection[str]
    ) -> str:
        """`ends`: streams that are logged off where the server gives one of them again."""
        sessions, unknown = self._sessions, f"? {turn.holder}"
        stream = unknown  # until it is answered, he may be logged in or not
        try:
            given = await sessions.log_in(name, password, totp)
            if given in ends:
                # A kick or a lock ended his session, which the plugin does not notice (measured), or a logoff is late.
                await self._book.take(name, attrs.evolve(turn, lease_ms=3 * turn.lease_ms), stale=given)
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
                    await self._book.put(name, turn.holder, stream)
        await self._book.put(name, turn.holder, stream)
        self._keep(name, stream)
        return stream

    def _turn(self) -> LoginTurn:
        return LoginTurn(secrets.token_hex(8), round((self._target.timeout_s + _LATER_S) * 1000))

    @asynccontextmanager
    async def _turn_here(self, name: str) -> AsyncIterator[None]:
        """One job of this process asks, and the others get what came of it."""
        lock = self._asking.setdefault(name, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().tasks_waiting and self._asking.get(name) is lock and not lock.locked():
                del self._asking[name]

    def _keep(self, name: str, stream: str) -> None:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[name] = stream


async def as_unsent(ask: Callable[..., Awaitable[T]], *arguments: str | None) -> T:
    """A login that was not answered leaves the command unsent, also after a 400, which did nothing."""
    try:
        return await ask(*arguments)
    except MaybeSent as error:
        raise NotSent(error.message, timed_out=error.timed_out) from error


def open_logins(target: Target, ports: Ports) -> Logins:
    """The logins of this target's users. Raises `ConfigError` where it is not given what it needs."""
    return shared_logins(target, ports)


def shared_logins(target: Target, ports: Ports) -> SharedLogins:
    """The same, with what the connector alone does."""
    if ports.logins is None or ports.http is None:
        raise ConfigError(f"The target {target.name} needs logins in Redis.", "Please report this.")
    return SharedLogins(target, ports.logins, Sessions(target, ports.http.send, ports.now_s))
