"""Plays Openfire's Chat API by recorded answers, in threads of the test: `/rest/api/restapi/v1`, and `/sse/USER`.

`with Openfire() as server:` serves; `stop`, `start` and `restart` play a restart; `server.faults` is what goes wrong,
`server.state` who is logged in and what they are sent, `server.requests` what came.

Always holds: nothing of restbroker is imported; a request is in `requests` before it is answered; the port stays the
same; what is answered was recorded, or its file says that it was not; a request that no exchange fits fails the test.
"""

import base64
import binascii
import socket
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import attrs

from tests.support.openfire_chat.answers import CHAT, find, named
from tests.support.openfire_chat.emitter import Emitter
from tests.support.openfire_chat.handlers import Call, Caller, answer
from tests.support.openfire_chat.state import DOMAIN, State
from tests.support.player import UNEXPECTED, Exchange, written
from tests.support.receiver import Kind, Received, Server

SSE: Final = "/sse/"
_NO_PAGE: Final = named("nobody of that name is connected")
_NO_PATH: Final = named("whether the login is an administrator's")
_UNEXPECTED: Final = Exchange("", "", UNEXPECTED, "No exchange fits")
_REFUSALS: Final[Mapping[Kind, Exchange]] = {
    Kind.EMPTY: named("it failed"),
    Kind.DENIED: named("a login that is wrong"),
    Kind.REDIRECT: named("the console redirects"),
    Kind.UNAVAILABLE: named("it cannot work now"),
}


@attrs.define(eq=False)
class Openfire(Server):
    """The server. Takes its shared secret, and Basic of any user; `admin` is an administrator."""

    secret: str = "chat-secret"
    state: State = attrs.field(factory=State)
    heartbeat_s: float = 10.0
    idle_s: float | None = attrs.field(default=30.0, kw_only=True)
    send_timeout_s: float = 5.0
    ask_timeout_s: float = 180.0

    @property
    def requests(self) -> list[Received]:
        return self.received

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/rest/api"

    def start(self) -> None:
        """Listens."""
        with self.state.lock:
            # Once more: a request that was under way when it stopped may have logged a user in since.
            if self.state.starts:
                self.state.forget()
        super().start()

    def stop(self) -> None:
        """Refuses at once; event streams end, logins and questions are lost."""
        self._doors.end(self._forget)

    def _forget(self) -> None:
        self.faults.release()
        with self.state.lock:
            self.state.forget()

    def restart(self, down_s: float = 0.0) -> None:
        """Stops and starts again."""
        self.stop()
        time.sleep(down_s)
        self.start()

    def refusal(self, kind: Kind) -> bytes | None:
        return written(_REFUSALS[kind]) if kind in _REFUSALS else None

    def answer(self, request: Received, line: socket.socket) -> bytes | None:
        exchange = self._exchange(request, line)
        return None if exchange is None else written(exchange)

    def _exchange(self, request: Received, line: socket.socket) -> Exchange | None:
        """Return the answer; None after an event stream, which was served here."""
        if request.path.startswith(SSE):
            # Also with the plugin switched off (measured).
            return self._events(request, line)
        if not request.path.startswith(f"{CHAT}/"):
            return _NO_PAGE
        given = request.headers.get("authorization", "")
        caller = Caller(None, is_admin=True) if given == self.secret else self._caller(given, "utf-8")
        is_for_admins = request.path.startswith(f"{CHAT}/admin")
        if is_for_admins and caller is not None and caller.is_whole_jid:
            return named("a whole JID logs in, and asks what is an administrator's")
        if caller is None or (is_for_admins and not caller.is_admin):
            return named("a login that is wrong")
        if is_for_admins:
            return _NO_PATH
        found = find(request)
        if found is None:
            self.unexpected.append(request)
            return _UNEXPECTED
        with self.state.lock:
            return answer(Call(self.state, request, caller, *found, self.ask_timeout_s))

    def _caller(self, given: str, encoding: str) -> Caller | None:
        """Return whom Basic names, if that is a user with this password."""
        try:
            text = base64.b64decode(given.removeprefix("Basic "), validate=True).decode(encoding)
        except (binascii.Error, UnicodeDecodeError):
            return None
        name, _, password = text.partition(":")
        user = name.removesuffix(f"@{DOMAIN}")
        account = self.state.accounts.get(user)
        if account is None or account.is_locked or account.password != password:
            return None
        return Caller(user, user == "admin", is_whole_jid="@" in name)

    def _events(self, request: Received, line: socket.socket) -> Exchange | None:
        """Serves an event stream. What is wrong is looked at in this order, and Basic is read as Latin-1 (measured)."""
        username = unquote(request.path.removeprefix(SSE).strip("/"))
        caller = self._caller(request.headers.get("authorization", ""), "latin-1")
        if caller is None:
            return named("no login, or a wrong one")
        with self.state.lock:
            if not self.state.is_served(username):
                return _NO_PAGE
            if request.headers.get("accept") != "text/event-stream":
                return named("another Accept than text/event-stream")
            if caller.name != username:
                return named("the stream of another user")
            line.settimeout(self.send_timeout_s)
            emitter = Emitter(username, line, self.heartbeat_s)
            emitter.begin()
            self.state.readers[username] = emitter
            self.state.open_readers.append(emitter)
        emitter.run()
        with self.state.lock:
            if self.state.readers.get(username) is emitter:
                del self.state.readers[username]
            if emitter in self.state.open_readers:
                self.state.open_readers.remove(emitter)
        return None
