"""The events of a broker with one event for each job, also for jobs that were reported together."""

from collections.abc import Iterable

from restbroker.telemetry.events import Event, JobsDelivered, OneEvent


def single_events(event: Event) -> Iterable[OneEvent]:
    return event.each() if isinstance(event, JobsDelivered) else (event,)
