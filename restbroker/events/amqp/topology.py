"""The steps of setting up RabbitMQ, and the problem to report for each refusal of one.

Used by `blocking_connection`, `link` and `check`.

Always holds: pure; no text holds a password or a part of an event; each text names what to change.

RabbitMQ closes the channel with 404 where something is missing, 405 where it is exclusively another client's, 406 where
it has another type or durability, 403 where the user may not; and the connection with 403 for a wrong login, 530 for a
virtual host that is not there or not for this user.
"""

from typing import Final, Literal, TypeAlias, assert_never

import attrs

from restbroker.events.amqp.options import Exchange, Options

Code: TypeAlias = Literal["RabbitMQAway", "RabbitMQDenied", "RabbitMQDiffers", "RabbitMQSilent"]


@attrs.frozen
class Login:
    """The step of opening a connection to `server` (an address without a login), as `user` into `vhost`."""

    server: str
    user: str
    vhost: str


@attrs.frozen
class DeclareExchange:
    """The step of finding, making or comparing an exchange, or binding it to the queue."""

    exchange: Exchange


@attrs.frozen
class DeclareQueue:
    """The step of making or comparing the queue, binding it and consuming from it."""

    settings: Options


@attrs.frozen
class StartConsumer:
    """The step of requesting the queue to deliver."""

    settings: Options


Step: TypeAlias = Login | DeclareExchange | DeclareQueue | StartConsumer


@attrs.define(eq=False)
class Problem(Exception):
    """Why no events come from RabbitMQ, and what to do (`hint`); `code` is that of the warning."""

    code: Code
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message} {self.hint}"


NO_LIMIT: Final = 2**31 - 1
"""How often RabbitMQ may deliver a message of a quorum queue; its word forever, -1, is not known to RabbitMQ 3."""
_MISSING: Final = 404
_LOCKED: Final = 405
_INEQUIVALENT: Final = "inequivalent"
"""RabbitMQ's word where 406 is about type or durability.

A channel that acknowledged nothing for half an hour is closed with 406 as well.
"""
_REFUSED: Final = 403
INTERNAL_ERROR: Final = 541
_NOT_ALLOWED: Final = 530
"""RabbitMQ's code for a virtual host that is not there, not for this user, or has as many connections as it may."""


def unreachable_server(server: str, why: str) -> Problem:
    """Return the problem that the server cannot be reached, or that the connection ended, for the reason `why`."""
    hint = "Check that RabbitMQ runs, and the source's URL. restbroker tries again."
    return Problem("RabbitMQAway", f"restbroker cannot read from RabbitMQ at {server}: {why}.", hint)


def refusal(step: Step, code: int, said: str) -> Problem:
    """Return the problem that RabbitMQ refused this step with `code` (320, say, where it stops) and text `said`."""
    if code in (_REFUSED, _NOT_ALLOWED):
        return _denial(step, code, said)
    match step:
        case Login(server):
            return unreachable_server(server, f"it closed the connection ({code} {said})")
        case DeclareExchange(exchange):
            return _exchange_refusal(exchange, code, said)
        case DeclareQueue(settings) | StartConsumer(settings) if code == _LOCKED or _INEQUIVALENT in said:
            what = f"The queue {settings.queue} in RabbitMQ differs from the configuration ({code} {said})."
            limit = f", with x-delivery-limit {NO_LIMIT}" if settings.queue_type == "quorum" else ""
            wanted = f"Its type has to be {settings.queue_type}{limit}, and it must be durable."
            hint = f"{wanted} Delete it, or change QueueType or RabbitQueue."
            return Problem("RabbitMQDiffers", what, hint)
        case DeclareQueue(settings) | StartConsumer(settings):
            what = f"The queue {settings.queue} in RabbitMQ cannot be used ({code} {said})."
            return Problem("RabbitMQDiffers", what, "restbroker creates and binds it again at the next try.")
        case _:
            assert_never(step)


