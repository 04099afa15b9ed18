"""Check the section `Events` of the configuration; called by `config.core`.

Always holds: a source has all that it needs, or each problem is named; a job that is made of an event cannot come back
to a target of this broker.
"""

from collections.abc import Iterator
from typing import TypeVar

import attrs

from restbroker.config.events import Events, EventSource, Handover, Route, Shape
from restbroker.config.forms import Bind
from restbroker.config.kind import SourceCheck, SourceDefaults, source_defaults_of, unknown_kind
from restbroker.config.problems import Problems, at
from restbroker.config.secret import place_of
from restbroker.config.target import Target, Url
from restbroker.config.tls import cert_files
from restbroker.config.urls import is_loopback
from restbroker.config.values import describe
from restbroker.job.event import EVENT_MEMBERS, EVENT_TYPES
from restbroker.job.names import BODY_NAMES
from restbroker.kinds import HTTP

LEAST_SECRET = 16
_COMMANDS = "Restbroker"
"""The class of jobs that are commands."""
_Handed = TypeVar("_Handed", EventSource, Route)
_MUST = "each source needs Kind, Queue and Class"
_BESIDE = "is given together with Target; keep one of the two, since an event goes to one place."
_ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104  nothing is bound to them here
_MUST_POSTED = "each source needs Kind, Path, Queue and Class"


def check_events(events: Events, targets: tuple[Target, ...], problems: Problems) -> Events:
    """Return the section `Events` as it is to be used, every source checked; problems and notes go to `problems`."""
    place = at("Events", "Sources")
    if not events.sources:
        problems.refuse(place, "is missing or empty; name at least one source, or remove Events.")
    owners = {queue: target.name for target in targets for queue in target.queues}
    is_open = not is_loopback(events.listen[0])
    firsts: dict[object, str] = {}
    found: list[EventSource] = []
    listens = [events.listen, *(source.listen for source in events.sources if source.listen is not None)]
    for written in events.sources:
        where = at(place, written.name)
        source = _with_target(_source(written, where, problems), where, targets, problems)
        source = _with_handovers(source, where, targets, listens, problems)
        _check_queues(source, where, owners, problems)
        _check_alone(source, where, firsts, problems)
        _classify_listen(source, where, problems)
        if is_open and source.listen is None and source.path is not None and not _defaults(source, problems).is_signed:
            _check_secret(source, written, where, problems)
        found.append(source)
    tls = cert_files(events.tls, "Events", problems)
    if is_open and events.tls is None:
        _note_plain(events.listen[0], [source for source in found if source.listen is None], problems)
    return Events(events.listen, tuple(found), tls)


def _defaults(source: EventSource, problems: Problems) -> SourceDefaults:
    options = problems.sources.get(source.kind)
    return SourceDefaults() if options is None else source_defaults_of(options)


def _note_plain(host: str, sources: list[EventSource], problems: Problems) -> None:
    """Note in `problems` which of these sources lose by listening without TLS on `host`, which other machines reach."""
    if any(source.secret is not None for source in sources):
        problems.note(
            "PlainEvents",
            f"The secrets of events on {host} go unencrypted.",
            "Give Events a CertFile and a KeyFile; or listen on a loopback address, behind a reverse proxy with TLS.",
        )
    for source in sources:
        if _defaults(source, problems).is_signed:
            message = f"Servers post to sources like {source.name} only over TLS, and Listen of Events has none."
            problems.note("SignedWithoutTLS", message, "Give Events a CertFile and a KeyFile.")


def _source(written: EventSource, where: str, problems: Problems) -> EventSource:
    """Return the source as it is to be used; if it has problems, with as much as the checks of others need."""
    members = problems.sources.get(written.kind)
    if written.kind and members is None:
        problems.refuse(at(where, "Kind"), unknown_kind(problems.sources, written.kind, written.options))
    defaults = _defaults(written, problems)
    source = attrs.evolve(written, path=written.path or defaults.path)
    _refuse_missing(source, written, defaults, where=where, problems=problems)
    _check_shape(written.shape, written.shape, where, problems)
    source = attrs.evolve(
        source,
        secret=problems.try_secret(at(where, "Secret"), written.secret),
        routes=tuple(_routes(written, where, problems)),
        has_ids=defaults.has_ids,
    )
    if not defaults.has_own_types:
        _check_types(source, where, problems)
    if members is None:
        return source
    own = members() if written.options is None else written.options
    source = attrs.evolve(source, options=own)
    return own.check(source, lambda member: at(where, member), problems) if isinstance(own, SourceCheck) else source


def _check_types(source: EventSource, where: str, problems: Problems) -> None:
    """Refuse types that no event of such a source has."""
    filters = {at(where, "Only"): source.only, at(where, "Except"): source.excluded}
    for place, route in _placed_routes(source, where):
        filters |= {at(place, "Only"): route.only, at(place, "Except"): route.excluded}
    for place, wanted in filters.items():
        for number, found in enumerate(wanted.types):
            if found not in EVENT_TYPES:
                expected = f"expected one of {', '.join(EVENT_TYPES)}, found {describe(found)}."
                problems.refuse(f"{at(place, 'Types')}[{number}]", expected)


