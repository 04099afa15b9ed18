"""Logins of users, shared by several processes over one Redis: how often the server is asked, and for what."""

import base64
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import attrs
import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, Url
from restbroker.errors import StoreRefused
from restbroker.job.outcome import Denied, Rejected
from restbroker.servers.contract import Ports
from restbroker.servers.in_redis import LoginsInRedis
from restbroker.servers.openfire.chat.logins import SharedLogins, shared_logins
from restbroker.servers.openfire.chat.options import Options
from restbroker.servers.openfire.chat.sessions import NoLogin
from restbroker.store import logins
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.logins import UserBase
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response, Sender
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

ADMIN = Basic("admin", Secret("s3cret"))
TARGET = Target(
    "chat", "openfire-chat", Url("http", "127.0.0.1", 7070, "/rest/api"), ("chat",), ADMIN, options=Options()
)


@attrs.define(eq=False)
class Openfire:
    """Logs in as the Chat API does: the same stream for the same user, until it is restarted. `asked`: of logins."""

    streams: dict[str, str] = attrs.field(factory=dict)
    asked: list[Request] = attrs.field(factory=list)
    number: int = 100
    status: int = 200
    admin_status: int = 404
    asked_of_admin: int = 0
    fault: Exception | None = None
    takes_s: float = 0.0
    at_once: int = 0
    most_at_once: int = 0
    began_s: list[float] = attrs.field(factory=list)

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        assert sender is None, "a login is no single job's"
        if request.path == "/rest/api/restapi/v1/admin/restbroker":
            self.asked_of_admin += 1
            return Response(self.admin_status, {}, b"", 0.0)
        if request.path == "/rest/api/restapi/v1/system/statistics/sessions":
            return Response(200, {}, b"{}", 0.0)
        self.asked.append(request)
        self.began_s.append(trio.current_time())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.sleep(self.takes_s)
        finally:
            self.at_once -= 1
        if self.fault is not None:
            raise self.fault
        if self.status != 200:
            return Response(self.status, {}, b"", 0.0)
        user = request.path.removeprefix("/rest/api/restapi/v1/chat/").removesuffix("/login")
        if user not in self.streams:
            self.number += 1
            self.streams[user] = f"ofchat-{self.number}"
        return Response(200, {"content-type": "text/plain"}, self.streams[user].encode(), 0.0)

    def restart(self) -> None:
        self.streams.clear()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    async def keep_none(self) -> None:
        """Keeps none."""

    async def aclose(self) -> None:
        """Has nothing open."""


Open = Callable[..., SharedLogins]
LEASE = "restbroker:lease:streams:localhost"
LONG_MS = 2 * 10_000


def end_lease(redis: RedisServer) -> int:
    """Ends the lease of the server, as time does. Return for how long it would have gone on, in milliseconds."""
    with closing(open_client(StoreSettings(redis.url))) as client:
        left_ms = client.command("PTTL", LEASE)
        client.command("DEL", LEASE)
    assert isinstance(left_ms, int)
    return left_ms


@asynccontextmanager
async def processes(redis: RedisServer, server: Openfire) -> AsyncIterator[Open]:
    """Each is another process, with its own connection and memory."""
    opened: list[SharedLogins] = []
    settings = StoreSettings(f"redis://127.0.0.1:{redis.port}")

    def open_one(target: Target = TARGET) -> SharedLogins:
        book = LoginsInRedis(UserBase(target.name, "localhost"), Connection(open_client(settings)))
        opened.append(shared_logins(target, Ports(lambda _: None, lambda: 0.0, server, services={LoginsInRedis: book})))
        return opened[-1]

    with trio.fail_after(20):
        yield open_one
        for one in opened:
            await one.aclose()


async def test_many_jobs_of_many_processes_share_one_login(redis_server: RedisServer) -> None:
    server = Openfire(takes_s=0.1)
    async with processes(redis_server, server) as open_one, trio.open_nursery() as nursery:
        found: list[str] = []

        async def ask(logins: SharedLogins, user: str) -> None:
            found.append(await logins.stream(user))

        for logins in (open_one(), open_one(), open_one()):
            for user in ("juliet", "Juliet", "juliet@example.org/balcony"):
                nursery.start_soon(ask, logins, user)
    assert found == ["ofchat-101"] * 9
    assert len(server.asked) == 1


