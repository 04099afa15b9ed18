"""Logs users in, once for all processes: acting as a user needs the id of his stream, which the server gives at login.

The connector uses it, and the reader of events through the registry. Always holds: one process at a time logs a user
in; who waits gets what came of it, and in one process nobody asks Redis for what is known here; an id is in no text.
"""

import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, assert_never
from urllib.parse import quote

import attrs
import trio

from restbroker.config.passwords import passwords_in
from restbroker.config.target import Basic, Target
from restbroker.connectors.contract import LoginBook, Logins, NoLogin, Ports
from restbroker.connectors.openfire_chat.headers import accepting, authorized
from restbroker.connectors.openfire_chat.options import settings_of
from restbroker.connectors.openfire_chat.refusals import ASKS, LOGGED_IN, NO_PASSWORD, judge_login
from restbroker.connectors.openfire_chat.request import question
from restbroker.connectors.openfire_chat.trust import is_administrator, no_administrator, trust_question
from restbroker.connectors.openfire_chat.values import user_name
from restbroker.errors import ConfigError, StoreRefused
from restbroker.rules.jid import folded
from restbroker.store.logins import Asks, Busy, Known, Off, On, Turn, Yours
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response

_LATER_S: Final = 5.0
"""So much longer than the login's own time-out others wait for whoever is at it, before they take him for dead."""
_LOOK_S: Final = 0.05
_LONGEST_LOOK_S: Final = 0.5
_RELEASE_S: Final = 1.0
_FIRM_S: Final = 30
"""So long a question may be on its way before the server is asked whether its name has a connection still."""
_NO_PATH: Final = 404
_MOST_KNOWN: Final = 50_000
_STREAM: Final = re.compile(r"[!-~]{1,200}", re.ASCII)
"""`ofchat` and a number, which may have a minus (read)."""