def _with_target(source: EventSource, where: str, targets: tuple[Target, ...], problems: Problems) -> EventSource:
    """Return the source with the `Target` that its options name, which must be of the kind that the source needs.

    Without such a target, refuse the name and return the source as it is.
    """
    if source.target_name is None:
        return source
    wanted = _defaults(source, problems).target_kind
    found = next((target for target in targets if target.name == source.target_name), None)
    if found is not None and found.kind in ("", wanted):
        return attrs.evolve(source, target=found)
    what = "there is no target of that name" if found is None else f"that one is of the kind {found.kind}"
    text = f"expected a target of the kind {wanted}, found {describe(source.target_name)}; {what}."
    problems.refuse(at(where, "Options.Target"), text)
    return source


def _with_handovers(
    source: EventSource, where: str, targets: tuple[Target, ...], listens: list[Bind], problems: Problems
) -> EventSource:
    """Return the source with the queue of the target for each event that becomes a command."""
    if source.handover.target and source.more_queues:
        problems.refuse(at(where, "Target"), "is given together with the queues of Options; keep one of the two.")
    routes = [
        _handed_over(source, route, where if route.handover == source.handover else place, targets, listens, problems)
        for place, route in _placed_routes(source, where)
    ]
    return attrs.evolve(_handed_over(source, source, where, targets, listens, problems), routes=tuple(routes))


def _handed_over(
    source: EventSource, one: _Handed, where: str, targets: tuple[Target, ...], listens: list[Bind], problems: Problems
) -> _Handed:
    """Return the source or its route; if its events become commands, with the target's first queue and their class."""
    said = one.handover
    if said == Handover():
        return one
    for member, value in (("Target", said.target), ("Command", said.command)):
        if not value:
            problems.refuse(at(where, member), "is missing or empty; an event that becomes a command needs both.")
    may_command, place = _defaults(source, problems).may_command, at(where, "Target")
    usable = {target.name: target for target in targets if may_command or target.kind == HTTP}
    found = usable.get(said.target)
    if found is None:
        of_kind, known = "" if may_command else " of the kind http", ", ".join(usable) or "there is none"
        problems.refuse(place, f"expected the name of a target{of_kind} ({known}), found {describe(said.target)}.")
        return one
    if said.arguments and not may_command:
        problems.refuse(at(where, "Arguments"), "has no effect: only events of the kind webhook have Arguments.")
    if not said.arguments and found.kind != HTTP:
        why = f"is missing or empty; the kind {found.kind} gets nothing of what is posted but by these templates."
        problems.refuse(at(where, "Arguments"), why)
    if any(_is_at(found.url, listen) for listen in listens):
        problems.refuse(place, f"{found.name} is where these events are received, so each would come again for ever.")
    return attrs.evolve(one, queue=found.queues[0], job_class=_COMMANDS)


def _is_at(url: Url, listen: Bind) -> bool:
    """Tell whether a request to this address reaches the one that is listened on, as far as names tell."""
    here = listen[0] in _ALL_ADDRESSES or is_loopback(listen[0])
    return url.socket is None and url.port == listen[1] and (url.host == listen[0] or (here and is_loopback(url.host)))


def _refuse_missing(
    source: EventSource, written: EventSource, defaults: SourceDefaults, where: str, problems: Problems
) -> None:
    """Refuse each member that is missing, and each member for which the source's kind has no use."""

    def is_handed(one: EventSource | Route) -> bool:
        return bool(one.handover.target or one.handover.command)

    members: dict[str, object] = {
        "Kind": source.kind,
        "Path": source.path,
        # Where each route has one of its own, that of the source would never count.
        "Queue": source.queue or (source.routes and all(route.queue or is_handed(route) for route in source.routes)),
        "Class": source.job_class
        or (source.routes and all(route.job_class or is_handed(route) for route in source.routes)),
    }
    if is_handed(source):
        for member in ("Queue", "Class"):
            if members.pop(member):
                problems.refuse(at(where, member), _BESIDE)
    must = _MUST_POSTED
    if defaults.is_reader:
        del members["Path"]
        must = _MUST
        if written.path:
            problems.refuse(at(where, "Path"), f"has no effect: a source of kind {source.kind} fetches events itself.")
    if (defaults.is_reader or defaults.is_signed) and source.secret is not None:
        problems.refuse(
            place_of(at(where, "Secret"), source.secret), f"has no effect for the kind {source.kind}; see its Options."
        )
    if source.kind not in problems.sources:
        # That kind may have a path of its own, or need none.
        del members["Path"]
    for member in [member for member, value in members.items() if not value]:
        problems.refuse(at(where, member), f"is missing or empty; {must}.")


