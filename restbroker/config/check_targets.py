"""Judges the targets: the flat keys, which make one, and the entries of `Targets`.

Called by `config.core`. Always holds: each queue belongs to one target, and the place of a problem is what the
operator wrote, a flat key or a member of `Targets`.
"""

from collections.abc import Callable, Mapping, Sequence

import attrs

from restbroker.config import converter
from restbroker.config.flat import Flat, place_of
from restbroker.config.form import Chosen
from restbroker.config.kind import At, TargetCheck, defaults_of
from restbroker.config.logins import login, tell_plain
from restbroker.config.review import Review, at
from restbroker.config.target import Credentials, Target, TlsFiles, Written
from restbroker.config.urls import BadUrl, RestAddress, rest_address
from restbroker.config.values import describe


@attrs.frozen
class _Placed:
    """A target as written. `at` names the place of a member; `login` judges how to log in, also without an address."""

    target: Target
    at: At
    login: Callable[[RestAddress | None], Credentials]

    def queue_places(self) -> list[str]:
        """The place of each queue."""
        if self.at("Queues") == "RestQueue":
            return ["RestQueue"]
        if isinstance(self.target.written.queues, Mapping):
            return [at(self.at("Queues"), queue) for queue in self.target.written.queues]
        return [f"{self.at('Queues')}[{number}]" for number in range(len(self.target.written.queues))]


def check_targets(
    flat: Flat,
    given: Sequence[str],
    entries: Sequence[Target],
    review: Review,
    *,
    response_queue: str | None,
) -> tuple[Target, ...]:
    """Every target, that of the flat keys first. `given`: the flat keys that somebody wrote.

    `response_queue`: none of their queues may be it.
    """
    written: list[_Placed] = []
    # The flat keys mean one server, of the first kind.
    kind = next(iter(review.kinds))
    if given or not entries:
        if flat.rest_queue is None:
            why = "it is the queue to serve"
            if entries:
                first = review.named(given[0])
                why = f"{first} belongs to a target of its own beside Targets; give it a queue, or move it into Targets"
            review.refuse("RestQueue", f"is missing or empty; {why}.")
        written.append(_Placed(flat.entry(kind, review), place_of, lambda address: _flat_login(flat, address, review)))
    for entry in entries:
        written.append(_entry(entry, review))
        if given and entry.name == kind:
            cure = "choose another name, or move those keys into it"
            first = review.named(given[0])
            review.refuse(at("Targets", kind), f"is the target that {first} and the other flat keys make; {cure}.")
    _judge_queues(written, response_queue, review)
    found = [_target(placed, review) for placed in written]
    review.unmade |= {placed.target.name for placed, made in zip(written, found, strict=True) if made is None}
    return tuple(target for target in found if target is not None)


def _entry(entry: Target, review: Review) -> _Placed:
    place = at("Targets", entry.name)
    written = entry.written
    for member, value in (("Kind", entry.kind), ("URL", written.url), ("Queues", written.queues)):
        if not value:
            review.refuse(at(place, member), "is missing or empty; each target needs Kind, URL and Queues.")
    return _Placed(
        entry,
        lambda member: at(place, member),
        lambda address: login(written.auth, address or RestAddress(entry.url), place, review),
    )


def _flat_login(flat: Flat, address: RestAddress | None, review: Review) -> Credentials:
    # The wrong one may be where the login is.
    return None if address is None else flat.login(address, review)


def _target(placed: _Placed, review: Review) -> Target | None:
    target, written = placed.target, placed.target.written
    members = review.kinds.get(target.kind)
    if members is None and target.kind:
        known = ", ".join(f'"{kind}"' for kind in review.kinds)
        review.refuse(placed.at("Kind"), f"expected one of {known}, found {describe(target.kind)}.")
    address = _address(placed, written.url, review) if written.url else None
    credentials = placed.login(address)
    tls = _tls(target, placed, review, is_used=address is None or address.url.scheme == "https")
    if members is None:
        return None
    written_options = target.options if isinstance(target.options, Chosen) else Chosen(members, {})
    options = converter.read_options(written_options, placed.at("Options"), review)
    if address is None:
        return None
    if credentials is not None:
        tell_plain(address.url, review)
    defaults = defaults_of(members)
    target = attrs.evolve(
        target,
        written=Written(),
        url=address.url,
        queues=tuple(written.queues),
        weights=written.queues if isinstance(written.queues, Mapping) else {},
        credentials=credentials,
        host_header=target.host_header or (target.default_host if defaults.domain_is_host else None),
        concurrency=written.concurrency or defaults.concurrency,
        timeout_s=written.timeout_s or defaults.timeout_s,
        idle_expiry_s=written.idle_expiry_s or defaults.idle_expiry_s,
        at_most_once=written.at_most_once,
        tls=tls,
        options=options,
    )
    # A kind judges these together with others.
    is_whole = review.left_out_of(at("Targets", target.name)).isdisjoint(("Auth", "Domain", "URL", "Options"))
    return options.check(target, placed.at, review) if is_whole and isinstance(options, TargetCheck) else target


def _tls(target: Target, placed: _Placed, review: Review, *, is_used: bool) -> TlsFiles:
    if target.tls == TlsFiles():
        return target.tls
    from restbroker.config.tls import tls_files  # it loads `ssl`

    return tls_files(target.tls, placed.at("TLS"), placed.at("URL"), review, is_used=is_used)


def _address(placed: _Placed, text: str, review: Review) -> RestAddress | None:
    place = placed.at("URL")
    try:
        address = rest_address(text)
    except BadUrl as bad:
        review.refuse(place, str(bad))
        return None
    if address.assumed_http:
        review.note("NoScheme", f"{place} names no scheme; using {address.url}.", "Write the whole URL.")
    return address


def _judge_queues(written: list[_Placed], response_queue: str | None, review: Review) -> None:
    owners: dict[str, tuple[str, str]] = {}
    for placed in written:
        target = placed.target
        for place, queue in zip(placed.queue_places(), target.written.queues, strict=False):
            if queue not in owners:
                owners[queue] = (target.name, place)
                continue
            owner, first = owners[queue]
            why = "name it once" if owner == target.name else "a queue belongs to one target"
            review.refuse(place, f"the queue {queue!r} is also {review.named(first)}; {why}.")
    if response_queue in owners:
        place = review.named(owners[response_queue][1])
        review.refuse("ResponseQueue", f"is the same as {place}, so that every answer would become a job.")
