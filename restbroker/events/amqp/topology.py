"""What is wanted in RabbitMQ, and what is said where RabbitMQ refuses it. Used by `connected`, `link` and `check`.

Always holds: pure; nothing is said of a password or of an event; what is said names what to change.

RabbitMQ closes the channel with 404 where something is missing, 405 where it is somebody else's alone, 406 where it has
another type or durability, 403 where the user may not; and the connection with 403 for a wrong login, 530 for a virtual
host that is not there or not for this user.
"""

from typing import Final, Literal, TypeAlias, assert_never

import attrs

from restbroker.events.amqp.options import Exchange, Options

Code: TypeAlias = Literal["RabbitMQAway", "RabbitMQDenied", "RabbitMQDiffers", "RabbitMQSilent"]


@attrs.frozen
class Login:
    """The connection itself. `server` has no login in it; `user` and `vhost` are who asks for what."""

    server: str
    user: str
    vhost: str


@attrs.frozen
class Making:
    """An exchange that is looked for, made or compared; or bound to the queue."""

    exchange: Exchange


@attrs.frozen
class Queueing:
    """The queue that is made or compared, bound and consumed."""

    settings: Options


@attrs.frozen
class Consuming:
    """The queue that is asked to deliver."""

    settings: Options


Step: TypeAlias = Login | Making | Queueing | Consuming


@attrs.define(eq=False)
class Problem(Exception):
    """Why nothing comes from RabbitMQ, and what to do. `code`: of the warning."""

    code: Code
    message: str
    cure: str

    def __str__(self) -> str:
        return f"{self.message} {self.cure}"


NO_LIMIT: Final = 2**31 - 1
"""How often RabbitMQ may give out a message of a quorum queue; its word forever, -1, is not known to RabbitMQ 3."""
_MISSING: Final = 404
_LOCKED: Final = 405
_INEQUIVALENT: Final = "inequivalent"
"""RabbitMQ's word where 406 is about type or durability; a channel that acknowledged nothing for half an hour is closed
with 406 as well."""
_REFUSED: Final = 403
INTERNAL_ERROR: Final = 541
_NOT_ALLOWED: Final = 530
"""Of a virtual host: it is not there, not for this user, or has as many connections as it may."""


def away(server: str, why: str) -> Problem:
    """It cannot be reached, or the connection ended."""
    cure = "Check that RabbitMQ runs, and the source's URL. restbroker tries again."
    return Problem("RabbitMQAway", f"RabbitMQ at {server} cannot be read from: {why}.", cure)


def refusal(step: Step, code: int, said: str) -> Problem:
    """`code` and `said` are RabbitMQ's, of this step; 320, say, where it stops."""
    if code in (_REFUSED, _NOT_ALLOWED):
        return _denial(step, code, said)
    match step:
        case Login(server):
            return away(server, f"it closed the connection ({code} {said})")
        case Making(exchange):
            return _exchange_refused(exchange, code, said)
        case Queueing(settings) | Consuming(settings) if code == _LOCKED or _INEQUIVALENT in said:
            what = f"The queue {settings.queue} in RabbitMQ differs from the configuration ({code} {said})."
            limit = f", with x-delivery-limit {NO_LIMIT}" if settings.queue_type == "quorum" else ""
            wanted = f"Its type has to be {settings.queue_type}{limit}, and it must be durable."
            cure = f"{wanted} Delete it, or change QueueType or RabbitQueue."
            return Problem("RabbitMQDiffers", what, cure)
        case Queueing(settings) | Consuming(settings):
            what = f"The queue {settings.queue} in RabbitMQ cannot be used ({code} {said})."
            return Problem("RabbitMQDiffers", what, "restbroker creates and binds it again at the next try.")
        case _:
            assert_never(step)


def queue_deleted(settings: Options) -> Problem:
    """RabbitMQ took the queue away from under its consumer."""
    what = f"RabbitMQ cancelled the consumer of the queue {settings.queue}: it was deleted, or its node left."
    return Problem("RabbitMQDiffers", what, "restbroker creates and binds it again at the next try.")


def silent(settings: Options) -> Problem:
    """The queue was asked to deliver and does not answer. RabbitMQ closes the connection with 541 after a minute."""
    what = f"RabbitMQ answers, but its queue {settings.queue} does not: nothing is read."
    status = f"`rabbitmq-queues quorum_status {settings.queue}`"
    cure = (
        f"A quorum queue waits for a majority of its nodes: {status} shows them. restbroker reads it as soon "
        "as it is back. Delete one that RabbitMQ cannot restore, with its events; restbroker creates it again "
        "at the next try."
    )
    return Problem("RabbitMQSilent", what, cure)


def missing(exchange: Exchange) -> Problem:
    """One that is not to be made."""
    what = f"The exchange {exchange.name} is missing in RabbitMQ."
    cure = "Start MongooseIM, which creates it; or let restbroker create it after a restart of RabbitMQ (Create)."
    return Problem("RabbitMQDiffers", what, cure)


def gone_while_open(exchange: Exchange) -> Problem:
    """One that was there when the connection was opened."""
    what = f"The exchange {exchange.name} is gone from RabbitMQ: no events arrive from it."
    cure = (
        "Start MongooseIM, which creates it: restbroker reads it again within seconds. restbroker itself "
        "creates it only when it connects."
    )
    return Problem("RabbitMQDiffers", what, cure)


def is_missing(code: int) -> bool:
    """Whether this is RabbitMQ's word for it."""
    return code == _MISSING


def describe(exchange: Exchange) -> str:
    """In RabbitMQ's words."""
    return f"{exchange.type}, {'durable' if exchange.is_durable else 'not durable'}"


def _exchange_refused(exchange: Exchange, code: int, said: str) -> Problem:
    if is_missing(code):
        return missing(exchange)
    what = f"The exchange {exchange.name} in RabbitMQ is not as configured ({describe(exchange)}): {code} {said}."
    cure = (
        "Set Type and Durable of this exchange as in MongooseIM's configuration: if restbroker created it with "
        "others, MongooseIM would not start."
    )
    return Problem("RabbitMQDiffers", what, cure)


def _denial(step: Step, code: int, said: str) -> Problem:
    match step:
        case Login(server, user, vhost) if code == _NOT_ALLOWED:
            what = f"RabbitMQ at {server} does not let the user {user} into the virtual host {vhost} ({said})."
            named = "Check the virtual host in URL or URLFile (/ is written %2F), or make it (rabbitmqctl add_vhost)"
            cure = f"{named}; the user needs permissions in it (rabbitmqctl set_permissions -p)."
        case Login(server, user):
            what = f"RabbitMQ at {server} refuses the login of the user {user} ({said})."
            cure = "Check the user and the password in URL or URLFile. guest may log in only from the same machine."
        case Making(exchange):
            what = f"RabbitMQ does not allow this user to use the exchange {exchange.name} ({said})."
            cure = f"The user needs the permission configure for {exchange.name}; or set Create to false."
        case Queueing(settings) | Consuming(settings):
            what = f"RabbitMQ does not allow this user to use the queue {settings.queue} ({said})."
            queue = settings.queue
            cure = f"The user needs configure, write and read for {queue}, and read for the exchanges."
        case _:
            assert_never(step)
    return Problem("RabbitMQDenied", what, cure)
