"""Judges `Events`. Called by `config.build`.

Always holds: a source has all that it needs, or each problem is named; a job that is made of an event cannot come back
to a target of this broker.
"""

from collections.abc import Mapping

from restbroker.config import reader
from restbroker.config.event_keys import OnlyKeys, SourceKeys
from restbroker.config.events import Events, EventSource, Only
from restbroker.config.judged import JudgingSource, SourceDefaults, source_defaults_of
from restbroker.config.key import Members
from restbroker.config.keys import Keys
from restbroker.config.review import Review, at
from restbroker.config.target import Target
from restbroker.config.urls import is_loopback
from restbroker.config.values import describe
from restbroker.rules.json_types import Json

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
    found: list[EventSource] = []
    for name, written in keys.events.sources.items():
        where = at(place, name)
        source = _source(name, written, where, kinds, review)
        if source is None:
            continue
        _judge(source, where, owners, paths, review)
        if is_open and source.path is not None:
            _judge_secret(source, written, where, kinds, review)
        found.append(source)
    if is_open and any(source.secret is not None for source in found):
        review.note(
            "PlainEvents",
            f"The secrets of events on {keys.events.listen[0]} go unencrypted.",
            "Listen on a loopback address, with a reverse proxy with TLS in front of it.",
        )
    return Events(keys.events.listen, tuple(found))


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
    own = reader.unfolded(options, given, at(where, "Options"), review)
    source = EventSource(
        name=name,
        kind=written.kind,
        path=path,
        queue=written.queue or "",
        job_class=written.job_class or "",
        secret=review.secret(at(where, "Secret"), written.secret, written.secret_file),
        window_s=written.drop_duplicates,
        only=_only(written.only),
        iq=written.iq,
        has_ids=defaults.has_ids,
        options=own,
    )
    # What could not be read would be judged as missing.
    if len(review.problems) > problems or not isinstance(own, JudgingSource):
        return source
    return own.judged(source, lambda member: at(where, member), review)


def _is_complete(written: SourceKeys, path: str | None, defaults: SourceDefaults, where: str, review: Review) -> bool:
    """Whether nothing is missing. What has no use for this kind is a problem too."""
    members = {"Kind": written.kind, "Path": path, "Queue": written.queue, "Class": written.job_class}
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
    for member, value in members.items():
        if not value:
            review.refuse(at(where, member), f"is missing or empty; {must}.")
    return all(members.values())


def _only(written: OnlyKeys | None) -> Only:
    return Only() if written is None else Only(written.types, written.sender, written.receiver)


def _judge(source: EventSource, where: str, owners: dict[str, str], paths: dict[str, str], review: Review) -> None:
    if source.path is not None:
        first = paths.setdefault(source.path, where)
        if first != where:
            review.refuse(at(where, "Path"), f"is also {review.named(at(first, 'Path'))}; each source needs its own.")
    if source.queue in owners:
        why = f"the target {owners[source.queue]} serves the queue {source.queue!r}, so that every event would be"
        review.refuse(at(where, "Queue"), f"{why} taken for a command; name a queue of your application.")


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
