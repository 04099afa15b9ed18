"""Judges `Events`. Called by `config.core`.

Always holds: a source has all that it needs, or each problem is named; a job that is made of an event cannot come back
to a target of this broker.
"""

from collections.abc import Iterator

import attrs

from restbroker.config import converter
from restbroker.config.events import Events, EventSource, Route, Shape
from restbroker.config.form import Chosen
from restbroker.config.kind import SourceCheck, SourceDefaults, source_defaults_of
from restbroker.config.review import Review, at
from restbroker.config.target import Target
from restbroker.config.tls import cert_files
from restbroker.config.urls import is_loopback
from restbroker.config.values import describe
from restbroker.job.event import EVENT_MEMBERS
from restbroker.job.names import BODY_NAMES

LEAST_SECRET = 16
_MUST = "each source needs Kind, Queue and Class"
_MUST_POSTED = "each source needs Kind, Path, Queue and Class"
_NO_ROUTES = (Route(),)


def check_events(events: Events, targets: tuple[Target, ...], review: Review) -> Events:
    """The section as it is to be used."""
    place = at("Events", "Sources")
    if not events.sources:
        review.refuse(place, "is missing or empty; name at least one source, or take Events out.")
    owners = {queue: target.name for target in targets for queue in target.queues}
    is_open = not is_loopback(events.listen[0])
    paths: dict[str, str] = {}
    readers: dict[tuple[str | None, str], str] = {}
    found: list[EventSource] = []
    for written in events.sources:
        where = at(place, written.name)
        source = _source(written, where, review)
        if source is None:
            continue
        source = _with_target(source, where, targets, review)
        _judge(source, where, owners, paths, review)
        _judge_alone(source, where, readers, review)
        _judge_more(source, where, owners, review)
        if is_open and source.path is not None:
            _judge_secret(source, written, where, review)
        found.append(source)
    tls = cert_files(events.tls, "Events", review)
    if is_open and events.tls is None:
        _note_plain(events.listen[0], found, review)
    return Events(events.listen, tuple(found), tls)


def _note_plain(host: str, sources: list[EventSource], review: Review) -> None:
    """Others reach these sources without TLS."""
    if any(source.secret is not None for source in sources):
        review.note(
            "PlainEvents",
            f"The secrets of events on {host} go unencrypted.",
            "Give Events a CertFile and a KeyFile; or listen on a loopback address, behind a reverse proxy with TLS.",
        )
    for source in sources:
        if source_defaults_of(review.sources[source.kind]).is_signed:
            message = f"Servers post to sources such as {source.name} over TLS alone, and Listen of Events has none."
            review.note("SignedWithoutTLS", message, "Give Events a CertFile and a KeyFile.")


def _source(written: EventSource, where: str, review: Review) -> EventSource | None:
    options = review.sources.get(written.kind)
    left_out = review.left_out_of(where)
    if written.kind and options is None:
        known = ", ".join(f'"{kind}"' for kind in review.sources)
        review.refuse(at(where, "Kind"), f"expected one of {known}, found {describe(written.kind)}.")
    if options is not None:
        defaults = source_defaults_of(options)
    else:
        # The kind that was meant may have a path of its own.
        defaults = SourceDefaults(path="/" if written.kind or "Kind" in left_out else None)
    source = attrs.evolve(written, path=written.path or defaults.path)
    # What routes say may stand for what the source does.
    is_complete = "Routes" not in left_out and _is_complete(source, written, defaults, where, review)
    if options is None:
        return None
    chosen = written.options if isinstance(written.options, Chosen) else Chosen(options, {})
    own = converter.read_options(chosen, at(where, "Options"), review)
    if not is_complete or left_out:
        return None
    _judge_shape(written.shape, written.shape, where, review)
    source = attrs.evolve(
        source,
        secret=review.try_secret(at(where, "Secret"), written.secret),
        routes=tuple(_routes(written, where, review)),
        has_ids=defaults.has_ids,
        options=own,
    )
    return own.check(source, lambda member: at(where, member), review) if isinstance(own, SourceCheck) else source


def _with_target(source: EventSource, where: str, targets: tuple[Target, ...], review: Review) -> EventSource:
    """With the target that its options name, which has to be one of its server's."""
    if source.target_name is None or source.target_name in review.unmade:
        return source
    wanted = source_defaults_of(review.sources[source.kind]).target_kind
    found = next((target for target in targets if target.name == source.target_name), None)
    if found is None or found.kind != wanted:
        what = "there is none of that name" if found is None else f"that one is of the kind {found.kind}"
        place = at(at(where, "Options"), "Target")
        review.refuse(place, f"expected a target of the kind {wanted}, found {describe(source.target_name)}; {what}.")
        return source
    return attrs.evolve(source, target=found)