@attrs.define(eq=False)
class SharedLogins:
    """See `connectors.contract.Logins`."""

    _target: Target
    _book: LoginBook
    _send: Callable[[Request], Awaitable[Response]]
    _now_s: Callable[[], float]
    _known: dict[str, str] = attrs.field(factory=dict, repr=False)
    _asking: dict[str, trio.Lock] = attrs.field(factory=dict, repr=False)
    _is_trusted: bool = False
    """Whether the target's login was found to be an administrator's."""

    async def stream(self, user: str) -> str:
        """As `Logins`."""
        name = user_name(user)
        return self._known.get(name) or await self._found(name, "")

    async def renew(self, user: str, stale: str) -> str:
        """As `Logins`."""
        return await self._found(user_name(user), stale)

    async def watched(self, user: str, stale: str = "", *, afresh: bool = False) -> str | None:
        """As `Logins`."""
        return await self._found(user_name(user), stale, stays_off=True, afresh=afresh) or None

    async def noted(self, users: Sequence[str]) -> list[Known]:
        """As `Logins`."""
        return await self._book.noted([user_name(user) for user in users])

    async def login(self, user: str, password: str | None = None, totp: str | None = None) -> str:
        """Has the server log him in, whatever is known, with this password if one is given."""
        name = user_name(user)
        async with self._turn_here(name):
            turn = self._turn()
            while True:
                (known,) = await self._book.noted([name])
                stale = known.stream if isinstance(known, On) else ""
                match await self._book.take(name, turn, stale=stale):
                    case Yours():
                        return await self._logged_in(name, turn, password, totp)
                    case Busy(left_ms):
                        await trio.sleep(min(left_ms / 1000, _LOOK_S))
                    case Asks() as asks:
                        await self._must_be_over(name, asks)
                    case On() | Off():
                        pass  # somebody logged him in just now

    async def known(self, user: str) -> Known:
        """What Redis knows of him."""
        (known,) = await self.noted([user])
        return known

    async def ask(self, user: str) -> Asks:
        """Claims the name for a question, and waits for who logs him in. Raises `NoLogin` where he is logged in: two
        connections of one name leave every login after them without a stream, until Openfire's restart (measured).
        """
        name, claim = user_name(user), secrets.token_hex(8)
        while True:
            match await self._book.ask(name, claim):
                case Yours():
                    return Asks(claim)
                case Busy(left_ms):
                    await trio.sleep(min(left_ms / 1000, _LOOK_S))
                case On():
                    raise NoLogin(LOGGED_IN)

    async def end(self, user: str, what: On | Asks) -> None:
        """What is noted is no longer so: his stream was ended, or his question is over."""
        name = user_name(user)
        self._known.pop(name, None)
        await self._book.end(name, what, secrets.token_hex(8))

    async def kicked(self, user: str) -> None:
        """A job ended his session, which the plugin does not notice: it is told, and he is logged in when he is needed.

        Never raises: who reads his stream looks as well.
        """
        with contextlib.suppress(NotSent, MaybeSent, StoreRefused):
            if isinstance(known := await self.known(user), On):
                await self._post(known.stream, "logoff")
                await self.end(user, known)

    async def off(self, user: str, stream: str) -> None:
        """As `Logins`."""
        name = user_name(user)
        self._known.pop(name, None)
        await self._book.off(name, stream)

    async def present(self, user: str) -> None:
        """As `Logins`."""
        stream = await self.stream(user)
        response = await self._post(stream, "presence")
        if not 200 <= response.status < 300:
            raise NoLogin(judge_login(response, self._now_s(), (stream,)))

    async def expelled(self, user: str, room: str) -> None:
        """As `Logins`."""
        await self._book.room_lose(folded(room), user_name(user), is_out=True)

    async def aclose(self) -> None:
        """As `Logins`."""
        await self._book.aclose()

    async def _post(self, stream: str, what: str) -> Response:
        path = f"{self._target.url.path}/restapi/v1/chat/{quote(stream, safe='')}/{what}"
        headers = (("Accept", "application/json"), *authorized(self._target))
        return await self._send(Request("POST", path, self._target.timeout_s, (), headers, repeatable=True))

    async def _must_be_over(self, name: str, asks: Asks) -> None:
        """Returns where the question is over, as after a restart, of which nobody told. Raises `NoLogin` where not.

        An administrator may ask whether a name has a path: it is looked at before whose it is (measured).
        """
        login = self._target.credentials
        if asks.age_s < _FIRM_S or not isinstance(login, Basic):
            raise NoLogin(ASKS)
        headers = (("Accept", "text/plain"), *authorized(self._target))
        path = f"/sse/{quote(name, safe='')}"
        response = await self._send(Request("GET", path, self._target.timeout_s, (), headers, repeatable=True))
        if response.status != _NO_PATH:
            raise NoLogin(ASKS)
        await self._book.end(name, asks, secrets.token_hex(8))

    async def _found(self, name: str, stale: str, *, stays_off: bool = False, afresh: bool = False) -> str:
        """His stream; empty for who was logged off, and stays so."""
        async with self._turn_here(name):
            known = self._known.get(name)
            # Whether he was logged off, by whichever process, only Redis knows.
            if known is not None and known != stale and not stays_off:
                return known
            return await self._taken(name, stale, stays_off=stays_off, afresh=afresh)

    async def _taken(self, name: str, stale: str, *, stays_off: bool, afresh: bool) -> str:
        # Afresh, it is a login, a logoff and a login.
        turn, wait_s = self._turn(3 if afresh else 1), _LOOK_S
        while True:
            match await self._book.take(name, turn, stale=stale, stays_off=stays_off):
                case On(stream):
                    self._keep(name, stream)
                    return stream
                case Off():
                    self._known.pop(name, None)
                    return ""
                case Asks() as asks:
                    self._known.pop(name, None)
                    try:
                        await self._must_be_over(name, asks)
                    except NoLogin:
                        if stays_off:
                            return ""
                        raise
                case Yours():
                    return await self._logged_in(name, turn, None, None, ends=stale if afresh else "")
                case Busy(left_ms):
                    await trio.sleep(min(left_ms / 1000, wait_s))
                    wait_s = min(wait_s * 2, _LONGEST_LOOK_S)
                case other:
                    assert_never(other)

    async def _logged_in(self, name: str, turn: Turn, password: str | None, totp: str | None, *, ends: str = "") -> str:
        """`ends`: a stream that is logged off where the server gives that one again."""
        stream = ""
        try:
            given = await self._ask(name, password, totp)
            if given == ends:
                # A kick or a lock ended his session, and the plugin does not notice (measured).
                await self._post(given, "logoff")
                given = await self._ask(name, password, totp)
            stream = given
        finally:
            if not stream:  # the next one need not wait until the lease ends
                with trio.move_on_after(_RELEASE_S, shield=True):
                    await self._book.put(name, turn.holder, "")
        await self._book.put(name, turn.holder, stream)
        self._keep(name, stream)
        return stream

    async def _ask(self, name: str, password: str | None, totp: str | None) -> str:
        try:
            request = self._request(name, password, totp)
        except ConfigError as error:
            # As unsent, the job waits until the secret file is back.
            raise NotSent(str(error)) from error
        if not request.body:
            await self._make_sure()
        response = await self._send(request)
        stream = response.body.decode("ascii", "replace").strip()
        if response.status == 200 and _STREAM.fullmatch(stream):
            return stream
        raise NoLogin(judge_login(response, self._now_s(), [request.body.decode(), *(one for _, one in request.query)]))

    async def _make_sure(self) -> None:
        """That a login without a password gives the user's own stream. Asked until it was found so, then no more."""
        if self._is_trusted:
            return
        found = is_administrator(await self._send(trust_question(self._target)))
        if found is False:
            known = await self._send(question(self._target))
            raise NoLogin(judge_login(known, self._now_s(), ()) if known.status == 401 else no_administrator())
        self._is_trusted = found is True

    def _request(self, name: str, password: str | None, totp: str | None) -> Request:
        target = self._target
        passwords = settings_of(target).passwords
        if password is None and passwords is not None:
            password = passwords_in(passwords).get(name)
        if password is None and not isinstance(target.credentials, Basic):
            # The secret is nobody's, and with it he would be somebody without a name (read).
            raise NoLogin(NO_PASSWORD)
        headers = (accepting("text/plain"), ("Content-Type", "text/plain; charset=UTF-8"), *authorized(target))
        query = () if totp is None else (("totp", totp),)
        path = f"{target.url.path}/restapi/v1/chat/{quote(name, safe='')}/login"
        body = (password or "").encode()
        return Request("POST", path, target.timeout_s, query, headers, body, 65_536, repeatable=True)

    def _turn(self, requests: int = 1) -> Turn:
        return Turn(secrets.token_hex(8), round((requests * self._target.timeout_s + _LATER_S) * 1000))

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


async def as_unsent(ask: Callable[..., Awaitable[str]], *arguments: str | None) -> str:
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
    return SharedLogins(target, ports.logins, ports.http.send, ports.now_s)
