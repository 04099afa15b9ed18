"""A stand-in for Openfire with the REST API plugin and the Chat API, in threads of the test: no distribution has it.

Two ports as there: the admin console's with `/plugins/restapi/v1`, and http-bind's with `/rest/api/restapi/v1` and
`/sse/USER`. `with Openfire() as server:` serves; `stop`, `start` and `restart` play a restart; `server.faults` is what
goes wrong, `server.world` what it knows, `server.asked` what came.

Always holds: nothing of restbroker is imported; a request is in `asked` before it is answered; the ports stay the same.
"""

import functools
import secrets
import socket
import threading
from typing import Final, Literal, Self
from urllib.parse import unquote

import attrs

from tests.support.lines import Asked, Doors, Faults, Reader, is_kind
from tests.support.openfire import access, chat, fastpath, generic, queueing, rest, rooms, system
from tests.support.openfire.calls import Bare, Call, Caller, Failed, Routes, error, written
from tests.support.openfire.faults import LOGIN_PAGE, Kind, after, before
from tests.support.openfire.forms import Dialect
from tests.support.openfire.http import Said
from tests.support.openfire.sse import Emitter
from tests.support.openfire.world import World
from tests.support.ports import free_port

REST: Final = "/plugins/restapi/v1"
CHAT: Final = "/rest/api/restapi/v1"
SSE: Final = "/sse/"
_REALM: Final = (("WWW-Authenticate", 'basic realm="ofchat"'),)
_PAGE: Final = b"<html><body><h2>HTTP ERROR</h2></body></html>"

_REST_ROUTES: Final = (rest.ROUTES, rooms.ROUTES, system.ROUTES, generic.REST)
_CHAT_ROUTES: Final = (
    *(chat.ROUTES, fastpath.ROUTES, generic.CHAT, rest.CHAT, rooms.CHAT),
    *(rest.ROUTES, rooms.ROUTES, system.ROUTES),
)


