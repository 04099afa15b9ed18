"""A connection to RabbitMQ, which makes missing exchanges, queue and bindings, and consumes. pika blocks: use a thread.

Used by `reader` and `check`. Always holds: an exchange is made only with exactly the type and durability that are
configured; nothing is consumed before the queue, each exchange and the bindings are there as configured; each error of
pika leaves here as `Problem`, in RabbitMQ's own words and without a password.

Each wait is bounded, so that a thread that is abandoned ends too: 3 s for the network, 5 s for the handshake, some 30 s
until a server that is silent counts as lost (measured; three times the heartbeat), a minute until RabbitMQ closes the
connection with 541 since a queue does not answer.
"""

import contextlib
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final, Self

import pika
from pika import exceptions, spec
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException, AMQPConnectorPhaseErrorBase

from restbroker.config.target import TlsFiles
from restbroker.config.tls import context_of
from restbroker.config.urls import BadUrl
from restbroker.errors import ConfigError
from restbroker.events.amqp.options import Options, RabbitAddress, RabbitExchange, RabbitServer, address
from restbroker.light import define, field, frozen, frozen_plain
from restbroker.servers.findings import Problem, Texts

_HEARTBEAT_S: Final = 10
_CONNECT_S: Final = 3.0
_HANDSHAKE_S: Final = 5.0
_EVENTS_S: Final = 1.0
"""Seconds that the thread waits for RabbitMQ at a time; a call of `stop` or `acknowledge` wakes it."""
NO_LIMIT: Final = 2**31 - 1
"""How often RabbitMQ may deliver a message of a quorum queue; its word forever, -1, is not known to RabbitMQ 3."""
_MISSING: Final = 404
_REPLY: Final = re.compile(r"\((\d{3})\) ['\"](.*)['\"]")
"""The code and text of RabbitMQ in the words of pika, which makes an error of its own of a refused login."""

_TEXTS: Final = Texts.beside(__file__)
_AWAY: Final = "RabbitMQAway"
_OF_CODE: Final[Mapping[int, str]] = {
    403: "RabbitMQDenied-login",
    _MISSING: "RabbitMQDiffers-missing",
    405: "RabbitMQDiffers-made",
    406: "RabbitMQDiffers-made",
    530: "RabbitMQDenied-vhost",
}
"""By RabbitMQ's code: the problem that it is."""


@frozen_plain
class Message:
    """A message from RabbitMQ. `tag`: its number on the channel. `redelivered`: it came before, perhaps to others."""

    tag: int
    exchange: str
    key: str
    body: bytes
    redelivered: bool


@frozen
class AmqpConnection:
    """An open connection; `where` is the address that it goes to, without the login. Its methods raise `Problem`."""

    connection: pika.BlockingConnection
    where: str

    def has_exchange(self, exchange: RabbitExchange) -> bool:
        """Tell whether the exchange is there, however it is."""
        return self._has(lambda channel: channel.exchange_declare(exchange.name, passive=True))

    def has_queue(self, settings: Options) -> bool:
        """Tell whether the queue is there, however it is."""
        return self._has(lambda channel: channel.queue_declare(settings.queue, passive=True))

    def _has(self, look: Callable[[BlockingChannel], object]) -> bool:
        with translate_errors(self.where):
            try:
                look(self.connection.channel())
            except exceptions.ChannelClosedByBroker as error:
                if error.reply_code == _MISSING:
                    return False
                raise
        return True

    def exchange(self, exchange: RabbitExchange) -> None:
        """Make the exchange as configured if it is missing; where it is not to be made, it has to be there.

        RabbitMQ compares one that is there and changes nothing, unless it is not to be made: comparing needs the
        permission to make it.
        """
        with self._channel() as channel:
            channel.exchange_declare(
                exchange.name, exchange.type, durable=exchange.is_durable, passive=not exchange.create
            )

    def queue(self, settings: Options) -> None:
        """Make the queue as configured, if it is missing."""
        arguments: dict[str, str | int] = {"x-queue-type": settings.queue_type}
        if settings.queue_type == "quorum":
            # RabbitMQ 4 drops what was delivered 20 times: here, what was in progress in so many outages.
            arguments["x-delivery-limit"] = NO_LIMIT
        with self._channel() as channel:
            channel.queue_declare(settings.queue, durable=True, arguments=arguments)

    def bind(self, exchange: RabbitExchange, settings: Options) -> None:
        """Bind the queue to the exchange with each of its keys; a second time changes nothing."""
        with self._channel() as channel:
            for key in exchange.keys:
                channel.queue_bind(settings.queue, exchange.name, key)

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        with translate_errors(self.where):
            channel = self.connection.channel()
            yield channel
            channel.close()


