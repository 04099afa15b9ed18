"""Logins of users, shared by several brokers over one Redis: how often the server is asked, and for what."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio

from restbroker.errors import StoreRefused
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Denied, Outcome, Rejected
from restbroker.servers.in_redis import LoginsInRedis
from restbroker.store import logins
from restbroker.store.client import StoreSettings, open_client
from restbroker.transport.message import MaybeSent, NotSent
from tests.servers.openfire_sides import Open, restart
from tests.servers.sides import Side
from tests.support.openfire_chat.server import Openfire
from tests.support.openfire_chat.state import Stream
from tests.support.receiver import Kind, Received
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

LEASE = "restbroker:lease:streams:localhost"
LONG_MS = 2 * 1000
PAUSE_MS = 5
"""Between two requests that have the lease."""


async def act(side: Side, user: str) -> Outcome:
    """A command that needs the user's stream."""
    return await side.call("set_presence", {"from": user})


def login_requests(chat: Openfire) -> list[Received]:
    """The logins that the server was asked for."""
    return [sent for sent in chat.requests if sent.path.endswith("/login")]


def in_file(place: Path, text: str) -> Mapping[str, Json]:
    """Options that name a file of passwords."""
    (place / "passwords").write_text(text)
    return {"PasswordsFile": "passwords"}


def end_lease(redis: RedisServer) -> int:
    """Ends the lease of the server, as time does. Return for how long it would have gone on, in milliseconds."""
    with closing(open_client(StoreSettings(redis.url))) as client:
        left_ms = client.command("PTTL", LEASE)
        client.command("DEL", LEASE)
    assert isinstance(left_ms, int)
    return left_ms


async def test_many_jobs_of_many_brokers_share_one_login(chat: Openfire, sides: Open) -> None:
    chat.state.login_s = 0.1
    async with sides(3) as brokers, trio.open_nursery() as nursery:
        for side, user in itertools.product(brokers, ("juliet", "Juliet", "juliet@example.org/balcony")):
            nursery.start_soon(side.done, "set_presence", {"from": user})
    assert chat.state.login_requests == ["juliet"]


async def test_administrator_logs_users_in_with_or_without_passwords(
    chat: Openfire, sides: Open, tmp_path: Path
) -> None:
    chat.state.register("juliet", password="r0meo:")
    async with sides(Options=in_file(tmp_path, "# private\n\nJuliet@example.org:r0meo:\n")) as (side,):
        for user in ("juliet", "jörg"):
            await side.done("set_presence", {"from": user})
        chat.state.register("juliet", password="other")
        await side.done("chat_login", {"from": "juliet", "password": "other"})
        chat.state.register("juliet", password="new")
        in_file(tmp_path, "juliet:new\n")
        await restart(chat, side)
        await side.done("set_presence", {"from": "juliet"})
    assert [request.body for request in login_requests(chat)] == [b"r0meo:", b"", b"other", b"new"]
    assert login_requests(chat)[1].path == "/rest/api/restapi/v1/chat/j%C3%B6rg/login"


async def test_shared_secret_goes_unchanged_and_users_need_passwords(
    chat: Openfire, sides: Open, tmp_path: Path
) -> None:
    options = {"Secret": chat.secret, **in_file(tmp_path, "juliet:secret\n")}
    async with sides(Auth=None, Options=options) as (side,):
        await side.done("set_presence", {"from": "juliet"})
        assert isinstance(await act(side, "romeo"), Rejected), "he would be logged in without a name"
    assert [request.headers["authorization"] for request in login_requests(chat)] == [chat.secret]


async def test_only_an_administrator_logs_users_in_without_password(
    chat: Openfire, sides: Open, tmp_path: Path
) -> None:
    auth = {"Basic": {"User": "nurse", "Pass": "secret"}}
    async with sides(Auth=auth, Options=in_file(tmp_path, "juliet:secret\n")) as (side,):
        await side.done("set_presence", {"from": "juliet"})
        await side.done("chat_login", {"from": "nurse", "password": "secret"})
        assert not [sent for sent in chat.requests if "/admin/" in sent.path], "they have passwords"
        for _ in range(2):
            refused = await act(side, "romeo")
            assert isinstance(refused, Denied)
            assert refused.reason.code == "NotAdministrator"
        assert len([sent for sent in chat.requests if "/admin/" in sent.path]) == len(login_requests(chat)) == 2


