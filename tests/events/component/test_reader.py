"""What ejabberd sends a component becomes jobs, once, whatever ejabberd, Redis or a process does meanwhile."""

import re
import time
from typing import Final

import pytest
import trio

from restbroker.job.event import ServerEvent
from restbroker.servers.component import connection, reader
from restbroker.servers.component.options import ROOM_LIFE
from restbroker.servers.reading import EventBuffer
from restbroker.store import sources
from restbroker.telemetry.events import SourceOpened
from tests.events.component.conftest import HOST, NAME, Listener, Read, Reading, epoch_s, message, wrapped
from tests.support.redis_server import RedisServer
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import until_async

IQ: Final = (
    "<iq to='example.org' from='ann@example.org/phone' type='set' id='1' xmlns='jabber:client'>"
    "<query xmlns='jabber:iq:register'><password>hidden</password></query></iq>"
)


def gaps(found: Reading) -> list[tuple[float, float]]:
    """The beginning and the end of each time of which it is said that something may be missing."""
    texts = [warning.message for warning in found.warnings("ComponentGap")]
    both = [re.search(r"between (\S+) and (\S+) may be missing", text) for text in texts]
    return [(epoch_s(match[1]), epoch_s(match[2])) for match in both if match]


async def test_copies_become_one_job_each_in_their_order(reading: Read, listener: Listener) -> None:
    async with reading() as found:
        await found.reads()
        one, two, three = (wrapped(message(text, text)) for text in ("one", "two", "three"))
        await listener.send(one, two, one, IQ and wrapped(IQ), three, two, three)
        await found.has("one", "two", "three")
        await found.counts("duplicate", 3)
        (job, *_) = found.jobs()
        assert (job["type"], job["from"], job["to"]) == ("message", "ann@example.org/phone", "bob@example.org")
        assert (job["server"], job["source"], job["id"]) == (HOST, "ejabberd", "one")
        assert job["raw"] == {"kind": "message", "type": "chat", "xml": message("one", "one")}
    assert [event for event in found.events if isinstance(event, SourceOpened)] == [
        SourceOpened("ejabberd", f"ejabberd at 127.0.0.1:{listener.port}")
    ]
    assert not found.warnings()
    assert listener.said.endswith(b"</stream:stream>")


