"""One connection to RabbitMQ: the only file that knows pika, which blocks, so that `Link.run` is for a thread.

Used by `reader` and `check`. Always holds: nothing is consumed before each exchange, the queue and the bindings are
there as configured; an exchange is never made otherwise; `acknowledge` and `stop` may be called by any thread, and a
connection that is gone ignores them, since RabbitMQ then gives what was not acknowledged to the next one.

Each wait is bounded, so that a thread which nobody waits for any more ends too: 3 s for the network, 5 s for the
handshake, some 30 s until a server that is silent counts as lost (measured; three times the heartbeat).
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import attrs
import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel

from restbroker.config.tls import context_of
from restbroker.config.urls import BadUrl
from restbroker.errors import ConfigError
from restbroker.events.amqp.address import Address, address
from restbroker.events.amqp.read import Message
from restbroker.events.amqp.settings import Exchange, Server, Settings
from restbroker.events.amqp.topology import (
    Login,
    Making,
    Queueing,
    Step,
    Trouble,
    arguments,
    away,
    ended,
    is_missing,
    missing,
    refused,
)

_HEARTBEAT_S: Final = 10
_CONNECT_S: Final = 3.0
_HANDSHAKE_S: Final = 5.0
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
        with connected(self.settings.server, self.name) as (connection, server):
            channel = self._ready(connection, server)
            self._connection, self._channel = connection, channel
            if self._stopping.is_set():
                return
            self.opened()
            with _told(Queueing(self.settings), server):
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

    def _ready(self, connection: pika.BlockingConnection, server: str) -> BlockingChannel:
        queue = self.settings.queue
        with _told(Queueing(self.settings), server):
            channel = connection.channel()
            channel.queue_declare(queue, durable=True, arguments=dict(arguments(self.settings)))
        for exchange in self.settings.exchanges:
            make(connection, exchange, server)
            # At once: what comes to an exchange without a queue is lost, and its publisher is not told.
            with _told(Queueing(self.settings), server):
                for key in exchange.keys:
                    channel.queue_bind(queue, exchange.name, key)
        with _told(Queueing(self.settings), server):
            channel.basic_qos(prefetch_count=self.settings.prefetch)
            channel.add_on_cancel_callback(self._on_cancel)
        return channel

    def _came(
        self,
        _channel: object,
        method: pika.spec.Basic.Deliver,
        _properties: object,
        body: bytes,
    ) -> None:
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


@contextmanager
def connected(server: Server, name: str) -> Iterator[tuple[pika.BlockingConnection, str]]:
    """A connection, closed at the end as far as RabbitMQ listens, and where it goes. Raises `Trouble`.

    `name`: how RabbitMQ shows it.
    """
    try:
        found = address(server.url.reveal())
        parameters = _parameters(found, server, name)
    except (ConfigError, BadUrl) as error:
        raise Trouble("RabbitMQDenied", f"The URL of RabbitMQ cannot be used: {error}", "Check URLFile.") from None
    except OSError as error:
        why = f"its TLS files cannot be read: {error.strerror or type(error).__name__}"
        raise Trouble("RabbitMQDenied", f"RabbitMQ at {found} cannot be read from: {why}.", "Check TLS.") from None
    where = str(found)
    with _told(Login(where, found.user, found.vhost), where):
        connection = pika.BlockingConnection(parameters)
    try:
        yield connection, where
    finally:
        with contextlib.suppress(exceptions.AMQPError, OSError):
            connection.close()


def make(connection: pika.BlockingConnection, exchange: Exchange, server: str, *, only_look: bool = False) -> None:
    """Has the exchange be there as configured, or raises `Trouble`. `only_look`: a missing one is trouble as well.

    One that is there is declared once more, since a passive look does not compare: RabbitMQ then changes nothing. It
    asks for the permission to make it all the same, so that this is left where it is not to be made.
    """
    with _told(Making(exchange), server):
        try:
            connection.channel().exchange_declare(exchange.name, passive=True)
        except exceptions.ChannelClosedByBroker as error:
            if not is_missing(error.reply_code):
                raise
            if only_look or not exchange.create:
                raise missing(exchange) from None
        if not exchange.create:
            return
        channel = connection.channel()
        channel.exchange_declare(exchange.name, exchange.type, durable=exchange.is_durable)
        channel.close()


@contextmanager
def _told(step: Step, server: str) -> Iterator[None]:
    """What pika raises, as `Trouble`."""
    try:
        yield
    except (exceptions.ChannelClosedByBroker, exceptions.ConnectionClosedByBroker) as error:
        raise refused(step, error.reply_code, error.reply_text) from None
    except exceptions.ProbableAuthenticationError:
        raise refused(step, 403, "ACCESS_REFUSED") from None
    except exceptions.ProbableAccessDeniedError:
        raise refused(step, 530, "NOT_ALLOWED") from None
    except (exceptions.AMQPError, OSError) as error:
        raise away(server, _why(error)) from None


def _why(error: BaseException) -> str:
    """Without a password, and short: pika's own texts repeat addresses and whole frames."""
    found = error
    while True:
        match found:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted ({found.verify_message})"
            case ssl.SSLError():
                return f"TLS fails there ({found.reason or 'no reason given'})"
            case socket.gaierror():
                return "its name is not known"
            case exceptions.AMQPHeartbeatTimeout():
                return "it is silent"
            case exceptions.IncompatibleProtocolError():
                return "what is there does not speak AMQP 0.9.1, or wants TLS"
            case _ if "Timeout" in type(found).__name__:
                return "it does not answer in time"
            case OSError(strerror=str(said)):
                return said.lower()
            case _:
                pass
        inner = next((one for one in _inner(found) if isinstance(one, BaseException)), None)
        if inner is None:
            return "the connection ended" if isinstance(error, exceptions.AMQPError) else type(error).__name__
        found = inner


def _inner(error: BaseException) -> list[object]:
    """Where pika keeps the cause."""
    return [getattr(error, "exception", None), error.__cause__, *error.args]


def _parameters(found: Address, server: Server, name: str) -> pika.ConnectionParameters:
    options = None
    if found.is_tls:
        options = pika.SSLOptions(context_of(server.tls), found.host)
    return pika.ConnectionParameters(
        found.host,
        found.port,
        found.vhost,
        pika.PlainCredentials(found.user, found.password, erase_on_connect=True),
        heartbeat=_HEARTBEAT_S,
        socket_timeout=_CONNECT_S,
        stack_timeout=_HANDSHAKE_S,
        connection_attempts=1,
        ssl_options=options,
        client_properties={"product": "restbroker", "connection_name": name},
    )
