"""Checks what a source of the kind `mongooseim-amqp` needs in RabbitMQ. Called by `operate.check.events`.

Always holds: nothing is made, changed or consumed; no finding holds a login. Existing exchanges and queues are declared
once more as configured, since a passive declare does not compare; RabbitMQ refuses that if they differ, and changes
nothing.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from restbroker.config.events import EventSource
from restbroker.events.amqp.options import INSTALL, Options
from restbroker.servers.findings import Cause, Finding, Problem, Texts, findings_of, ok, problem_of
from restbroker.store.sources import SourceState

if TYPE_CHECKING:  # without pika there is none
    from restbroker.events.amqp.connection import AmqpConnection

AREA: Final = "Events"
_TEXTS: Final = Texts.beside(__file__)
_WHY: Final = "Events that MongooseIM publishes do not become jobs."


def check(source: EventSource, states: Sequence[SourceState] = ()) -> Iterator[Finding]:
    """Yield the findings about RabbitMQ, after some seconds at most if it does not answer.

    Then yield findings about the problems in `states`, which the processes that read the queue reported. It blocks.
    """
    found = list(_check_source(source))
    yield from found
    yield from findings_of(states, found, _WHY, _CAUSES)


def _check_source(source: EventSource) -> Iterator[Finding]:
    assert isinstance(source.options, Options)  # noqa: S101  as its options judged it
    try:
        from restbroker.events.amqp.connection import open_amqp
    except ModuleNotFoundError:
        yield _TEXTS.finding(AREA, "NotInstalled", source=source.name, hint=INSTALL)
        return
    try:
        with open_amqp(source.options.server, f"restbroker check, source {source.name}") as found:
            yield ok(AREA, "RabbitMQ", f"The source {source.name} can log in to RabbitMQ at {found.where}.")
            yield from _check_parts(source, source.options, found)
    except Problem as problem:
        yield problem_of(source.name, problem, _WHY, _CAUSES)


def _check_parts(source: EventSource, settings: Options, found: "AmqpConnection") -> Iterator[Finding]:
    for exchange in settings.exchanges:
        how = f"{exchange.type}, {'durable' if exchange.is_durable else 'not durable'}"
        try:
            if not found.has_exchange(exchange):
                case = "RabbitMQMissing-made" if exchange.create else "RabbitMQMissing"
                yield _TEXTS.finding(AREA, case, exchange=exchange.name, how=how)
                continue
            found.exchange(exchange)
        except Problem as problem:
            yield problem_of(source.name, problem, _WHY, _CAUSES)
            continue
        compared = f" as configured ({how})" if exchange.create else ""
        yield ok(AREA, "RabbitMQ", f"The exchange {exchange.name} exists{compared}.")
    if not found.has_queue(settings):
        yield ok(AREA, "RabbitMQ", f"restbroker creates the queue {settings.queue} when it runs.")
        return
    found.queue(settings)
    yield ok(AREA, "RabbitMQ", f"The queue {settings.queue} exists ({settings.queue_type}).")


_CAUSES: Final[dict[str, Cause]] = {
    "RabbitMQAway": "target",
    "RabbitMQDenied": "refused",
    "RabbitMQDiffers": "config",
}