def deleted_queue(settings: Options) -> Problem:
    """Return the problem that the queue was deleted while restbroker consumed from it."""
    what = f"RabbitMQ cancelled the consumer of the queue {settings.queue}: it was deleted, or its node left."
    return Problem("RabbitMQDiffers", what, "restbroker creates and binds it again at the next try.")


def silent_queue(settings: Options) -> Problem:
    """Return the problem that the queue does not answer the request to deliver.

    RabbitMQ closes the connection with 541 after a minute of this.
    """
    what = f"RabbitMQ answers, but its queue {settings.queue} does not: nothing is read."
    status = f"`rabbitmq-queues quorum_status {settings.queue}`"
    hint = (
        f"A quorum queue waits for a majority of its nodes: {status} shows them. restbroker reads it as soon "
        "as it is back. Delete one that RabbitMQ cannot restore, with its events; restbroker creates it again "
        "at the next try."
    )
    return Problem("RabbitMQSilent", what, hint)


def missing_exchange(exchange: Exchange) -> Problem:
    """Return the problem that the exchange is missing and is not to be made."""
    what = f"The exchange {exchange.name} is missing in RabbitMQ."
    hint = "Start MongooseIM, which creates it; or let restbroker create it after a restart of RabbitMQ (Create)."
    return Problem("RabbitMQDiffers", what, hint)


def lost_exchange(exchange: Exchange) -> Problem:
    """Return the problem that the exchange is gone, which was there when the connection was opened."""
    what = f"The exchange {exchange.name} is gone from RabbitMQ: no events arrive from it."
    hint = (
        "Start MongooseIM, which creates it: restbroker reads it again within seconds. restbroker itself "
        "creates it only when it connects."
    )
    return Problem("RabbitMQDiffers", what, hint)


def is_missing(code: int) -> bool:
    """Tell whether this is RabbitMQ's code for something that is missing."""
    return code == _MISSING


def describe(exchange: Exchange) -> str:
    """Return type and durability of the exchange in RabbitMQ's words, such as "topic, not durable"."""
    return f"{exchange.type}, {'durable' if exchange.is_durable else 'not durable'}"


def _exchange_refusal(exchange: Exchange, code: int, said: str) -> Problem:
    if is_missing(code):
        return missing_exchange(exchange)
    what = f"The exchange {exchange.name} in RabbitMQ is not as configured ({describe(exchange)}): {code} {said}."
    hint = (
        "Set Type and Durable of this exchange as in MongooseIM's configuration: if restbroker created it with "
        "others, MongooseIM would not start."
    )
    return Problem("RabbitMQDiffers", what, hint)


def _denial(step: Step, code: int, said: str) -> Problem:
    match step:
        case Login(server, user, vhost) if code == _NOT_ALLOWED:
            what = f"RabbitMQ at {server} does not let the user {user} into the virtual host {vhost} ({said})."
            named = "Check the virtual host in URL or URLFile (/ is written %2F), or make it (rabbitmqctl add_vhost)"
            hint = f"{named}; the user needs permissions in it (rabbitmqctl set_permissions -p)."
        case Login(server, user):
            what = f"RabbitMQ at {server} refuses the login of the user {user} ({said})."
            hint = "Check the user and the password in URL or URLFile. guest may log in only from the same machine."
        case DeclareExchange(exchange):
            what = f"RabbitMQ does not allow this user to use the exchange {exchange.name} ({said})."
            hint = f"The user needs the permission configure for {exchange.name}; or set Create to false."
        case DeclareQueue(settings) | StartConsumer(settings):
            what = f"RabbitMQ does not allow this user to use the queue {settings.queue} ({said})."
            queue = settings.queue
            hint = f"The user needs configure, write and read for {queue}, and read for the exchanges."
        case _:
            assert_never(step)
    return Problem("RabbitMQDenied", what, hint)