@pytest.mark.promise
async def test_equal_stanzas_without_an_id_are_one_for_two_seconds(
    reading: Read, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restbroker.servers.component.derive._UNNAMED_S", 0.2)
    async with reading() as found:
        await found.reads()
        await listener.send(wrapped(message("yes")), wrapped(message("yes")))
        await found.counts("duplicate")
        await found.is_beating()
        await listener.send(wrapped(message("yes")))
        await found.has("yes", "yes")


@pytest.mark.promise
async def test_stanzas_without_an_id_that_waited_are_one_event(
    reading: Read, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a heartbeat that came back in between, the second copy may have waited as long in the connection."""
    monkeypatch.setattr("restbroker.servers.component.derive._UNNAMED_S", 0.0)
    listener.returns = False
    async with reading() as found:
        await found.reads()
        await listener.send(wrapped(message("yes")))
        await found.has("yes")
        await until_async(lambda: listener.heartbeats, "time passes", 60)
        await listener.send(wrapped(message("yes")), wrapped(message("end", "e")))
        await found.has("yes", "end")


@pytest.mark.promise
async def test_stanza_to_the_component_itself_is_only_counted(reading: Read, listener: Listener) -> None:
    forged = wrapped("{}", "ann@example.org/x")
    async with reading() as found:
        await found.reads()
        await listener.send(
            forged.format(message("forged", "f")),
            f"<message to='x@{NAME}' from='ann@example.org/x'><body>hi</body></message>",
            f"<presence to='x@{NAME}' from='ann@example.org/x'/>",
            f"<iq to='{NAME}' from='ann@example.org/x' type='result' id='1'/>",
            f"<iq to='{NAME}' from='ann@example.org/x' type='error' id='2'/>",
            f"<message to='{NAME}' from='ann@example.org/x' type='error'/>",
            wrapped(message("true", "t")),
        )
        await found.has("true")
        await found.counts("direct", 6)
        await found.is_beating()
        assert listener.said == b""


async def test_copies_of_a_host_that_is_not_named_are_warned_of_once(reading: Read, listener: Listener) -> None:
    async with reading() as found:
        await found.reads()
        await listener.send(*[wrapped(message("x", "x"), "example.net")] * 3, wrapped(message("true", "t")))
        await found.has("true")
        (warning,) = found.warnings("ComponentHost")
        assert "come from example.net" in warning.message


@pytest.mark.promise
async def test_overlong_stanza_hides_no_others(reading: Read, listener: Listener) -> None:
    async with reading(limit_bytes=65_536) as found:
        await found.reads()
        await listener.send(
            wrapped(message("one", "1")), wrapped(message("x" * 500_000, "2")), wrapped(message("two", "3"))
        )
        await found.has("one", "two")
        assert len(found.warnings("EventTooLarge")) == 1
        assert listener.accepted == 1


@pytest.mark.promise
async def test_an_entity_ends_the_stream_and_the_next_is_read(reading: Read, listener: Listener) -> None:
    async with reading() as found:
        await found.reads()
        await listener.send(wrapped(message("one", "1")), "<message>&lol;</message>", wrapped(message("lost", "2")))
        await found.reads(2)
        await listener.send(wrapped(message("two", "3")))
        await found.has("one", "two")
        assert "its XML cannot be read" in found.warnings("ComponentAway")[0].message
        assert len(gaps(found)) == 1


@pytest.mark.promise
async def test_a_lost_connection_names_the_gap_from_the_last_heartbeat(reading: Read, listener: Listener) -> None:
    async with reading() as found:
        await found.reads()
        await found.is_beating()
        broke_s = trio.current_time()
        await listener.stop()
        await found.warning("ComponentAway")
        await trio.sleep(0.5)
        await listener.start()
        await found.reads(2)
        await found.warning("ComponentBack")
        await until_async(lambda: gaps(found), "the gap is reported", 60)
        took_s = trio.current_time() - broke_s
    ((since_s, until_s),) = gaps(found)
    assert 0.5 <= until_s - since_s <= took_s + 4.0


async def test_wrong_password_is_reported_once_and_not_shown(reading: Read, listener: Listener) -> None:
    listener.password = "another"
    async with reading() as found:
        warning = await found.warning("ComponentDenied")
        assert f"refuses the password for {NAME}" in warning.message
        states = sources.read_states(found.store)
        await until_async(
            lambda: [kept.code for kept in sources.read_states(found.store)] == ["ComponentDenied"], "kept"
        )
        listener.password = "component secret"
        await found.warning("ComponentBack")
    assert len(found.warnings("ComponentDenied")) == 1
    assert "component secret" not in repr(found.events) + repr(states)


async def test_a_silent_server_is_left(reading: Read, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_SILENCE_S", 1.5)
    listener.returns = False
    async with reading() as found:
        assert "sends nothing" in (await found.warning("ComponentAway")).message
        await found.reads(2)


async def test_state_is_kept_for_readers(reading: Read) -> None:
    async with reading() as found:
        await found.reads()

        def beats() -> bool:
            return any(not state.code and state.heartbeat_s > 0 for state in sources.read_states(found.store))

        await until_async(beats, "a heartbeat is there", 60)


@pytest.mark.promise
async def test_while_redis_is_away_nothing_is_lost(
    reading: Read, listener: Listener, redis_server: RedisServer
) -> None:
    with TcpProxy(redis_server.port) as way:
        async with reading(url=f"redis://127.0.0.1:{way.port}") as found:
            await found.reads()
            way.cut()
            texts = [str(number) for number in range(300)]
            for text in texts:
                await listener.send(wrapped(message(text, text)))
            await found.warning("EventsWait")
            way.mend()
            await found.has(*texts)
    assert not found.warnings("EventsLost")


@pytest.mark.promise
async def test_beyond_max_unread_events_are_lost_and_counted(
    reading: Read, listener: Listener, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_BUFFER_BYTES", 10_000)
    with TcpProxy(redis_server.port) as way:
        async with reading(url=f"redis://127.0.0.1:{way.port}", max_unread_s=0.2) as found:
            await found.reads()
            listener.returns = False
            way.cut()
            sent_s = time.time()
            for number in range(50):
                await listener.send(wrapped(message(str(number), str(number))))
            await until_async(lambda: found.outcomes().count("lost") > 10, "some are lost", 60)
            await found.warning("EventsHeld")
            way.mend()
            warning = await found.warning("EventsLost")
            await listener.send(wrapped(message("after", "after")))
            await until_async(lambda: found.texts()[-1:] == ["after"], "it goes on", 60)
            lost = int(re.findall(r": (\d+) events", warning.message)[0])
            # The first of them came when it was sent, and waited for room before it was lost.
            assert epoch_s(re.findall(r"between (\S+) and", warning.message)[0]) <= sent_s
            assert lost == found.outcomes().count("lost")
            assert len(found.texts()) == 51 - lost


@pytest.mark.slow  # a process counts as dead after seconds
@pytest.mark.promise
async def test_another_process_says_what_a_dead_one_lost(
    reading: Read, listener: Listener, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restbroker.servers.in_redis._ENDED_S", 2.0)
    with TcpProxy(redis_server.port) as way:
        async with reading(url=f"redis://127.0.0.1:{way.port}") as dead:
            await dead.reads()
            await until_async(lambda: redis_server_progress(dead), "its progress is there", 60)
            way.cut()
            async with reading(goes_on=True) as found:
                await found.reads(2)
                await until_async(lambda: len(gaps(found)) == 1, "what the dead one lost is reported", 60)
                await found.is_beating()
                assert len(gaps(found)) == 1
            way.mend()


def redis_server_progress(found: Reading) -> object:
    return found.store.command("HGETALL", found.store.keys.progress("ejabberd"))


@pytest.mark.promise
async def test_after_a_stop_the_next_start_names_the_gap(reading: Read, listener: Listener) -> None:
    async with reading() as found:
        await found.reads()
        await found.is_beating()
    await trio.sleep(0.3)
    async with reading(goes_on=True) as later:
        await until_async(lambda: len(gaps(later)) == 1, "the gap is reported", 60)
        ((since_s, until_s),) = gaps(later)
        assert until_s - since_s > 0.3


@pytest.mark.slow  # a process counts as dead after seconds
async def test_a_stop_beside_another_process_is_no_gap(reading: Read) -> None:
    async with reading() as found:
        await found.reads()
        await found.is_beating()
        async with reading(goes_on=True) as other:
            await found.reads(2)
            await other.is_beating()
        await found.is_beating()
        await found.is_beating()
    assert not gaps(found)


def in_room(sender: str, receiver: str, content: str, word: str = "") -> str:
    """A presence to a room, or of one, as a copy has it."""
    kind = f" type='{word}'" if word else ""
    return wrapped(f"<presence{kind} to='{receiver}' from='{sender}' xmlns='jabber:client'>{content}</presence>")


@pytest.mark.promise
async def test_a_stop_amid_what_a_room_tells_loses_none_of_it(
    reading: Read, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stanza may be several events, of which some are in the buffer, and is not to be read again."""
    put, held = EventBuffer.put, trio.Event()

    async def hold(buffer: EventBuffer, event: ServerEvent, size_bytes: int) -> None:
        if event.type == "left" and not held.is_set():
            held.set()
            await trio.sleep_forever()
        await put(buffer, event, size_bytes)

    monkeypatch.setattr(EventBuffer, "put", hold)
    ann, tea = "ann@example.org/phone", "tea@conference.example.org"
    own = "<x xmlns='http://jabber.org/protocol/muc#user'><item role='none'/>{}</x>"
    async with reading(takes=ROOM_LIFE) as found:
        await found.reads()
        await listener.send(in_room(ann, f"{tea}/Ann", ""), in_room(tea, ann, ""))
        await listener.send(in_room(f"{tea}/Ann", ann, own.format("<status code='201'/><status code='110'/>")))
        await listener.send(in_room(f"{tea}/Ann", ann, own.format("<destroy/>"), "unavailable"))
        await held.wait()
        found.stop()
        told = ["created", "joined", "destroyed", "left"]
        await until_async(lambda: [event["type"] for event in found.jobs()] == told, "all is told", 10)
    assert not found.warnings("EventsLost")


@pytest.mark.promise
async def test_with_a_lease_one_process_reads(reading: Read, listener: Listener) -> None:
    async with reading(lease_s=1.0) as first:
        await first.reads()
        async with reading(goes_on=True, lease_s=1.0) as second:
            await trio.sleep(1.5)
            assert listener.accepted == len(listener.lines) == 1
            await listener.send(wrapped(message("one", "1")))
            await first.has("one")
            first.stop()
            await second.reads(2)
            await listener.send(wrapped(message("two", "2")))
            await second.has("one", "two")
