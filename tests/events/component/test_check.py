"""`check` of a component's source: beside a process that reads it connects nothing, and else it loses nothing."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from restbroker.config.load import load
from restbroker.events import registry as kinds
from restbroker.operate.check.reading import check_readers
from restbroker.servers import registry
from restbroker.servers.findings import Finding
from restbroker.store.client import Client
from restbroker.store.sources import read_states
from tests.events.component.conftest import HOST, NAME, PASSWORD, Listener, Read, message, wrapped
from tests.events.conftest import QUEUE, events_in, written
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.receiver import Answer, Receiver
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async


def configure(place: Path, redis_url: str, listener: Listener, options: Mapping[str, Any], **more: Any) -> None:
    given = {"Address": f"127.0.0.1:{listener.port}", "Name": NAME, "Hosts": [HOST], "Pass": PASSWORD, **options}
    source = {"Kind": "ejabberd-component", "Queue": QUEUE, "Class": "XmppEvent", "Options": given}
    written(place, redis_url, {"Sources": {"ejabberd": source}}, **more)


async def checked(place: Path, redis_url: str, listener: Listener, **options: Any) -> Sequence[Finding]:
    """In a thread, as `check` runs a loop of its own."""
    configure(place, redis_url, listener, options)
    config = load(place / "env.json", {}, {}, kinds=registry.kinds(), sources=kinds.kinds()).config
    found = await trio.to_thread.run_sync(lambda: list(check_readers(config)))
    assert PASSWORD not in str(found)
    return found


def said(found: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(one.level, one.code) for one in found]


@pytest.mark.promise("Events", "a check takes no event of ejabberd away from the process that reads")
async def test_beside_a_process_that_reads_nothing_is_connected(
    reading: Read, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    async with reading() as source:
        await source.reads()
        await until_async(lambda: read_states(store), "its state is known", 60)
        found = await checked(tmp_path, redis_server.url, source.listener)
        assert source.listener.accepted == len(source.listener.lines) == 1
    assert said(found) == [("ok", "Component"), ("warning", "EventNotSent")]
    assert f"reads as {NAME}, a subdomain of {HOST}; no event came yet; its last heartbeat" in found[0].message


@pytest.mark.promise("Events", "what a check reads from ejabberd becomes jobs")
async def test_what_comes_while_the_check_reads_becomes_jobs(
    redis_server: RedisServer, store: Client, listener: Listener, tmp_path: Path
) -> None:
    redis_server.flush()
    texts = [str(number) for number in range(500)]
    listener.greeting = "".join(wrapped(message(text, text)) for text in texts)
    found = await checked(tmp_path, redis_server.url, listener)
    assert said(found) == [("ok", "Component"), ("warning", "EventNotSent")]
    assert "This check reads" in found[0].message
    assert [one["body"] for one in events_in(store)] == texts
    assert read_states(store) == []
    assert not store.command("EXISTS", store.keys.progress("ejabberd"))


async def test_ctrl_c_loses_nothing_of_what_was_read(
    redis_server: RedisServer, store: Client, listener: Listener, tmp_path: Path
) -> None:
    redis_server.flush()
    texts = [str(number) for number in range(500)]
    listener.greeting = "".join(wrapped(message(text, text)) for text in texts)
    with Receiver(lambda _: Answer(body=b"0")) as api:
        configure(tmp_path, redis_server.url, listener, {}, RestURL=f"{api.url}/api")
        with started(["check"], directory=tmp_path) as running:
            await until_async(lambda: events_in(store), "the check reads", 60)
            running.process.send_signal(signal.SIGINT)
            assert await trio.to_thread.run_sync(running.process.wait) == 130
    assert [one["body"] for one in events_in(store)] == texts


async def test_each_fault_of_the_handshake_has_words_of_its_own(
    redis_server: RedisServer, listener: Listener, tmp_path: Path
) -> None:
    redis_server.flush()
    (denied,) = await checked(tmp_path, redis_server.url, listener, Pass="wrong")
    assert (denied.code, denied.cause) == ("ComponentDenied", "refused")
    (away,) = await checked(tmp_path, redis_server.url, listener, Address=f"127.0.0.1:{free_port()}")
    assert (away.code, away.cause) == ("ComponentAway", "target")
    (other,) = await checked(tmp_path, redis_server.url, listener, Address=redis_server.url.split("/")[2])
    assert "It is no listener for components" in other.message


async def test_a_listener_without_names_lets_in_anyone(
    redis_server: RedisServer, listener: Listener, tmp_path: Path
) -> None:
    redis_server.flush()
    listener.names = ()
    found = await checked(tmp_path, redis_server.url, listener)
    assert said(found)[0] == ("warning", "AnyName")
    assert listener.accepted == 2, "first another name, then the own"


async def test_without_redis_nothing_is_connected(listener: Listener, tmp_path: Path) -> None:
    found = await checked(tmp_path, f"redis://127.0.0.1:{free_port()}/0", listener)
    assert said(found) == [("note", "NotLookedAt")]
    assert listener.accepted == 0


async def test_a_foreign_name_is_a_warning_even_if_it_was_wanted(
    redis_server: RedisServer, listener: Listener, tmp_path: Path
) -> None:
    redis_server.flush()
    listener.names = ("events.example.net",)
    found = await checked(tmp_path, redis_server.url, listener, Name="events.example.net", ForeignName=True)
    assert said(found)[:2] == [("warning", "ForeignName"), ("ok", "Component")]
