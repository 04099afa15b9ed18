"""Judges `Events`. Called by `config.build`.

Always holds: a source has all that it needs, or each problem is named; a job that is made of an event cannot come back
to a target of this broker.
"""

from collections.abc import Mapping

import attrs

from restbroker.config import reader
from restbroker.config.event_keys import FilterKeys, RouteKeys, SourceKeys
from restbroker.config.events import Events, EventSource, Route, Shape
from restbroker.config.judged import JudgingSource, SourceDefaults, source_defaults_of
from restbroker.config.key import Members
from restbroker.config.keys import Keys
from restbroker.config.review import Review, at
from restbroker.config.target import Target
from restbroker.config.tls import cert_files
from restbroker.config.urls import is_loopback
from restbroker.config.values import describe
from restbroker.job.event import EVENT_MEMBERS, Filter
from restbroker.job.json_types import Json
from restbroker.job.names import BODY_NAMES

LEAST_SECRET = 16
_MUST = "each source needs Kind, Queue and Class"
_MUST_POSTED = "each source needs Kind, Path, Queue and Class"


def build_events(
    keys: Keys, targets: tuple[Target, ...], kinds: Mapping[str, Members], review: Review
) -> Events | None:
    """The section; None where there is none, or there is a problem in `review`. `kinds`: those of sources."""
    if keys.events is None:
        return None
    place = at("Events", "Sources")
    if not keys.events.sources:
        review.refuse(place, "is missing or empty; name at least one source, or take Events out.")
    owners = {queue: target.name for target in targets for queue in target.queues}
    is_open = not is_loopback(keys.events.listen[0])
    paths: dict[str, str] = {}
    readers: dict[tuple[str | None, str], str] = {}
    found: list[EventSource] = []
    for name, written in keys.events.sources.items():
        where = at(place, name)
        source = _source(name, written, where, kinds, review)
        if source is None:
            continue
        source = _with_target(source, where, targets, kinds, review)
        _judge(source, where, owners, paths, review)
        _judge_alone(source, where, readers, review)
        _judge_more(source, where, owners, review)
        if is_open and source.path is not None:
            _judge_secret(source, written, where, kinds, review)
        found.append(source)
    tls = cert_files(keys.events.cert_file, keys.events.key_file, "Events", review)
    if is_open and keys.events.cert_file is None:
        _note_plain(keys.events.listen[0], found, kinds, review)
    return Events(keys.events.listen, tuple(found), tls)


def _note_plain(host: str, sources: list[EventSource], kinds: Mapping[str, Members], review: Review) -> None:
    """Others reach these sources without TLS."""
    if any(source.secret is not None for source in sources):
        review.note(
            "PlainEvents",
            f"The secrets of events on {host} go unencrypted.",
            "Give Events a CertFile and a KeyFile; or listen on a loopback address, behind a reverse proxy with TLS.",
        )
    for source in sources:
        if source_defaults_of(kinds[source.kind]).is_signed:
            message = f"Servers post to sources such as {source.name} over TLS alone, and Listen of Events has none."
            review.note("SignedWithoutTLS", message, "Give Events a CertFile and a KeyFile.")


def _source(
    name: str, written: SourceKeys, where: str, kinds: Mapping[str, Members], review: Review
) -> EventSource | None:
    if written.kind and written.kind not in kinds:
        known = ", ".join(f'"{kind}"' for kind in kinds)
        review.refuse(at(where, "Kind"), f"expected one of {known}, found {describe(written.kind)}.")
        return None
    options = kinds.get(written.kind or "")
    defaults = SourceDefaults() if options is None else source_defaults_of(options)
    path = written.path or defaults.path
    if not _is_complete(written, path, defaults, where, review) or options is None or written.kind is None:
        return None
    given: Mapping[str, Json] = written.options if isinstance(written.options, Mapping) else {}
    problems = len(review.problems)
    own: object = reader.read(options, given, at(where, "Options"), review)
    source = EventSource(
        name=name,
        kind=written.kind,
        path=path,
        queue=written.queue or "",
        job_class=written.job_class or "",
        secret=review.secret(at(where, "Secret"), written.secret, written.secret_file),
        window_s=written.drop_duplicates,
        own_s=written.drop_own,
        only=_filter(written.only),
        excluded=_filter(written.excluded),
        shape=_shape(written, Shape(), where, review),
        routes=_routes(written, where, review),
        iq=written.iq,
        has_ids=defaults.has_ids,
        options=own,
    )
    # What could not be read would be judged as missing.
    if len(review.problems) > problems or not isinstance(own, JudgingSource):
        return source
    return own.judged(source, lambda member: at(where, member), review)