@define(eq=False)
class RabbitLink:
    """One connection that consumes: `run` is for a thread of its own. It calls both callbacks in this thread.

    `on_open` is called with the server's address once the queue has confirmed that it delivers, `on_message` with each
    message. `acknowledge` and `stop` may be called by any thread, and do nothing on a connection that is gone:
    RabbitMQ then delivers unacknowledged messages to the next one.
    """

    settings: Options
    name: str
    on_message: Callable[[Message], None]
    on_open: Callable[[str], None]
    _connection: pika.BlockingConnection | None = None
    _channel: BlockingChannel | None = None
    _stopping: threading.Event = field(factory=threading.Event)

    def run(self) -> None:
        """Consume until `stop` is called; raise `Problem`, and nothing else that is not a bug."""
        with open_amqp(self.settings.server, self.name) as opened:
            opened.queue(self.settings)
            for exchange in self.settings.exchanges:
                opened.exchange(exchange)
                # At once: what comes to an exchange without a queue is lost, and its publisher is not told.
                opened.bind(exchange, self.settings)
            with translate_errors(opened.where):
                self._connection, self._channel = opened.connection, opened.connection.channel()
                if not self._stopping.is_set():
                    self._consume(opened, self._channel)

    def acknowledge(self, tag: int) -> None:
        """Acknowledge all messages up to the one with this tag: Redis has their jobs, or they are dropped."""
        self._wake(partial(self._acknowledge, tag))

    def stop(self) -> None:
        """Have `run` end once it has sent the acknowledgements that are due."""
        self._stopping.set()
        self._wake(lambda: None)

    def _consume(self, opened: AmqpConnection, channel: BlockingChannel) -> None:
        channel.basic_qos(prefetch_count=self.settings.prefetch)
        # Returns when the queue has confirmed it; what it delivers is called back for below.
        channel.basic_consume(self.settings.queue, self._receive)
        self.on_open(opened.where)
        while not self._stopping.is_set():
            opened.connection.process_data_events(time_limit=_EVENTS_S)
            if not channel.consumer_tags:
                why = f"it ended the consumer of the queue {self.settings.queue}"
                raise _problem(opened.where, why, "RabbitMQDiffers-ended")
        # What was acknowledged just now is still to be sent.
        opened.connection.process_data_events(time_limit=0)

    def _receive(self, _channel: object, method: spec.Basic.Deliver, _properties: object, body: bytes) -> None:
        exchange, key = _text(method.exchange), _text(method.routing_key)
        self.on_message(Message(method.delivery_tag, exchange, key, body=body, redelivered=method.redelivered))

    def _acknowledge(self, tag: int) -> None:
        if self._channel is not None and self._channel.is_open:
            self._channel.basic_ack(tag, multiple=True)

    def _wake(self, act: Callable[[], None]) -> None:
        if self._connection is not None:
            with contextlib.suppress(exceptions.ConnectionWrongStateError):
                self._connection.add_callback_threadsafe(act)


