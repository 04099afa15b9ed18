"""What MongooseIM publishes to a real RabbitMQ becomes a job, and is acknowledged only then."""

from pathlib import Path

import pika.exceptions
import pytest
import trio

from restbroker.config.events import Filter
from restbroker.config.secret import Secret
from restbroker.config.target import TlsFiles
from restbroker.events.amqp.options import RabbitExchange, RabbitServer
from restbroker.store.sources import read_states
from tests.events.amqp.conftest import CHAT, KEPT, PRESENCE, RABBIT_QUEUE, RECEIVED, ROOMS, Read, chat, is_read
from tests.events.conftest import QUEUE
from tests.support.process import Stopwatch
from tests.support.rabbitmq import PASSWORD, USER, RabbitMQ
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async
from tests.transport.authority import Authority


async def test_names_with_dots_come_and_what_is_not_bound_does_not(reading: Read, rabbit: RabbitMQ) -> None:
    async with reading(CHAT) as found:
        rabbit.publish("chat_msg", "first.last@xmpp.example.org.chat_msg_recv", chat("dots"))
        rabbit.publish("chat_msg", "alice@localhost.chat_msg_sent", chat("sent"))
        rabbit.publish("chat_msg", RECEIVED, chat("last"))
        await found.has(2)
        assert found.texts() == ["dots", "last"]


async def test_presences_and_rooms_come_from_their_exchanges(reading: Read, rabbit: RabbitMQ) -> None:
    async with reading(CHAT, PRESENCE, ROOMS) as found:
        rabbit.publish("presence", "bob@localhost", {"user_id": "bob@localhost/PC", "present": True})
        rabbit.publish("groupchat_msg", "al@localhost.groupchat_msg_sent", chat("x", "al@localhost/P", "room@muc.l"))
        await found.has(2)
        events = [job["args"][0] for job in found.jobs()]
    assert sorted((event["type"], event["from"], str(event["room"])) for event in events) == [
        ("groupchat", "al@localhost/P", "room@muc.l"),
        ("presence", "bob@localhost/PC", "None"),
    ]


async def test_event_excluded_by_only_is_acknowledged_and_no_job(reading: Read, rabbit: RabbitMQ) -> None:
    async with reading(CHAT, source={"only": Filter(receiver=("bot-*",))}) as found:
        rabbit.publish("chat_msg", RECEIVED, chat("for a person"))
        rabbit.publish("chat_msg", "bot-1@localhost.chat_msg_recv", chat("for a bot", receiver="bot-1@localhost"))
        await found.has(1)
        assert found.texts() == ["for a bot"]
        await until_async(lambda: found.outcomes() == ["ignored", "accepted"], "both are decided")
    # Nothing was given back when it ended.
    await until_async(lambda: rabbit.depth(RABBIT_QUEUE) == 0, "the queue is empty")


async def test_exchanges_that_are_missing_are_made_as_configured(reading: Read, rabbit: RabbitMQ) -> None:
    lasting = RabbitExchange("presence", "presence", ("#",), is_durable=True)
    async with reading(CHAT, lasting):
        # Declared once more with the same type and durability: RabbitMQ refuses all others.
        rabbit.declare("chat_msg", kind="topic", durable=False)
        rabbit.declare("presence", kind="topic", durable=True)
        with rabbit.channel() as channel:
            channel.queue_declare(RABBIT_QUEUE, durable=True, arguments=KEPT)
            # It gives again as often as needed.
            with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="x-delivery-limit"):
                channel.queue_declare(RABBIT_QUEUE, durable=True, arguments={**KEPT, "x-delivery-limit": 20})


async def test_differing_exchange_is_reported_and_left_alone(reading: Read, rabbit: RabbitMQ) -> None:
    rabbit.declare("chat_msg", kind="topic", durable=True)
    async with reading(CHAT, ready=False) as found:
        warning = await found.warning("RabbitMQDiffers")
        assert "406 PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'chat_msg'" in warning.message
        assert warning.hint is not None
        assert "Type and Durable" in warning.hint
    rabbit.declare("chat_msg", kind="topic", durable=True)


async def test_an_exchange_that_is_not_to_be_made_is_waited_for(reading: Read, rabbit: RabbitMQ) -> None:
    async with reading(RabbitExchange("chat_msg", "chat", ("#",), create=False), ready=False) as found:
        await found.warning("RabbitMQDiffers")
        assert not rabbit.exists("chat_msg")
        rabbit.declare("chat_msg")
        await is_read(rabbit)
        rabbit.publish("chat_msg", RECEIVED, chat("hello"))
        await found.has(1)
        assert [warning.code for warning in found.warnings()] == ["RabbitMQDiffers", "RabbitMQBack"]


