"""One connection that consumes: `Link.run` is for a thread of its own, since pika blocks.

Used by `reader`. Always holds: nothing is consumed before the queue, each exchange and the bindings are there as
configured; an exchange that others deleted and made again is bound again within seconds, and one that is gone is
reported and not made while this connection lasts; a queue without messages is checked from time to time for whether it
still delivers; `acknowledge` and `stop` may be called by any thread, and do nothing on a connection that is gone, since
RabbitMQ then delivers unacknowledged messages to the next one.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs
import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel

from restbroker.events.amqp.blocking_connection import AmqpConnection, open_amqp, translate_errors
from restbroker.events.amqp.options import Options
from restbroker.events.amqp.read import Message
from restbroker.events.amqp.topology import DeclareQueue, Problem, StartConsumer, deleted_queue, lost_exchange

_LOOK_S: Final = 1.0
"""Seconds that the thread waits for RabbitMQ at a time; a call of `stop` or `acknowledge` wakes it."""
_LOOK_AGAIN_S: Final = 10.0
"""Seconds between two checks of the exchanges, and of a queue that brought nothing meanwhile.

An exchange that is made again has no binding, and RabbitMQ reports that to none of its clients.
"""


@attrs.define(eq=False)
class Link:
    """One connection that consumes. It calls all its callbacks in its own thread.

    `on_message` gets each message. `on_request` is called when the queue is asked to deliver. `on_open` is called with
    the server's address when the queue has confirmed that, before its first message, and when a missing exchange is
    back. `on_problem` gets a `Problem` for an exchange that is gone.
    """

    settings: Options
    name: str
    on_message: Callable[[Message], None]
    on_request: Callable[[], None]
    on_open: Callable[[str], None]
    on_problem: Callable[[Problem], None]
    _connection: pika.BlockingConnection | None = None
    _channel: BlockingChannel | None = None
    _stopping: threading.Event = attrs.field(factory=threading.Event)
    _ended: threading.Event = attrs.field(factory=threading.Event)
    _gone: frozenset[str] = frozenset()
    _last: int = 0
    _seen: int = 0
    _acknowledged: int = 0

    def run(self) -> None:
        """Consume until `stop` is called; raise `Problem`, and nothing else that is not a bug."""
        with open_amqp(self.settings.server, self.name) as open_one:
            channel = self._prepare(open_one)
            connection = open_one.connection
            self._connection, self._channel = connection, channel
            if self._stopping.is_set():
                return
            self.on_request()
            with translate_errors(StartConsumer(self.settings), open_one.where):
                # Returns when the queue has confirmed it; what it delivers is called back for below.
                channel.basic_consume(self.settings.queue, self._receive)
            self.on_open(open_one.where)
            with translate_errors(DeclareQueue(self.settings), open_one.where):
                look_at_s = time.monotonic() + _LOOK_AGAIN_S
                while not self._stopping.is_set():
                    connection.process_data_events(time_limit=_LOOK_S)
                    if self._ended.is_set():
                        raise deleted_queue(self.settings)
                    if time.monotonic() > look_at_s:
                        self._check_exchanges(open_one)
                        self._check_queue(open_one)
                        look_at_s = time.monotonic() + _LOOK_AGAIN_S
                # What was acknowledged just now is still to be sent.
                connection.process_data_events(time_limit=0)

    def acknowledge(self, tag: int) -> None:
        """Acknowledge all messages up to the one with this tag: Redis has their jobs, or they are dropped."""
        self._wake(partial(self._acknowledge, tag))

    def stop(self) -> None:
        """Have `run` end once it has sent the acknowledgements that are due."""
        self._stopping.set()
        self._wake(lambda: None)

    def _prepare(self, open_one: AmqpConnection) -> BlockingChannel:
        channel = open_one.queue(self.settings)
        for exchange in self.settings.exchanges:
            open_one.make(exchange)
            # At once: what comes to an exchange without a queue is lost, and its publisher is not told.
            open_one.bind(exchange, self.settings)
        with translate_errors(DeclareQueue(self.settings), open_one.where):
            channel.basic_qos(prefetch_count=self.settings.prefetch)
            channel.add_on_cancel_callback(self._on_cancel)
        return channel

    def _check_queue(self, open_one: AmqpConnection) -> None:
        """Check that the queue would still deliver, if it brought nothing since the last check; else raise `Problem`.

        Nothing is checked while events are in progress, or an exchange is missing.
        """
        seen, self._seen = self._seen, self._last
        # With events in progress the prefetch may be used up, and asking would get more. A missing exchange is told.
        if self._last == seen == self._acknowledged and not self._gone:
            self.on_request()
            if open_one.count_consumers(self.settings) == 0:
                raise deleted_queue(self.settings)
            self.on_open(open_one.where)

    def _check_exchanges(self, open_one: AmqpConnection) -> None:
        """Bind the exchanges that are there, and report those that are gone; raise `Problem` if one differs now."""
        gone = [one for one in self.settings.exchanges if not open_one.check_exchange(one)]
        names = frozenset(one.name for one in gone)
        for exchange in self.settings.exchanges:
            if exchange.name not in names:
                open_one.bind(exchange, self.settings)
        for exchange in gone:
            if exchange.name not in self._gone:
                # Not made: anyone who deleted it may want MongooseIM to make another one.
                self.on_problem(lost_exchange(exchange))
        if self._gone and not names:
            self.on_open(open_one.where)
        self._gone = names

    def _receive(self, _channel: object, method: pika.spec.Basic.Deliver, _properties: object, body: bytes) -> None:
        exchange, key = _text(method.exchange), _text(method.routing_key)
        self._last = method.delivery_tag
        self.on_message(Message(method.delivery_tag, exchange, key, body=body, redelivered=method.redelivered))

    def _on_cancel(self, _frame: object) -> None:
        self._ended.set()

    def _acknowledge(self, tag: int) -> None:
        if self._channel is not None and self._channel.is_open:
            self._channel.basic_ack(tag, multiple=True)
            self._acknowledged = tag

    def _wake(self, act: Callable[[], None]) -> None:
        if self._connection is not None:
            with contextlib.suppress(exceptions.ConnectionWrongStateError):
                self._connection.add_callback_threadsafe(act)


def _text(name: object) -> str:
    """Return the name as text: pika gives bytes for what is not UTF-8, with which any client may publish."""
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
