"""Judges `Events`. Called by `config.build`.

Always holds: a source has all that it needs, or each problem is named; a job that is made of an event cannot come back
to a target of this broker.
"""

from restbroker.config.event_keys import OnlyKeys, SourceKeys
from restbroker.config.events import Events, EventSource, Only
from restbroker.config.keys import Keys
from restbroker.config.review import Review, at
from restbroker.config.target import Target
from restbroker.config.urls import is_loopback

LEAST_SECRET = 16
_MUST = "each source needs Kind, Path, Queue and Class"


def build_events(keys: Keys, targets: tuple[Target, ...], review: Review) -> Events | None:
    """The section; None where there is none, or there is a problem in `review`."""
    if keys.events is None:
        return None
    place = at("Events", "Sources")
    if not keys.events.sources:
        review.refuse(place, "is missing or empty; name at least one source, or take Events out.")
    owners = {queue: target.name for target in targets for queue in target.queues}
    is_open = not is_loopback(keys.events.listen[0])
    paths: dict[str, str] = {}
    found: list[EventSource] = []
    for name, written in keys.events.sources.items():
        where = at(place, name)
        source = _source(name, written, where, review)
        if source is None:
            continue
        _judge(source, where, owners, paths, review)
        _judge_secret(source, written, where, review, is_open=is_open)
        found.append(source)
    if is_open and any(source.secret is not None for source in found):
        review.note(
            "PlainEvents",
            f"The secrets of events on {keys.events.listen[0]} go unencrypted.",
            "Listen on a loopback address, with a reverse proxy with TLS in front of it.",
        )
    return Events(keys.events.listen, tuple(found))


def _source(name: str, written: SourceKeys, where: str, review: Review) -> EventSource | None:
    members = {"Kind": written.kind, "Path": written.path, "Queue": written.queue, "Class": written.job_class}
    for member, value in members.items():
        if not value:
            review.refuse(at(where, member), f"is missing or empty; {_MUST}.")
    if not (written.kind and written.path and written.queue and written.job_class):
        return None
    return EventSource(
        name=name,
        kind=written.kind,
        path=written.path,
        queue=written.queue,
        job_class=written.job_class,
        secret=review.secret(at(where, "Secret"), written.secret, written.secret_file),
        window_s=written.drop_duplicates,
        only=_only(written.only),
        iq=written.iq,
    )


def _only(written: OnlyKeys | None) -> Only:
    return Only() if written is None else Only(written.types, written.sender, written.receiver)


def _judge(source: EventSource, where: str, owners: dict[str, str], paths: dict[str, str], review: Review) -> None:
    first = paths.setdefault(source.path, where)
    if first != where:
        review.refuse(at(where, "Path"), f"is also {review.named(at(first, 'Path'))}; each source needs its own.")
    if source.queue in owners:
        why = f"the target {owners[source.queue]} serves the queue {source.queue!r}, so that every event would be"
        review.refuse(at(where, "Queue"), f"{why} taken for a command; name a queue of your application.")


def _judge_secret(source: EventSource, written: SourceKeys, where: str, review: Review, *, is_open: bool) -> None:
    place = at(where, "Secret" if written.secret_file is None else "SecretFile")
    if not is_open:
        return
    if source.secret is None:
        if written.secret_file is None:
            cure = "use SecretFile, or listen on a loopback address"
            review.refuse(place, f"is missing or empty, and Listen is open to others; {cure}.")
    elif len(source.secret.reveal()) < LEAST_SECRET:
        why = "Listen is open to others, who could guess it"
        review.refuse(place, f"expected at least {LEAST_SECRET} characters, found fewer; {why}.")