def _is_complete(
    source: EventSource, written: EventSource, defaults: SourceDefaults, where: str, review: Review
) -> bool:
    """Whether nothing is missing. What has no use for this kind is a problem too."""
    # Where each route has one of its own, that of the source would never count.
    queue = source.queue or all(route.queue for route in source.routes or _NO_ROUTES)
    job_class = source.job_class or all(route.job_class for route in source.routes or _NO_ROUTES)
    members: dict[str, object] = {"Kind": source.kind, "Path": source.path, "Queue": queue, "Class": job_class}
    must = _MUST_POSTED
    if defaults.is_reader:
        del members["Path"]
        must = _MUST
        if written.path:
            review.refuse(at(where, "Path"), f"has no use: a source of the kind {source.kind} fetches by itself.")
    if (defaults.is_reader or defaults.is_signed) and source.secret is not None:
        review.refuse(_place_of_secret(source, where), f"has no use for the kind {source.kind}; see its Options.")
    for member in [member for member, value in members.items() if not value]:
        review.refuse(at(where, member), f"is missing or empty; {must}.")
    return all(members.values())


def _place_of_secret(written: EventSource, where: str) -> str:
    return at(where, "Secret" if written.secret is None or written.secret.path is None else "SecretFile")


def _routes(source: EventSource, where: str, review: Review) -> Iterator[Route]:
    """Each with what it takes from its source."""
    under = source.shape
    for number, route in enumerate(source.routes):
        own = route.shape
        shape = Shape({**under.fields, **own.fields}, {**under.names, **own.names}, (*under.omit, *own.omit))
        _judge_shape(shape, own, at(where, f"Routes[{number}]"), review)
        queue, job_class = route.queue or source.queue, route.job_class or source.job_class
        yield attrs.evolve(route, queue=queue, job_class=job_class, shape=shape)


def _judge_shape(shape: Shape, written: Shape, where: str, review: Review) -> None:
    taken = {member: shape.names.get(member, member) for member in EVENT_MEMBERS if member not in shape.omit}
    for member, name in written.names.items():
        if list(taken.values()).count(name) > 1:
            review.refuse(at(at(where, "Names"), member), f"{name!r} is another member's name.")
        if member in BODY_NAMES and name not in BODY_NAMES:
            known = ", ".join(sorted(BODY_NAMES))
            why = "restbroker would not know it for a text that it may not show"
            review.refuse(at(at(where, "Names"), member), f"expected one of {known}, found {name!r}; {why}.")
    for name in written.fields:
        if name in taken.values():
            review.refuse(at(at(where, "Fields"), name), "is a member of events; choose another name.")


def _judge(source: EventSource, where: str, owners: dict[str, str], paths: dict[str, str], review: Review) -> None:
    if source.path is not None:
        first = paths.setdefault(source.path, where)
        if first != where:
            review.refuse(at(where, "Path"), f"is also {review.named(at(first, 'Path'))}; each source needs its own.")
    routes = [(at(where, f"Routes[{number}]"), route.queue) for number, route in enumerate(source.routes)]
    named = [(where, source.queue), *((place, queue) for place, queue in routes if queue != source.queue)]
    for place, queue in named:
        if queue in owners:
            why = f"the target {owners[queue]} serves the queue {queue!r}, so that every event would be"
            review.refuse(at(place, "Queue"), f"{why} taken for a command; name a queue of your application.")


def _judge_alone(source: EventSource, where: str, readers: dict[tuple[str | None, str], str], review: Review) -> None:
    """Two sources would take each other's events."""
    for user in source.alone:
        first = readers.setdefault((source.target_name, user), where)
        if first != where:
            place = at(at(where, "Options"), "Users")
            review.refuse(place, f"{user!r} is also one of {review.named(first)}; of a user one source is told.")


def _judge_more(source: EventSource, where: str, owners: dict[str, str], review: Review) -> None:
    """Looks at the queues that only its kind knows."""
    for member, queue in source.more_queues:
        if queue in owners:
            why = f"the target {owners[queue]} serves the queue {queue!r}"
            review.refuse(at(at(where, member), "Queue"), f"{why}; name a queue of your application.")


def _judge_secret(source: EventSource, written: EventSource, where: str, review: Review) -> None:
    """Of a source that others can reach."""
    if source_defaults_of(review.sources[source.kind]).is_signed:
        return
    place = _place_of_secret(written, where)
    if written.secret is None:
        cure = "use SecretFile, or listen on a loopback address"
        review.refuse(place, f"is missing or empty, and Listen is open to others; {cure}.")
    elif source.secret is not None and len(source.secret.reveal()) < LEAST_SECRET:
        why = "Listen is open to others, who could guess it"
        review.refuse(place, f"expected at least {LEAST_SECRET} characters, found fewer; {why}.")
