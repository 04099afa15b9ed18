"""What reads from a real RabbitMQ, inside the test: the way into a real Redis, with a server of the run's own."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final

import attrs
import pika.exceptions
import pytest

from restbroker.config.events import Events, EventSource
from restbroker.config.secret import Secret
from restbroker.events.amqp.options import Options, RabbitExchange, RabbitServer
from tests.events.conftest import QUEUE, Taking, taking
from tests.support.rabbitmq import Certificate, RabbitMQ
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async
from tests.transport.authority import Authority

RABBIT_QUEUE: Final = "restbroker.rabbit"
CHAT: Final = RabbitExchange("chat_msg", "chat", ("#.chat_msg_recv",))
PRESENCE: Final = RabbitExchange("presence", "presence", ("#",))
ROOMS: Final = RabbitExchange("groupchat_msg", "groupchat", ("#.groupchat_msg_sent",))
KEPT: Final[dict[str, Any]] = {"x-queue-type": "quorum", "x-delivery-limit": 2**31 - 1}
"""How the queue is made."""
RECEIVED: Final = "bob@localhost.chat_msg_recv"


def chat(message: str, sender: str = "alice@localhost", receiver: str = "bob@localhost") -> dict[str, str]:
    """The JSON of a message, as MongooseIM publishes it."""
    return {"to_user_id": receiver, "from_user_id": sender, "message": message}


@pytest.fixture(scope="session")
def shared_rabbit(tmp_path_factory: pytest.TempPathFactory, ours: Authority) -> Iterator[RabbitMQ]:
    certificate, key = ours.pair("server")
    server = RabbitMQ(tmp_path_factory.mktemp("rabbit"), Certificate(ours.ca, certificate, key)).start()
    yield server
    server.kill()


@pytest.fixture
def rabbit(shared_rabbit: RabbitMQ) -> RabbitMQ:
    """The run's RabbitMQ, without exchanges and queues of tests."""
    with suppress(pika.exceptions.AMQPError), shared_rabbit.channel() as channel:
        channel.queue_delete(RABBIT_QUEUE)
        for exchange in (CHAT, PRESENCE, ROOMS):
            channel.exchange_delete(exchange.name)
    return shared_rabbit


@attrs.define(eq=False)
class Reading(Taking):
    """A source that is read."""

    async def has(self, count: int) -> None:
        await until_async(lambda: len(self.jobs()) >= count, f"{count} jobs are there", 60)


Read = Callable[..., AbstractAsyncContextManager[Reading]]


@pytest.fixture
def reading(redis_server: RedisServer, rabbit: RabbitMQ) -> Read:
    """Reads from the run's RabbitMQ with these settings into the run's Redis; `ready`: returns when it is open."""

    @asynccontextmanager
    async def opened(
        *exchanges: RabbitExchange,
        ready: bool = True,
        source: dict[str, Any] | None = None,
        timeout_s: float = 10.0,
        server: RabbitServer | None = None,
        **more: Any,
    ) -> AsyncIterator[Reading]:
        where = server or RabbitServer(Secret(rabbit.url()))
        settings = Options(where, exchanges or (CHAT,), RABBIT_QUEUE, **more)
        fixed: dict[str, Any] = {"options": settings, "has_ids": False}
        made = EventSource("rabbit", "mongooseim-amqp", None, QUEUE, "XmppEvent", **fixed, **(source or {}))

        async with taking(Events(("127.0.0.1", 0), (made,)), redis_server.url, timeout_s) as it:
            if ready:
                await is_read(rabbit)
            yield Reading(it.receiver, it.store, it.events, it.stop)

    return opened


def consumers(rabbit: RabbitMQ) -> int:
    with rabbit.channel() as channel:
        try:
            return int(channel.queue_declare(RABBIT_QUEUE, passive=True).method.consumer_count)
        except pika.exceptions.ChannelClosedByBroker:
            return 0


async def is_read(rabbit: RabbitMQ, by: int = 1) -> None:
    await until_async(lambda: consumers(rabbit) == by, f"{by} read from the queue", 60)