async def test_an_administrator_logs_users_in_with_nothing_or_with_their_own_passwords(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    server, file = Openfire(), tmp_path / "passwords"
    file.write_text("# private\n\nJuliet@example.org:r0meo:\n")
    target = attrs.evolve(TARGET, options=Options(passwords=Secret(path=file)))
    async with processes(redis_server, server) as open_one:
        logins = open_one(target)
        for user in ("juliet", "bob smith"):
            await logins.stream(user)
        await logins.login("juliet", "other")
        file.write_text("juliet:new\n")
        await logins.renew("juliet", await logins.stream("juliet"))
    assert [request.body for request in server.asked] == [b"r0meo:", b"", b"other", b"new"]
    assert server.asked[1].path == "/rest/api/restapi/v1/chat/bob%20smith/login"
    basic = base64.b64encode(b"admin:s3cret").decode()
    assert all(("Authorization", f"Basic {basic}") in request.headers for request in server.asked)


async def test_the_shared_secret_goes_as_it_is_and_users_need_their_passwords(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    server = Openfire()
    file = tmp_path / "passwords"
    file.write_text("juliet:r0meo\n")
    target = attrs.evolve(TARGET, credentials=None, options=Options(Secret("sh4red"), Secret(path=file)))
    async with processes(redis_server, server) as open_one:
        await open_one(target).stream("juliet")
        with pytest.raises(NoLogin) as refused:
            await open_one(target).stream("romeo")
    assert isinstance(refused.value.outcome, Rejected), "he would be logged in without a name"
    (asked,) = server.asked
    assert ("Authorization", "sh4red") in asked.headers


async def test_nobody_is_logged_in_without_a_password_by_who_is_no_administrator(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    server, file = Openfire(admin_status=401), tmp_path / "passwords"
    file.write_text("juliet:r0meo\n")
    async with processes(redis_server, server) as open_one:
        logins = open_one(attrs.evolve(TARGET, options=Options(passwords=Secret(path=file))))
        await logins.stream("juliet")
        await logins.login("nurse", "her own")
        assert server.asked_of_admin == 0, "they have passwords"
        for _ in range(2):
            with pytest.raises(NoLogin) as refused:
                await logins.stream("romeo")
            assert isinstance(refused.value.outcome, Denied)
            assert refused.value.outcome.reason.code == "NotAdministrator"
        assert len(server.asked) == 2
        server.admin_status = 404
        await logins.stream("romeo")


async def test_who_cannot_log_a_user_in_lets_the_next_try_at_once(redis_server: RedisServer, tmp_path: Path) -> None:
    server = Openfire(status=400)
    gone = attrs.evolve(TARGET, options=Options(passwords=Secret(path=tmp_path / "none")))
    async with processes(redis_server, server) as open_one:
        with pytest.raises(NoLogin) as refused:
            await open_one().stream("juliet")
        assert isinstance(refused.value.outcome, Rejected)
        server.status = 401
        with pytest.raises(NoLogin) as refused:
            await open_one().stream("juliet")
        assert isinstance(refused.value.outcome, Denied)
        server.status = 200
        server.fault = NotSent("refused")
        with pytest.raises(NotSent):
            await open_one().stream("juliet")
        server.fault = None
        with pytest.raises(NotSent, match="cannot be read"):
            await open_one(gone).stream("juliet")
        assert await open_one().stream("juliet") == "ofchat-101"


async def test_a_login_that_may_be_under_way_keeps_others_out(redis_server: RedisServer) -> None:
    """Whether it was too slow, or this process stops: the plugin may be at it, and must not get a second login."""
    async with processes(redis_server, server := Openfire(takes_s=60)) as open_one:
        for fault in (None, MaybeSent("slow", timed_out=True)):
            server.fault = fault
            with trio.move_on_after(0.2), contextlib.suppress(MaybeSent):
                await open_one().stream("juliet")
            server.fault, server.takes_s = None, 0
            with trio.move_on_after(0.2) as waiting:
                await open_one().stream("romeo")
            assert waiting.cancelled_caught
            assert len(server.asked) == 1
            assert end_lease(redis_server) > LONG_MS, "the lease covers more than the login's own time-out"
            assert await open_one().stream("romeo") == "ofchat-101"
            server.asked.clear()
            server.restart()
            server.number = 100
            redis_server.flush()
        server.fault = MaybeSent("ended")
        with pytest.raises(MaybeSent):
            await open_one().stream("juliet")
        assert end_lease(redis_server) <= 1000, "what ended the connection does no more"


async def test_a_refusal_of_redis_hides_nothing_that_was_sent(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a question or a kick that may have been done would go out again, as one that was never sent."""

    def refusing(function: object) -> Callable[..., Awaitable[object]]:
        call: Callable[..., Awaitable[object]] = LoginsInRedis.call

        async def refuse(book: LoginsInRedis, do: object, *given: object, **named: object) -> object:
            if do is function:
                raise StoreRefused("NOPERM")
            return await call(book, do, *given, **named)

        return refuse

    async def ended() -> Response:
        monkeypatch.setattr(LoginsInRedis, "call", refusing(logins.take))
        raise MaybeSent("ended")

    async with processes(redis_server, Openfire(status=500)) as open_one:
        with monkeypatch.context() as patched:
            patched.setattr(LoginsInRedis, "call", refusing(logins.put))
            with pytest.raises(NoLogin):
                await open_one().stream("juliet")
        redis_server.flush()
        with pytest.raises(MaybeSent):
            await open_one().send_alone(ended)


async def test_who_is_cancelled_while_waiting_leaves_nothing(redis_server: RedisServer) -> None:
    async with processes(redis_server, server := Openfire(takes_s=0.3)) as open_one:
        one, other = open_one(), open_one()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.stream, "juliet")
            await until_async(lambda: server.asked, "a login is under way")
            for user in ("romeo", "nurse", "juliet"):
                with trio.move_on_after(0.05):
                    await other.stream(user)
        assert await other.stream("paris") == "ofchat-102", "at once"
        assert len(server.asked) == 2


async def test_logins_of_a_server_go_one_after_the_other(redis_server: RedisServer) -> None:
    """Of all processes and targets, with 5 ms in between, also where some are asked and some are logged off."""
    server = Openfire(takes_s=0.02)
    async with processes(redis_server, server) as open_one, trio.open_nursery() as nursery:
        for number, target in enumerate((TARGET, attrs.evolve(TARGET, name="other"), TARGET)):
            logins = open_one(target)
            for user in ("juliet", "romeo", "nurse"):
                nursery.start_soon(logins.stream, f"{user}{number}")
    assert len(server.asked) == 9
    assert server.most_at_once == 1
    assert min(after - before for before, after in itertools.pairwise(server.began_s)) >= 0.02 + 0.005 - 0.001


async def test_what_is_no_stream_is_no_login(redis_server: RedisServer) -> None:
    for body in ("", "<html>Login</html> you", "ofchat\n1", "x" * 300):
        server = Openfire({"juliet": body})
        async with processes(redis_server, server) as open_one:
            with pytest.raises(NoLogin) as refused:
                await open_one().stream("juliet")
        assert isinstance(refused.value.outcome, Denied)
        assert body == "" or body not in repr(refused.value.outcome)


async def test_a_login_asked_for_is_done_and_takes_the_place_of_what_was_known(redis_server: RedisServer) -> None:
    server = Openfire()
    async with processes(redis_server, server) as open_one:
        one, other = open_one(), open_one()
        await one.stream("juliet")
        server.restart()
        assert await other.login("juliet") == "ofchat-102"
        assert await one.renew("juliet", "ofchat-101") == "ofchat-102"
        assert len(server.asked) == 2
        await one.present("juliet")
    assert server.asked[-1].path == "/rest/api/restapi/v1/chat/ofchat-102/presence"