@attrs.define(eq=False)
class Openfire:
    """Both ports. The REST plugin takes Basic or the secret, as `auth` says; the Chat API takes both."""

    dialect: Dialect = "1.5"
    auth: Literal["basic", "secret"] = "basic"
    rest_secret: str = "rest-secret"
    chat_secret: str = "chat-secret"
    rest_port: int = attrs.field(factory=free_port)
    chat_port: int = attrs.field(factory=free_port)
    world: World = attrs.field(factory=World)
    faults: Faults = attrs.field(factory=Faults)
    is_enabled: bool = True
    is_allowed: bool = True
    starting_s: float = 0.0
    """How long every answer is a 302 after the start: 0.9 s there."""
    redirects: bool = False
    """A 302 for good, as since Openfire 4.7.5 without its property."""
    heartbeat_s: float = 10.0
    idle_s: float = 30.0
    send_timeout_s: float = 5.0
    ask_timeout_s: float = 180.0
    offer_delay_s: float = 1.5
    join_timeout_s: float = 5.0
    """How long a join of a room waits that tells nobody's presence."""
    asked: list[Asked] = attrs.field(factory=list)
    http_sessions: int = 0
    """How often a client came without a cookie."""
    _doors: Doors = attrs.field(init=False)
    _is_up: threading.Event = attrs.field(factory=threading.Event)

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}{REST}"

    @property
    def chat_url(self) -> str:
        return f"http://127.0.0.1:{self.chat_port}/rest/api"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._doors.join()

    def __attrs_post_init__(self) -> None:
        self._doors = Doors(self._talk)
        self.world.at_end.append(functools.partial(queueing.left, self.world))

    def start(self) -> None:
        """Listens. For `starting_s` there is the web console only, and then the plugins."""
        self.world.ask_timeout_s, self.world.offer_delay_s = self.ask_timeout_s, self.offer_delay_s
        self.world.join_timeout_s = self.join_timeout_s
        with self.world.lock:
            # Once more: a request that was under way when it stopped may have logged somebody in since.
            if self.world.starts:
                self.world.forget()
        gone = self._doors.begin()
        self._is_up = up = threading.Event()
        self._doors.open("rest", self.rest_port)
        if self.starting_s:
            self._doors.run(self._come_up, gone, up)
        else:
            self._come_up(gone, up)

    def _come_up(self, gone: threading.Event, up: threading.Event) -> None:
        if not gone.wait(self.starting_s):
            self._doors.open("chat", self.chat_port)
            up.set()

    def stop(self) -> None:
        """Refuses at once; event streams end, sessions and queues are lost."""
        self._doors.end(self._forget, abruptly=False)

    def _forget(self) -> None:
        self.faults.release()
        with self.world.lock:
            self.world.forget()

    def restart(self, down_s: float = 0.0) -> None:
        """Stops and starts again."""
        self.stop()
        if down_s:
            threading.Event().wait(down_s)
        self.start()

    def _talk(self, line: socket.socket, port: str, gone: threading.Event) -> None:
        reader = Reader(line, port)
        line.settimeout(self.idle_s)
        while (asked := reader.next()) is not None and not gone.is_set():
            if not self._answered(line, asked, gone):
                return

    def _answered(self, line: socket.socket, asked: Asked, gone: threading.Event) -> bool:
        """Answers; whether the connection goes on."""
        self.asked.append(asked)
        fault = self.faults.of(asked.line)
        said = before(fault, gone)
        if said is None:
            said = self._said(asked, line)
            if said is None:
                return False
            after(fault, gone)
            said = Said(500, reason="Server Error") if is_kind(fault, Kind.BROKEN) else said
        if gone.is_set():
            return False
        line.sendall(said.bytes(is_chunked=asked.port == "chat"))
        return asked.headers.get("connection", "").lower() != "close"

    def _said(self, asked: Asked, line: socket.socket) -> Said | None:
        """The answer; None after an event stream, which was served here."""
        try:
            if asked.port == "rest":
                return self._rest(asked)
            if asked.path.startswith(SSE):
                return self._events(asked, line)
            return self._chat(asked)
        except Bare as bare:
            return self._marked(asked, bare.said) if asked.port == "rest" else bare.said

    def _rest(self, asked: Asked) -> Said:
        if asked.path == "/login.jsp":
            return Said(200, _PAGE, "text/html")
        if self.redirects or not self._is_up.is_set():
            return LOGIN_PAGE
        if not asked.path.startswith(f"{REST}/"):
            return Said(404, _PAGE, "text/html")
        if not self.is_enabled:
            return self._marked(asked, Said(403))
        path = asked.path.removeprefix(REST)
        return self._marked(asked, self._handled(asked, path, self.dialect, _REST_ROUTES))

    def _chat(self, asked: Asked) -> Said:
        if not asked.path.startswith(f"{CHAT}/"):
            return Said(404, _PAGE, "text/html")
        if not self.is_enabled:
            return Said(403)
        path = asked.path.removeprefix(CHAT)
        return self._handled(asked, path, "1.2", _CHAT_ROUTES)

    def _handled(self, asked: Asked, path: str, dialect: Dialect, every: tuple[Routes, ...]) -> Said:
        caller = self._caller(asked)
        found = None
        missing = Bare(404)
        for routes in every:
            try:
                found = routes.find(asked.method, path, dialect)
                break
            except Bare as bare:
                # A path that is there with other methods says more than one that is not.
                missing = bare if bare.said.status != 404 else missing
        if caller is None and not (found is not None and found[0].is_open):
            raise Bare(401)
        if found is None:
            raise missing
        route, segments = found
        call = Call(asked, self.world, dialect, caller or Caller(None, is_admin=False), segments)
        try:
            with self.world.lock:
                answer = route.handler(call)
        except Failed as failed:
            return error(dialect, failed)
        return answer if isinstance(answer, Said) else written(asked, dialect, answer)

    def _caller(self, asked: Asked) -> Caller | None:
        """Who asks; None for nobody who may."""
        if not self.is_allowed:
            return None
        given = asked.headers.get("authorization", "")
        if asked.port == "chat":
            is_for_admins = asked.path.startswith(f"{CHAT}/admin")
            return access.of_chat(self.world, given, self.chat_secret, is_for_admins=is_for_admins)
        return access.of_rest(self.world, given, self.rest_secret if self.auth == "secret" else None)

    def _marked(self, asked: Asked, said: Said) -> Said:
        """What the plugin adds to each answer: who may ask from a browser, and a cookie for a client without one."""
        headers = (*said.headers, ("Access-Control-Allow-Origin", "*"))
        if "JSESSIONID=" not in asked.headers.get("cookie", ""):
            self.http_sessions += 1
            headers = (*headers, ("Set-Cookie", f"JSESSIONID={secrets.token_hex(16)};Path=/plugins/restapi"))
        return attrs.evolve(said, headers=headers)

    def _events(self, asked: Asked, line: socket.socket) -> Said | None:
        # Also with the plugin switched off (measured).
        username = unquote(asked.path.removeprefix(SSE).strip("/"))
        caller = access.of_stream(self.world, asked.headers.get("authorization", "")) if self.is_allowed else None
        if caller is None:
            return Said(401, _PAGE, "text/html", headers=_REALM)
        with self.world.lock:
            if not self.world.is_served(username):
                return Said(404, _PAGE, "text/html")
            if asked.headers.get("accept") != "text/event-stream" or asked.method != "GET":
                return Said(405, _PAGE, "text/html")
            if caller.username != username:
                return Said(503, _PAGE, "text/html")
            line.settimeout(self.send_timeout_s)
            emitter = Emitter(username, line, self.heartbeat_s)
            emitter.begin()
            self.world.readers[username] = emitter
            self.world.open_readers.append(emitter)
        emitter.run()
        with self.world.lock:
            if self.world.readers.get(username) is emitter:
                del self.world.readers[username]
            if emitter in self.world.open_readers:
                self.world.open_readers.remove(emitter)
        return None
