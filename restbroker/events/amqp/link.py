"""One connection that consumes: `Link.run` is for a thread of its own, since pika blocks.

Used by `reader`. Always holds: nothing is consumed before the queue, each exchange and the bindings are there as
configured; `acknowledge` and `stop` may be called by any thread, and a connection that is gone ignores them, since
RabbitMQ then gives what was not acknowledged to the next one.
"""

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs
import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel

from restbroker.events.amqp.connected import Connected, connected, told
from restbroker.events.amqp.read import Message
from restbroker.events.amqp.settings import Settings
from restbroker.events.amqp.topology import Queueing, ended

_LOOK_S: Final = 1.0
"""How long the thread waits for RabbitMQ at once; who calls `stop` or `acknowledge` wakes it."""


@attrs.define(eq=False)
class Link:
    """One connection. `put` gets what comes, and `opened` is called before the first of it, both in the thread."""

    settings: Settings
    name: str
    put: Callable[[Message], None]
    opened: Callable[[], None]
    _connection: pika.BlockingConnection | None = None
    _channel: BlockingChannel | None = None
    _stopping: threading.Event = attrs.field(factory=threading.Event)
    _ended: threading.Event = attrs.field(factory=threading.Event)

    def run(self) -> None:
        """Consumes until `stop`. Raises `Trouble`, and nothing else that is not a bug."""
        with connected(self.settings.server, self.name) as open_one:
            channel = self._ready(open_one)
            connection = open_one.connection
            self._connection, self._channel = connection, channel
            if self._stopping.is_set():
                return
            self.opened()
            with told(Queueing(self.settings), open_one.where):
                channel.basic_consume(self.settings.queue, self._came)
                while not self._stopping.is_set():
                    connection.process_data_events(time_limit=_LOOK_S)
                    if self._ended.is_set():
                        raise ended(self.settings)
                # What was acknowledged just now is still to be sent.
                connection.process_data_events(time_limit=0)

    def acknowledge(self, tag: int) -> None:
        """All up to this one are in good hands."""
        self._wake(partial(self._acknowledge, tag))

    def stop(self) -> None:
        """Lets `run` end when it has sent what is to be acknowledged."""
        self._stopping.set()
        self._wake(lambda: None)

    def _ready(self, open_one: Connected) -> BlockingChannel:
        step = Queueing(self.settings)
        channel = open_one.queue(self.settings)
        for exchange in self.settings.exchanges:
            open_one.make(exchange)
            # At once: what comes to an exchange without a queue is lost, and its publisher is not told.
            with told(step, open_one.where):
                for key in exchange.keys:
                    channel.queue_bind(self.settings.queue, exchange.name, key)
        with told(step, open_one.where):
            channel.basic_qos(prefetch_count=self.settings.prefetch)
            channel.add_on_cancel_callback(self._on_cancel)
        return channel

    def _came(self, _channel: object, method: pika.spec.Basic.Deliver, _properties: object, body: bytes) -> None:
        self.put(Message(method.delivery_tag, method.exchange, method.routing_key, body, method.redelivered))

    def _on_cancel(self, _frame: object) -> None:
        self._ended.set()

    def _acknowledge(self, tag: int) -> None:
        if self._channel is not None and self._channel.is_open:
            self._channel.basic_ack(tag, multiple=True)

    def _wake(self, act: Callable[[], None]) -> None:
        if self._connection is not None:
            with contextlib.suppress(exceptions.ConnectionWrongStateError):
                self._connection.add_callback_threadsafe(act)
