"""The events of a broker as tests look at them: one for each job, also of those that were told of together."""

from collections.abc import Iterable

from restbroker.telemetry.events import Event, JobsDelivered, OneEvent


def one_by_one(event: Event) -> Iterable[OneEvent]:
    return event.each() if isinstance(event, JobsDelivered) else (event,)