async def test_a_queue_that_is_deleted_is_made_again(reading: Read, rabbit: RabbitMQ) -> None:
    async with reading(CHAT) as found:
        with rabbit.channel() as channel:
            channel.queue_delete(RABBIT_QUEUE)
        await found.warning("RabbitMQDiffers")
        await is_read(rabbit)
        rabbit.publish("chat_msg", RECEIVED, chat("hello"))
        await found.has(1)


async def test_wrong_password_is_reported_once_until_mended(reading: Read, rabbit: RabbitMQ, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(rabbit.url(password="wrong-password"))
    denied = rabbit.log().count("invalid credentials")
    async with reading(CHAT, server=RabbitServer(Secret(path=file)), ready=False) as found:
        await until_async(lambda: rabbit.log().count("invalid credentials") >= denied + 3, "three tries are made", 60)
        (warning,) = found.warnings()
        assert warning.code == "RabbitMQDenied"
        assert "Check the user and the password in URL or URLFile" in str(warning.hint)
        assert "wrong-password" not in f"{warning.message} {warning.hint}"
        await until_async(lambda: [kept.code for kept in read_states(found.store)] == ["RabbitMQDenied"], "it is kept")
        file.write_text(rabbit.url())
        await is_read(rabbit)
        await found.warning("RabbitMQBack")
        await until_async(
            lambda: [kept.code for kept in read_states(found.store)] == [""], "it is kept that it is read"
        )


async def test_over_tls_only_the_configured_authority_counts(reading: Read, rabbit: RabbitMQ, ours: Authority) -> None:
    url = Secret(f"amqps://{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{rabbit.tls_port}")
    async with reading(CHAT, server=RabbitServer(url), ready=False) as found:
        assert "its certificate is not trusted" in (await found.warning("RabbitMQAway")).message
    async with reading(CHAT, server=RabbitServer(url, TlsFiles(ours.ca))) as found:
        rabbit.publish("chat_msg", RECEIVED, chat("hello"))
        await found.has(1)


async def test_two_that_share_a_queue_get_each_event_once(reading: Read, rabbit: RabbitMQ) -> None:
    # The second is not waited for alone: its wait is for exactly one reader, and both may be there by then.
    async with reading(CHAT, prefetch=10) as one, reading(CHAT, prefetch=10, ready=False) as other:
        await is_read(rabbit, by=2)
        rabbit.fill("chat_msg", ((RECEIVED, chat(str(number))) for number in range(500)), confirm=False)
        await one.has(500)
        await until_async(lambda: len(one.outcomes()) + len(other.outcomes()) == 500, "all are decided")
        assert len(one.outcomes()) > 0
        assert len(other.outcomes()) > 0
        assert sorted(map(int, one.texts())) == list(range(500))


async def test_event_refused_by_a_queue_waits_until_it_is_mended(reading: Read, rabbit: RabbitMQ) -> None:
    async with reading(CHAT) as found:
        found.store.command("SET", f"queue:{QUEUE}", "no list")
        rabbit.publish("chat_msg", RECEIVED, chat("hello"))
        warning = await found.warning("EventsWait")
        assert f"Redis does not accept jobs for the queue {QUEUE}" in warning.message
        found.store.command("DEL", f"queue:{QUEUE}")
        await found.has(1)
        assert found.texts() == ["hello"]


async def test_end_is_soon_and_rabbitmq_is_informed(reading: Read, rabbit: RabbitMQ) -> None:
    async with reading(CHAT) as found:
        watch = Stopwatch.start()
        found.stop()
    assert watch.took_s() < 2
    # What was not confirmed is given to others at once.
    await is_read(rabbit, by=0)


async def test_an_end_is_soon_while_rabbitmq_is_frozen(reading: Read, rabbit: RabbitMQ) -> None:
    try:
        async with reading(CHAT) as found:
            rabbit.freeze()
            watch = Stopwatch.start()
            found.stop()
        assert watch.took_s() < 3
    finally:
        rabbit.thaw()


async def test_an_end_is_soon_while_redis_is_silent(reading: Read, rabbit: RabbitMQ, redis_server: RedisServer) -> None:
    async with reading(CHAT, timeout_s=1.0) as found:
        redis_server.suspend()
        try:
            rabbit.fill("chat_msg", ((RECEIVED, chat(str(number))) for number in range(10)))
            await found.warning("EventsWait")
            began_s = trio.current_time()
            found.stop()
            await until_async(lambda: trio.current_time() - began_s > 3, "its time is over")
            await is_read(rabbit, by=0)
        finally:
            redis_server.resume()
    async with reading(CHAT) as found:
        # What was on its way to Redis may have arrived there.
        await until_async(lambda: len(found.outcomes()) == 10, "all are decided", 60)
        assert set(found.texts()) == {str(number) for number in range(10)}
        assert set(found.outcomes()) == {"redelivered"}
