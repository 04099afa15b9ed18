"""An open connection to RabbitMQ, which makes missing exchanges, queue and bindings. pika blocks: use a thread.

Used by `link` and `check`. Always holds: an exchange is made only with exactly the type and durability that are
configured, after none was found; each error of pika leaves here as `Problem`, without a password.

Each wait is bounded, so that a thread that is abandoned ends too: 3 s for the network, 5 s for the handshake, some 30 s
until a server that is silent counts as lost (measured; three times the heartbeat).
"""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs
import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException, AMQPConnectorPhaseErrorBase

from restbroker.config.target import TlsFiles
from restbroker.config.tls import context_of
from restbroker.config.urls import BadUrl
from restbroker.errors import ConfigError
from restbroker.events.amqp.address import Address, address
from restbroker.events.amqp.frames import leave_properties
from restbroker.events.amqp.options import Exchange, Options, Server
from restbroker.events.amqp.topology import (
    INTERNAL_ERROR,
    NO_LIMIT,
    DeclareExchange,
    DeclareQueue,
    Login,
    Problem,
    StartConsumer,
    Step,
    is_missing,
    missing_exchange,
    refusal,
    silent_queue,
    unreachable_server,
)

_HEARTBEAT_S: Final = 10
_CONNECT_S: Final = 3.0
_HANDSHAKE_S: Final = 5.0


@attrs.frozen
class AmqpConnection:
    """An open connection; `where` is the address that it goes to, without the login."""

    connection: pika.BlockingConnection
    where: str

    def check_exchange(self, exchange: Exchange) -> bool:
        """Tell whether the exchange is there; raise `Problem` if it differs from what is configured.

        An exchange that is there is declared once more, since a passive declare does not compare: RabbitMQ then changes
        nothing. That needs the permission to make it, so it is left out for an exchange that is not to be made.
        """
        with translate_errors(DeclareExchange(exchange), self.where):
            if not self._is_there(exchange):
                return False
            if exchange.create:
                self._declare(exchange)
            return True

    def make(self, exchange: Exchange) -> None:
        """Make the exchange as configured, if it is missing; raise `Problem` if it may not be made or differs."""
        if self.check_exchange(exchange):
            return
        if not exchange.create:
            raise missing_exchange(exchange)
        with translate_errors(DeclareExchange(exchange), self.where):
            self._declare(exchange)

    def find_queue(self, settings: Options) -> int | None:
        """Return how many consumers read the queue, or None if it is not there; raise `Problem` if it differs."""
        with translate_errors(DeclareQueue(settings), self.where):
            try:
                found = self.connection.channel().queue_declare(settings.queue, passive=True)
            except exceptions.ChannelClosedByBroker as error:
                if is_missing(error.reply_code):
                    return None
                raise
        self.queue(settings)
        return int(found.method.consumer_count)

    def count_consumers(self, settings: Options) -> int | None:
        """Add a consumer to the queue for a test, and return how many others it has; None: it counts none now.

        The new consumer has the lowest priority. A passive declare alone is not enough: a queue that lost most of its
        nodes answers it, with its consumers, and delivers nothing (seen); a new consumer must be confirmed by its
        nodes. Raise `Problem` if RabbitMQ refuses or does not answer.
        """
        with translate_errors(StartConsumer(settings), self.where):
            channel = self.connection.channel()
            channel.basic_qos(prefetch_count=1)
            channel.basic_consume(settings.queue, lambda *_: None, arguments={"x-priority": -1})
            count = channel.queue_declare(settings.queue, passive=True).method.consumer_count
            # What it was given all the same goes back to the queue.
            channel.close()
        return int(count) - 1 if count else None

    def queue(self, settings: Options) -> BlockingChannel:
        """Make the queue as configured, if it is missing, and return a channel for it.

        Raise `Problem` if it differs, or RabbitMQ refuses.
        """
        with translate_errors(DeclareQueue(settings), self.where):
            channel = self.connection.channel()
            channel.queue_declare(settings.queue, durable=True, arguments=_arguments(settings))
        return channel

    def bind(self, exchange: Exchange, settings: Options) -> None:
        """Bind the queue to the exchange with each of its keys; a second time changes nothing. Raise `Problem`."""
        with translate_errors(DeclareQueue(settings), self.where):
            channel = self.connection.channel()
            for key in exchange.keys:
                channel.queue_bind(settings.queue, exchange.name, key)
            channel.close()

    def _is_there(self, exchange: Exchange) -> bool:
        try:
            self.connection.channel().exchange_declare(exchange.name, passive=True)
        except exceptions.ChannelClosedByBroker as error:
            if is_missing(error.reply_code):
                return False
            raise
        return True

    def _declare(self, exchange: Exchange) -> None:
        channel = self.connection.channel()
        channel.exchange_declare(exchange.name, exchange.type, durable=exchange.is_durable)
        channel.close()