def _routes(source: EventSource, where: str, problems: Problems) -> Iterator[Route]:
    """Yield each route, completed by the queue, class, command, fields, names and omissions of its source."""
    under = source.shape
    for place, route in _placed_routes(source, where):
        own = route.shape
        shape = Shape({**under.fields, **own.fields}, {**under.names, **own.names}, (*under.omit, *own.omit))
        _check_shape(shape, own, place, problems)
        queue, job_class, handover = route.queue or source.queue, route.job_class or source.job_class, route.handover
        adds = attrs.evolve(handover, arguments=Handover().arguments) == Handover()
        if adds and not (route.queue or route.job_class):
            handover = attrs.evolve(source.handover, arguments={**source.handover.arguments, **handover.arguments})
        elif handover != Handover() and (route.queue or route.job_class):
            problems.refuse(at(place, "Queue" if route.queue else "Class"), _BESIDE)
        elif source.handover.target and handover == Handover() and not (queue and job_class):
            problems.refuse(at(place, "Class" if queue else "Queue"), "is missing or empty: the source has a Target.")
        yield attrs.evolve(route, queue=queue, job_class=job_class, shape=shape, handover=handover)


def _placed_routes(source: EventSource, where: str) -> Iterator[tuple[str, Route]]:
    """Yield each route of the source at `where` with its place."""
    return ((f"{at(where, 'Routes')}[{number}]", route) for number, route in enumerate(source.routes))


def _check_shape(shape: Shape, written: Shape, where: str, problems: Problems) -> None:
    """Refuse names and fields that collide with each other or with the members of events.

    `written` is what stands at `where` itself; `shape` is that together with the shape of the source.
    """
    taken = {member: shape.names.get(member, member) for member in EVENT_MEMBERS if member not in shape.omit}
    for member, name in written.names.items():
        place = at(at(where, "Names"), member)
        if member in BODY_NAMES and name not in BODY_NAMES:
            known = ", ".join(sorted(BODY_NAMES))
            why = "restbroker could not recognise and hide message texts under another name"
            problems.refuse(place, f"expected one of {known}, found {name!r}; {why}.")
        if list(taken.values()).count(name) > 1:
            problems.refuse(place, f"{name!r} is another member's name.")
    for name in written.fields:
        if name in taken.values():
            problems.refuse(at(at(where, "Fields"), name), "is a member of events; choose another name.")


def _check_queues(source: EventSource, where: str, owners: dict[str, str], problems: Problems) -> None:
    """Refuse each queue of the source, of its routes and of its kind (`more_queues`) that a target serves."""
    named = [
        (where, "" if source.handover.target else source.queue),
        *((at(where, member), queue) for member, queue in source.more_queues),
    ]
    plain = ((place, route) for place, route in _placed_routes(source, where) if not route.handover.target)
    named += [(place, route.queue) for place, route in plain if route.queue != source.queue]
    for place, queue in named:
        if queue in owners:
            why = f"the target {owners[queue]} serves the queue {queue!r}, so that every event would be"
            problems.refuse(at(place, "Queue"), f"{why} taken for a command; name a queue of your application.")


def _check_alone(source: EventSource, where: str, firsts: dict[object, str], problems: Problems) -> None:
    """Refuse a path, or a user of a target, that an earlier source has: the two would take each other's events.

    `firsts` has the source that was the first to have one.
    """
    if source.path is not None and (first := firsts.setdefault(source.path, where)) != where:
        other = problems.as_written(at(first, "Path"))
        problems.refuse(at(where, "Path"), f"is also {other}; each source needs its own.")
    for user in source.alone:
        if (first := firsts.setdefault((source.target_name, user), where)) != where:
            why = f"{user!r} is also one of {problems.as_written(first)}; a user belongs to one source."
            problems.refuse(at(where, "Options.Users"), why)


def _classify_listen(source: EventSource, where: str, problems: Problems) -> None:
    if source.listen is None:
        return
    if source.path is None:
        problems.refuse(at(where, "Listen"), f"has no effect: a source of kind {source.kind} fetches events itself.")
    elif not is_loopback(source.listen[0]):
        why = "it has no TLS; use Listen of Events for other machines"
        problems.refuse(at(where, "Listen"), f"expected a loopback address, found {source.listen[0]!r}; {why}.")


def _check_secret(source: EventSource, written: EventSource, where: str, problems: Problems) -> None:
    """Refuse a missing or short secret of a source that other machines can reach."""
    place = place_of(at(where, "Secret"), written.secret)
    if written.secret is None:
        hint = "use SecretFile, or listen on a loopback address"
        problems.refuse(place, f"is missing or empty, and Listen is open to others; {hint}.")
    elif source.secret is not None and len(source.secret.reveal()) < LEAST_SECRET:
        why = "other machines can reach Listen, and could guess it"
        problems.refuse(place, f"expected at least {LEAST_SECRET} characters, found fewer; {why}.")
