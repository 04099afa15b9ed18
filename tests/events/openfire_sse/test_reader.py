"""Streams of Openfire become jobs: each user's once, whatever the server, Redis or a process does meanwhile."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import trio

from restbroker.servers import in_redis
from restbroker.servers.findings import Problem
from restbroker.servers.in_redis import StreamInfo
from restbroker.servers.openfire.stream.open_stream import TEXTS, no_answer
from restbroker.servers.reading import SourceReports
from restbroker.store import logins, sources
from restbroker.store.logins import LoggedIn, UserBase
from restbroker.store.sources import SourceState
from restbroker.telemetry.events import OperatorWarning, SourceOpened
from tests.events.openfire_sse.conftest import Read, say
from tests.support.openfire_chat import emitter
from tests.support.openfire_chat.server import Openfire
from tests.support.receiver import Kind
from tests.support.wait import until_async

BASE = UserBase("chat", "localhost")


async def test_events_of_a_user_become_jobs_in_order(reading: Read, openfire: Openfire) -> None:
    async with reading("ann", "bob") as reader:
        for text in ("one", 'he said "two"', "three\nlines"):
            say(openfire, "ann", "bob", text)
        say(openfire, "bob", "ann", "back")
        await until_async(lambda: len(reader.texts()) == 4, "all are jobs", 60)
        messages = [job for job in reader.jobs() if job["type"] == "message"]
        to_bob = [job for job in messages if job["to"] == "bob@example.org"]
        assert [job["body"] for job in to_bob] == ["one", 'he said "two"', "three\nlines"]
        assert {job["from"].partition("/")[0] for job in to_bob} == {"ann@example.org"}
        assert to_bob[0]["raw"]["event"] == "chatapi.xmpp"
        # It says so once Redis has answered, which is after the jobs can be seen.
        await until_async(lambda: set(reader.outcomes()) == {"accepted"}, "it is reported")
    opened = [event for event in reader.events if isinstance(event, SourceOpened)]
    assert opened == [SourceOpened("openfire", f"http://127.0.0.1:{openfire.port}/sse")]
    assert sorted(openfire.state.logins) == ["ann", "bob"]
    assert not reader.warnings()
    await until_async(lambda: not openfire.state.open_readers, "nobody reads any more", 60)


async def test_read_user_is_announced_unless_unwanted(reading: Read, openfire: Openfire) -> None:
    """The login makes him available anyhow."""

    def is_announced() -> bool:
        return any(sent.line.startswith("POST") and sent.path.endswith("/presence") for sent in list(openfire.requests))

    async with reading("bob", announces=False) as reader:
        say(openfire, "ann", "bob", "hi")
        await reader.has("hi")
        assert openfire.state.of_user["bob"].show == "available"
        assert not is_announced()
    async with reading("ann"):
        await until_async(is_announced, "ann is announced", 60)


async def test_each_user_is_logged_in_once_after_a_server_restart(reading: Read, openfire: Openfire) -> None:
    async with reading("ann", "bob", "eve") as reader:
        await reader.receives("ann", "bob", "eve")
        await trio.to_thread.run_sync(openfire.restart, 0.5)
        await reader.reads("ann", "bob", "eve")
        await reader.warning("OpenfireBack")
        # Before the streams are open there are no events, and what was kept is lost at the login.
        say(openfire, "eve", "bob", "after")
        await reader.has("after")
        await until_async(lambda: len(reader.gaps()) == 3, "a gap of each is reported", 60)
    assert sorted(openfire.state.logins) == ["ann", "ann", "bob", "bob", "eve", "eve"]
    # However many users it has, a server that is away is reported once.
    others = [warning.code for warning in reader.warnings() if warning.code != "OpenfireGap"]
    assert others == ["OpenfireAway", "OpenfireBack"]
    assert sorted(user for user, _, _ in reader.gaps()) == ["ann", "bob", "eve"]


async def test_an_asker_is_not_logged_in_and_is_read_while_he_asks(reading: Read, openfire: Openfire) -> None:
    async with reading(askers=("eve",), ready=False) as reader:
        await until_async(lambda: any(sent.path == "/sse/eve" for sent in openfire.requests), "it was looked", 60)
        with openfire.state.lock:
            openfire.state.connected("eve")
        await reader.reads("eve")
        openfire.state.emit("eve", "chatapi.ask", '{"type":"update-queue", "to":"eve@example.org", "position":1}')
        await until_async(lambda: [job["type"] for job in reader.jobs()] == ["queue"], "it is a job", 60)
    assert not openfire.state.logins
    assert not reader.warnings()


async def test_silence_reopens_the_stream(reading: Read, openfire: Openfire) -> None:
    openfire.heartbeat_s = 600.0
    async with reading("ann", silence_s=0.3) as reader:
        warning = await reader.warning("OpenfireAway")
        assert "not even a heartbeat" in warning.message
        await until_async(
            lambda: [sent.path for sent in openfire.requests].count("/sse/ann") > 1, "it is opened again", 60
        )


async def test_oversized_event_is_reported_and_later_ones_come(reading: Read, openfire: Openfire) -> None:
    async with reading("ann", limit_bytes=200_000) as reader:
        first = openfire.state.readers["ann"]
        await trio.to_thread.run_sync(openfire.state.emit, "ann", "chatapi.chat", "x" * 3_000_000)
        await reader.warning("OpenfireLarge")
        await until_async(lambda: openfire.state.readers.get("ann") not in (None, first), "it is opened again", 60)
        say(openfire, "bob", "ann", "small")
        await reader.has("small")


async def test_wrong_password_and_foreign_stream_are_reported_once(reading: Read, openfire: Openfire) -> None:
    openfire.state.register("ann", password="another")
    async with reading("ann", "bob", ready=False) as reader:
        await reader.reads("bob")
        warning = await reader.warning("OpenfireDenied")
        assert "does not let ann read their events (401)" in warning.message
        before = [sent.path for sent in openfire.requests].count("/sse/ann")
        await until_async(lambda: [sent.path for sent in openfire.requests].count("/sse/ann") > before + 2, "again", 60)
        assert len(reader.warnings("OpenfireDenied")) == 1
        openfire.state.register("ann")
        await reader.reads("ann")
        await reader.warning("OpenfireBack")
    assert _secret_free(reader.warnings())


async def test_non_ascii_users_are_read_and_impossible_ones_reported(
    reading: Read, openfire: Openfire, passwords: Path
) -> None:
    openfire.state.register("jürgen", password="Müßiggang")
    openfire.state.register("жанна")
    await trio.Path(passwords).write_text("jürgen:Müßiggang\nжанна:secret\n", encoding="utf-8")
    async with reading("jürgen", "жанна", ready=False) as reader:
        await reader.reads("jürgen")
        sender = openfire.state.login("bob").jid
        given = {"to": "jürgen@example.org", "from": sender, "id": "1", "body": "grüß Gott"}
        with openfire.state.lock:
            openfire.state.replay("jürgen", "message", **given)
        await reader.has("grüß Gott")
        warning = await reader.warning("OpenfireDenied")
        assert "the name жанна" in warning.message
        assert {sent.path for sent in openfire.requests if sent.path.startswith("/sse/")} == {"/sse/j%C3%BCrgen"}
        assert _secret_free(reader.warnings())
    assert len(reader.warnings("OpenfireDenied")) == 1


async def test_state_of_a_stream_has_its_login_and_time_of_last_event(
    reading: Read, openfire: Openfire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_redis, "REFRESH_S", 0.05)
    monkeypatch.setattr(in_redis, "_LEAST_S", 0.05)
    async with reading("ann", announces=False) as reader:

        def kept() -> SourceState:
            found = sources.read_states(reader.store)
            return found[0] if found else SourceState("", "", "")

        await until_async(lambda: kept().opened_s > 0, "its state is kept")
        opened = kept()
        known = logins.read_states(reader.store, BASE, ["ann"])[0]
        assert isinstance(known, LoggedIn)
        assert opened.login == f"…{known.stream[-3:]}"
        assert opened.event_s == 0
        say(openfire, "bob", "ann", "hi")
        await until_async(lambda: kept().event_s >= opened.opened_s, "an event came")
        await until_async(lambda: kept().heartbeat_s >= opened.opened_s, "a heartbeat came")
        held = reader.store.command("HGETALL", reader.store.keys.sources)
        assert isinstance(held, list)
        assert not any(known.stream.encode() in member for member in held if isinstance(member, bytes))


async def test_user_left_to_another_process_is_read_by_it_alone() -> None:
    kept: dict[str, str] = {}

    class Kept:
        def put(self, problem: Problem | None, user: str = "") -> None:
            kept[user] = "" if problem is None else problem.code

        def watch(self, user: str, facts: Callable[[], StreamInfo]) -> None:
            pass

        def end(self, user: str) -> None:
            kept.pop(user, None)

    kept_in = cast("in_redis.StatesOfSource", Kept())
    teller = SourceReports("openfire", lambda _: None, TEXTS, "OpenfireBack", kept_in)
    teller.add_user("ann", StreamInfo)
    teller.fail(no_answer("It is away."), "ann")
    assert kept == {"ann": "OpenfireAway"}
    teller.warn("OpenfireLarge", user="ann", limit=1)
    assert kept == {"ann": "OpenfireAway"}
    teller.remove_user("ann")
    teller.fail(no_answer("It ended."), "ann")
    assert kept == {}
    teller.add_user("ann", StreamInfo)
    teller.report_open("http://h/sse", "ann")
    assert kept == {"ann": ""}


async def test_answers_of_a_server_that_starts_are_waited_out(reading: Read, openfire: Openfire) -> None:
    openfire.faults.add(Kind.REDIRECT, "GET */sse/ann", times=2)
    openfire.faults.add(Kind.UNAVAILABLE, "POST */chat/ann/login", times=1)
    async with reading("ann") as reader:
        say(openfire, "bob", "ann", "hi")
        await reader.has("hi")
    assert _secret_free(reader.warnings())


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (b"text/event-stream", "ends each stream of ann at once"),
        pytest.param(b"text/html", "something other than a stream", marks=pytest.mark.nightly),
    ],
)
@pytest.mark.slow  # pauses that grow, by the clock
async def test_server_that_ends_each_stream_at_once_is_asked_less(
    reading: Read, openfire: Openfire, monkeypatch: pytest.MonkeyPatch, kind: bytes, says: str
) -> None:
    runs: list[float] = []
    monkeypatch.setattr(emitter, "HEAD", b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nConnection: close\r\n\r\n" % kind)
    monkeypatch.setattr(emitter.Emitter, "run", lambda _: runs.append(time.monotonic()))
    async with reading("ann", ready=False) as reader:
        assert says in (await reader.warning("OpenfireAway")).message
        await until_async(lambda: len(runs) >= 6, "it is tried again", 60)
        assert [warning.code for warning in reader.warnings()] == ["OpenfireAway"]
    assert runs[5] - runs[4] > 1.5


@pytest.mark.slow  # a silence of seconds
async def test_stolen_stream_is_noticed_after_long_silence(reading: Read, openfire: Openfire) -> None:
    async with reading("ann") as reader:
        openfire.state.readers["ann"].is_mute = True
        # As when a process that had lost the lease opened it late, and says so.
        reader.store.command("HSET", reader.store.keys.sse("openfire"), "ann", _late(reader, b"ann"))
        await until_async(lambda: not openfire.state.readers["ann"].is_mute, "it was opened again", 60)
        say(openfire, "bob", "ann", "hi")
        await reader.has("hi")
        await reader.reads("ann")
        gap = await reader.warning("OpenfireGap")
        assert "events of ann between" in gap.message
        assert "another process had opened a stream of theirs" in gap.message


async def test_events_received_before_a_stop_become_jobs(reading: Read, openfire: Openfire) -> None:
    async with reading("ann") as reader:
        for number in range(50):
            say(openfire, "bob", "ann", str(number))
        await until_async(lambda: bool(reader.texts()), "the first is a job", 60)
        reader.stop()
        await until_async(lambda: not openfire.state.open_readers, "nobody reads any more", 60)
        found = len(reader.texts())
        assert reader.texts() == [str(number) for number in range(found)]
        lost = [name for name, _ in openfire.state.lost]
        assert not reader.warnings("EventsLost")
        assert found + len(lost) >= 50 or found == 50


def _late(reader: object, user: bytes) -> bytes:
    store = reader.store  # type: ignore[attr-defined]
    until, late, holder = store.command("HGET", store.keys.sse("openfire"), user).split(b" ", 2)
    return b"%b %d %b" % (until, int(late) + 1, holder)


def _secret_free(warnings: list[OperatorWarning]) -> bool:
    return not any(word in str(warning) for warning in warnings for word in ("secret", "ofchat-", "another"))