def _arguments(settings: Options) -> dict[str, str | int]:
    if settings.queue_type != "quorum":
        return {"x-queue-type": settings.queue_type}
    # RabbitMQ 4 drops what was delivered 20 times: here, what was in progress in so many outages.
    return {"x-queue-type": settings.queue_type, "x-delivery-limit": NO_LIMIT}


@contextmanager
def open_amqp(server: Server, name: str) -> Iterator[AmqpConnection]:
    """Open a connection for the block; `name` is how RabbitMQ shows it. Raise `Problem` if it does not open.

    At the end the connection is closed properly, if RabbitMQ still answers.
    """
    found = _address(server)
    where = str(found)
    try:
        parameters = _parameters(found, server, name)
    except OSError as error:
        why = f"its TLS files cannot be read: {error.strerror or type(error).__name__}"
        raise Problem(
            "RabbitMQDenied", f"restbroker cannot read from RabbitMQ at {where}: {why}.", "Check TLS."
        ) from None
    leave_properties()
    with translate_errors(Login(where, found.user, found.vhost), where):
        connection = pika.BlockingConnection(parameters)
    try:
        yield AmqpConnection(connection, where)
    finally:
        with contextlib.suppress(exceptions.AMQPError, OSError):
            connection.close()


def _address(server: Server) -> Address:
    """Return the address, read again at each call, since the URL may stand in a file."""
    try:
        return address(server.url.reveal())
    except (ConfigError, BadUrl) as error:
        raise Problem("RabbitMQDenied", f"The URL of RabbitMQ cannot be used: {error}", "Check URLFile.") from None


@contextmanager
def translate_errors(step: Step, where: str) -> Iterator[None]:
    """Raise what pika raises in the block as `Problem`; `step` says what is done there, `where` at which server."""
    try:
        yield
    except exceptions.ChannelClosedByBroker as error:
        raise refusal(step, error.reply_code, error.reply_text) from None
    except exceptions.ConnectionClosedByBroker as error:
        if isinstance(step, Login):
            raise refusal(step, error.reply_code, error.reply_text) from None
        if isinstance(step, StartConsumer) and error.reply_code == INTERNAL_ERROR:
            raise silent_queue(step.settings) from None
        # It stops (320), say; that has nothing to do with what was asked for.
        raise unreachable_server(where, f"it closed the connection ({error.reply_code} {error.reply_text})") from None
    except exceptions.ProbableAuthenticationError:
        raise refusal(step, 403, "ACCESS_REFUSED") from None
    except exceptions.ProbableAccessDeniedError:
        raise refusal(step, 530, "NOT_ALLOWED") from None
    except (exceptions.AMQPError, AMQPConnectorException, OSError) as error:
        # The second is what pika raises where no one answers its handshake; it is none of the first.
        raise unreachable_server(where, _describe_error(error)) from None


def _describe_error(error: BaseException) -> str:
    """Return what happened, without a password, and short: pika's own texts repeat addresses and whole frames."""
    found = error
    while True:
        match found:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted ({found.verify_message})"
            case ssl.SSLError():
                return f"TLS fails there ({found.reason or 'no reason given'})"
            case socket.gaierror():
                return "its name is unknown"
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
        inner = next((one for one in _inner(found) if isinstance(one, BaseException)), None)
        if inner is None:
            return "the connection ended" if isinstance(error, exceptions.AMQPError) else type(error).__name__
        found = inner


def _inner(error: BaseException) -> list[object]:
    """Return what the error holds in the places where pika keeps the cause."""
    named = [error.exception] if isinstance(error, AMQPConnectorPhaseErrorBase) else []
    return [*named, error.__cause__, *error.args]


def _parameters(found: Address, server: Server, name: str) -> pika.ConnectionParameters:
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
