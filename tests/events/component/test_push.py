"""Notifications (XEP-0357) become jobs, and are answered when Redis has them: never so that a registration is lost."""

import re
from typing import Any, Final

import pytest

from restbroker.servers.component import reader
from tests.events.component.conftest import HOST, NAME, Listener, Read, message, wrapped
from tests.support.redis_server import RedisServer
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import until_async

PUSH: Final[dict[str, Any]] = {"takes": ("push",)}
_ANSWER: Final = re.compile(r"<iq type='(\w+)' [^>]*id=\"([^\"]*)\">(?:<error type='(\w+)'>)?")
_FORM: Final = "<x xmlns='jabber:x:data'><field var='last-message-body'><value>{}</value></field></x>"


def notification(number: str, sender: str = HOST, form: str | None = None) -> str:
    form = _FORM.format(number) if form is None else form
    item = f"<item><notification xmlns='urn:xmpp:push:0'>{form}</notification></item>"
    pubsub = f"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n1'>{item}</publish></pubsub>"
    return f"<iq type='set' from='{sender}' to='{NAME}' id='{number}'>{pubsub}</iq>"


def answers(listener: Listener) -> list[tuple[str, str]]:
    """The ids of what was answered, each with `result` or the type of the error."""
    return [(found[2], found[3] or found[1]) for found in _ANSWER.finditer(listener.said.decode())]


async def answered(listener: Listener, *expected: tuple[str, str]) -> None:
    await until_async(lambda: answers(listener) == list(expected), f"{expected} are answered", 60)


async def test_a_notification_becomes_one_job_and_gets_a_result(reading: Read, listener: Listener) -> None:
    async with reading(**PUSH) as found:
        await found.reads()
        await listener.send(notification("1"), notification("1"), notification("2"))
        await found.has("1", "2")
        await answered(listener, ("1", "result"), ("1", "result"), ("2", "result"))
        (job, _) = found.jobs()
        assert (job["type"], job["server"], job["id"], job["raw"]["node"]) == ("push", HOST, "1", "n1")
        assert not found.warnings()


@pytest.mark.promise
async def test_a_result_comes_only_after_redis_has_the_job(
    reading: Read, listener: Listener, redis_server: RedisServer
) -> None:
    with TcpProxy(redis_server.port) as way:
        async with reading(url=f"redis://127.0.0.1:{way.port}", **PUSH) as found:
            await found.reads()
            way.cut()
            await listener.send(notification("1"), notification("2"))
            await found.warning("EventsWait")
            await found.is_beating()
            assert answers(listener) == []
            way.mend()
            await answered(listener, ("1", "result"), ("2", "result"))
            assert found.texts() == ["1", "2"]


@pytest.mark.promise
async def test_beyond_max_unread_notifications_wait_and_are_counted(
    reading: Read, listener: Listener, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_BUFFER_BYTES", 10_000)
    with TcpProxy(redis_server.port) as way:
        async with reading(url=f"redis://127.0.0.1:{way.port}", max_unread_s=0.2, **PUSH) as found:
            await found.reads()
            way.cut()
            for number in range(20):
                await listener.send(notification(str(number)))
            await until_async(lambda: found.outcomes().count("lost") > 10, "some are lost", 60)
            waiting = {number for number, kind in answers(listener) if kind == "wait"}
            assert waiting
            way.mend()
            await until_async(lambda: len(answers(listener)) == 20, "all are answered", 60)
            kinds = dict(answers(listener))
            assert set(kinds.values()) == {"result", "wait"}
            await until_async(
                lambda: set(found.texts()) == {number for number, kind in kinds.items() if kind == "result"}, "jobs", 60
            )
            assert found.outcomes().count("lost") == list(kinds.values()).count("wait")


@pytest.mark.slow  # a stop waits for Redis
@pytest.mark.promise
async def test_at_a_stop_what_redis_does_not_take_waits(
    reading: Read, listener: Listener, redis_server: RedisServer
) -> None:
    with TcpProxy(redis_server.port) as way:
        async with reading(url=f"redis://127.0.0.1:{way.port}", **PUSH) as found:
            await found.reads()
            await listener.send(notification("1"))
            await answered(listener, ("1", "result"))
            way.cut()
            await listener.send(notification("2"))
            await found.warning("EventsWait")
            await listener.send(notification("3"))
            await found.is_beating()
    assert answers(listener) == [("1", "result"), ("2", "wait"), ("3", "wait")]
    assert listener.said.endswith(b"</stream:stream>")


@pytest.mark.promise
async def test_at_a_stop_what_was_read_is_finished(reading: Read, listener: Listener) -> None:
    async with reading(**PUSH) as found:
        await found.reads()
        await listener.send(*(notification(str(number)) for number in range(300)))
        await until_async(lambda: len(found.texts()) > 0, "some are jobs", 60)
    results = dict(answers(listener))
    assert set(results.values()) == {"result"}
    assert set(results) <= set(found.texts())
    assert len(found.texts()) == len(set(found.texts()))


@pytest.mark.promise
async def test_strangers_and_push_turned_off_get_wait(reading: Read, listener: Listener) -> None:
    async with reading() as found:
        await found.reads()
        strangers = ("ann@example.org/x", "example.net", "example.net", HOST, HOST)
        await listener.send(*(notification(str(number), sender) for number, sender in enumerate(strangers)))
        await answered(listener, *((str(number), "wait") for number in range(len(strangers))))
        await listener.send(wrapped(message("true", "t")))
        await found.has("true")
        (unknown,), (unwanted,) = found.warnings("ComponentHost"), found.warnings("ComponentPush")
        assert "example.net" in unknown.message
        assert "Take" in (unwanted.hint or "")


async def test_empty_ones_are_answered_and_dropped_if_not_wanted(reading: Read, listener: Listener) -> None:
    async with reading(push_empty=False, **PUSH) as found:
        await found.reads()
        await listener.send(notification("1", form=""), notification("2"))
        await answered(listener, ("1", "result"), ("2", "result"))
        assert found.texts() == ["2"]