def _with_target(
    source: EventSource, where: str, targets: tuple[Target, ...], kinds: Mapping[str, Members], review: Review
) -> EventSource:
    """With the target that its options name, which has to be one of its server's."""
    if source.target_name is None:
        return source
    wanted = source_defaults_of(kinds[source.kind]).target_kind
    found = next((target for target in targets if target.name == source.target_name), None)
    if found is None or found.kind != wanted:
        what = "there is none of that name" if found is None else f"that one is of the kind {found.kind}"
        place = at(at(where, "Options"), "Target")
        review.refuse(place, f"expected a target of the kind {wanted}, found {describe(source.target_name)}; {what}.")
        return source
    return attrs.evolve(source, target=found)


def _is_complete(written: SourceKeys, path: str | None, defaults: SourceDefaults, where: str, review: Review) -> bool:
    """Whether nothing is missing. What has no use for this kind is a problem too."""
    # Where each route has one of its own, that of the source would never count.
    queue = written.queue or all(route.queue for route in written.routes or (RouteKeys(),))
    job_class = written.job_class or all(route.job_class for route in written.routes or (RouteKeys(),))
    members: dict[str, object] = {"Kind": written.kind, "Path": path, "Queue": queue, "Class": job_class}
    must = _MUST_POSTED
    if defaults.is_reader:
        del members["Path"]
        must = _MUST
        if written.path:
            review.refuse(at(where, "Path"), f"has no use: a source of the kind {written.kind} fetches by itself.")
    if defaults.is_reader or defaults.is_signed:
        for member, value in {"Secret": written.secret, "SecretFile": written.secret_file}.items():
            if value:
                review.refuse(at(where, member), f"has no use for the kind {written.kind}; see its Options.")
    for member in [member for member, value in members.items() if not value]:
        review.refuse(at(where, member), f"is missing or empty; {must}.")
    return all(members.values())


def _filter(written: FilterKeys | None) -> Filter:
    return Filter() if written is None else Filter(written.types, written.sender, written.receiver, written.body)


def _routes(written: SourceKeys, where: str, review: Review) -> tuple[Route, ...]:
    shape = Shape(written.fields, written.names, written.omit)
    return tuple(
        Route(
            queue=route.queue or written.queue or "",
            job_class=route.job_class or written.job_class or "",
            only=_filter(route.only),
            excluded=_filter(route.excluded),
            shape=_shape(route, shape, at(where, f"Routes[{number}]"), review),
        )
        for number, route in enumerate(written.routes)
    )


def _shape(written: SourceKeys | RouteKeys, under: Shape, where: str, review: Review) -> Shape:
    """What is written together with what is said for all of the source's."""
    shape = Shape({**under.fields, **written.fields}, {**under.names, **written.names}, (*under.omit, *written.omit))
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
    return shape


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


def _judge_secret(
    source: EventSource, written: SourceKeys, where: str, kinds: Mapping[str, Members], review: Review
) -> None:
    """Of a source that others can reach."""
    if source_defaults_of(kinds[source.kind]).is_signed:
        return
    place = at(where, "Secret" if written.secret_file is None else "SecretFile")
    if source.secret is None:
        if written.secret_file is None:
            cure = "use SecretFile, or listen on a loopback address"
            review.refuse(place, f"is missing or empty, and Listen is open to others; {cure}.")
    elif len(source.secret.reveal()) < LEAST_SECRET:
        why = "Listen is open to others, who could guess it"
        review.refuse(place, f"expected at least {LEAST_SECRET} characters, found fewer; {why}.")