@contextmanager
def open_amqp(server: RabbitServer, name: str) -> Iterator[AmqpConnection]:
    """Open a connection for the block; `name` is how RabbitMQ shows it. Raise `Problem` if it does not open.

    At the end the connection is closed properly, if RabbitMQ still answers.
    """
    try:
        # Read at each call, since the URL may stand in a file.
        found = address(server.url.reveal())
    except (ConfigError, BadUrl) as error:
        raise Problem("RabbitMQDenied", f"The URL of RabbitMQ cannot be used: {error}", "Check URLFile.") from None
    where = str(found)
    try:
        parameters = _parameters(found, server, name)
    except OSError as error:
        why = f"its TLS files cannot be read: {error.strerror or type(error).__name__}"
        raise _problem(where, why, "RabbitMQDenied-tls") from None
    # In the whole process: this is pika's table of property classes.
    spec.props[spec.BasicProperties.INDEX] = _UndecodedProperties
    with translate_errors(where):
        connection = pika.BlockingConnection(parameters)
    try:
        yield AmqpConnection(connection, where)
    finally:
        with contextlib.suppress(exceptions.AMQPError, OSError):
            connection.close()


class _UndecodedProperties(spec.BasicProperties):
    """The properties of messages, which nothing here needs, as they came.

    A header that pika cannot decode (a time after the year 9999, tables in tables in tables) would end each connection,
    since RabbitMQ delivers the same message again, so that no later message in the queue would ever come.
    """

    def decode(self, encoded: bytes, offset: int = 0) -> Self:  # noqa: ARG002  pika's own has them
        return self


def _parameters(found: RabbitAddress, server: RabbitServer, name: str) -> pika.ConnectionParameters:
    options = None
    if found.is_tls:
        options = pika.SSLOptions(context_of(server.tls or TlsFiles()), found.host)
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


@contextmanager
def translate_errors(where: str) -> Iterator[None]:
    """Raise what pika raises in the block as `Problem`; `where`: at which server."""
    try:
        yield
    except (exceptions.ChannelClosedByBroker, exceptions.ConnectionClosedByBroker) as error:
        raise refusal(where, error.reply_code, error.reply_text) from None
    except (exceptions.ProbableAuthenticationError, exceptions.ProbableAccessDeniedError) as error:
        reply = _REPLY.search(str(error))
        is_login = isinstance(error, exceptions.ProbableAuthenticationError)
        code, said = (reply[1], reply[2]) if reply else (403 if is_login else 530, "it closed the connection")
        raise refusal(where, int(code), said) from None
    except (exceptions.AMQPError, AMQPConnectorException, OSError) as error:
        # The second is what pika raises where no one answers its handshake; it is none of the first.
        raise _problem(where, _describe_error(error)) from None


def refusal(where: str, code: int, said: str) -> Problem:
    """Return the problem that RabbitMQ refused something, or ended the connection, with this code and text."""
    return _problem(where, f"{code} {said.removesuffix('.')}", _OF_CODE.get(code, _AWAY))


def _problem(where: str, why: str, name: str = _AWAY) -> Problem:
    return _TEXTS.problem(name, where=where, why=why, limit=NO_LIMIT)


def _describe_error(error: BaseException) -> str:
    """Return what happened, without a password, and short: pika's own texts repeat addresses and whole frames."""
    found = error
    while True:
        match found:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted ({found.verify_message})"
            case exceptions.AMQPHeartbeatTimeout():
                return "it sent no heartbeat"
            case exceptions.IncompatibleProtocolError():
                return "the program there does not speak AMQP 0.9.1, or requires TLS"
            case _ if "Timeout" in type(found).__name__:
                return "it does not answer in time"
            case OSError(strerror=str(said)):
                return said.lower()
            case _:
                pass
        inner = next((error for error in _inner(found) if isinstance(error, BaseException)), None)
        if inner is None:
            return "the connection ended" if isinstance(error, exceptions.AMQPError) else type(error).__name__
        found = inner


def _inner(error: BaseException) -> list[object]:
    """Return what the error holds in the places where pika keeps the cause."""
    named = [error.exception] if isinstance(error, AMQPConnectorPhaseErrorBase) else []
    return [*named, error.__cause__, *error.args]


def _text(name: object) -> str:
    """Return the name as text: pika gives bytes for what is not UTF-8, with which any client may publish."""
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