async def test_failed_login_lets_the_next_try_at_once(
    chat: Openfire, sides: Open, redis_server: RedisServer, tmp_path: Path
) -> None:
    async with sides(Options=in_file(tmp_path, "juliet:secret\n")) as (side,):
        refused = await side.call("chat_login", {"from": "juliet", "password": "wrong"})
        assert isinstance(refused, Rejected)
        assert end_lease(redis_server) <= PAUSE_MS
        chat.faults.add(Kind.DENIED, "*/login")
        assert isinstance(await act(side, "juliet"), Denied)
        assert end_lease(redis_server) <= PAUSE_MS
        (tmp_path / "passwords").unlink()
        with pytest.raises(NotSent, match="cannot be read"):
            await act(side, "juliet")
        assert end_lease(redis_server) <= PAUSE_MS


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_login_that_may_be_under_way_keeps_others_out(
    chat: Openfire, sides: Open, redis_server: RedisServer, *, is_cancelled: bool
) -> None:
    """Whether it was too slow, or this process stops: the plugin may be at it, and must not get a second login."""
    async with sides(2, RequestTimeout="1s") as (one, other):
        chat.faults.add(Kind.HANG, "*/juliet/login")
        if is_cancelled:
            with trio.move_on_after(0.2):
                await act(one, "juliet")
        else:
            with pytest.raises(NotSent):
                await act(one, "juliet")
        with trio.move_on_after(0.2) as waiting:
            await act(other, "romeo")
        assert waiting.cancelled_caught
        assert len(login_requests(chat)) == 1
        assert end_lease(redis_server) > LONG_MS, "the lease covers more than the login's own time-out"
        await other.done("set_presence", {"from": "romeo"})
        chat.faults.add(Kind.LOST, "*/nurse/login", times=2)
        with pytest.raises(NotSent):
            await act(one, "nurse")
        assert end_lease(redis_server) <= 1000, "what ended the connection does no more"


async def test_a_refusal_of_redis_hides_nothing_that_was_sent(
    chat: Openfire, sides: Open, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a question or a kick that may have been done would go out again, as one that was never sent."""
    call = LoginsInRedis.call

    @contextmanager
    def refusing(kind: Kind, pattern: str, function: Callable[..., object]) -> Iterator[None]:
        fault = chat.faults.add(kind, pattern, times=2)

        async def refuse(book: LoginsInRedis, do: Callable[..., object], *given: object, **named: object) -> object:
            if do is function and fault.reached.is_set():
                raise StoreRefused("NOPERM")
            return await call(book, do, *given, **named)

        with monkeypatch.context() as patched:
            patched.setattr(LoginsInRedis, "call", refuse)
            yield
        chat.faults.clear()

    async with sides() as (side,):
        with refusing(Kind.EMPTY, "*/login", logins.put):
            refused = await act(side, "juliet")
            assert isinstance(refused, Deferred)
            assert refused.reason.status == 500
        assert end_lease(redis_server) > LONG_MS, "it could not be given back"
        with refusing(Kind.LOST, "DELETE */sessions/*", logins.take), pytest.raises(MaybeSent):
            await side.call("kick_user_sessions", {"username": "romeo"})


async def test_cancelled_wait_leaves_nothing(chat: Openfire, sides: Open) -> None:
    chat.state.login_s = 0.3
    async with sides(2) as (one, other):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(act, one, "juliet")
            await until_async(lambda: chat.state.changing, "a login is under way")
            for user in ("romeo", "nurse", "juliet"):
                with trio.move_on_after(0.05):
                    await act(other, user)
        await other.done("set_presence", {"from": "paris"})
    assert chat.state.login_requests == ["juliet", "paris"]


async def test_logins_of_a_server_go_one_after_the_other(chat: Openfire, sides: Open) -> None:
    """This holds for all brokers; 5 ms lie in between."""
    began_ms: list[int] = []

    def clock_ms() -> int:
        began_ms.append(time.time_ns() // 1_000_000)
        return began_ms[-1]

    chat.state.login_s, chat.state.clock_ms = 0.02, clock_ms
    async with sides(3) as brokers, trio.open_nursery() as nursery:
        for number, side in enumerate(brokers):
            for user in ("juliet", "romeo", "nurse"):
                nursery.start_soon(act, side, f"{user}{number}")
    assert len(chat.state.streams) == 9
    assert not chat.state.is_jammed
    assert min(after - before for before, after in itertools.pairwise(began_ms)) >= 20 + 5 - 1


async def test_answer_without_stream_is_no_login(chat: Openfire, sides: Open) -> None:
    async with sides() as (side,):
        for body in ("", "<html>Login</html> you", "ofchat\n1", "x" * 300):
            chat.state.of_user["juliet"] = Stream(body, "juliet", "juliet@example.org/1")
            refused = await act(side, "juliet")
            assert isinstance(refused, Denied), body
            assert body == "" or body not in repr(refused)
