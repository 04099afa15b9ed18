"""Judges the targets: the flat keys, which make one, and the entries of `Targets`.

Called by `config.core`. Always holds: each queue belongs to one target, and the place of a problem is what the
operator wrote, a flat key or a member of `Targets`.
"""

from collections.abc import Callable, Mapping, Sequence

import attrs

from restbroker.config import reader
from restbroker.config.flat import Flat, place_of
from restbroker.config.key import Members
from restbroker.config.kind import At, TargetCheck, defaults_of
from restbroker.config.logins import login, tell_plain
from restbroker.config.objects import TargetKeys
from restbroker.config.review import Review, at
from restbroker.config.target import Credentials, Target
from restbroker.config.tls import tls_files
from restbroker.config.urls import BadUrl, RestAddress, rest_address
from restbroker.config.values import describe
from restbroker.job.json_types import Json


@attrs.frozen
class _Written:
    """A target as written. `at` names the place of a member; `login` judges how to log in."""

    name: str
    keys: TargetKeys
    at: At
    login: Callable[[RestAddress], Credentials]

    def queue_places(self) -> list[str]:
        """The place of each queue."""
        if self.at("Queues") == "RestQueue":
            return ["RestQueue"]
        if isinstance(self.keys.queues, Mapping):
            return [at(self.at("Queues"), queue) for queue in self.keys.queues]
        return [f"{self.at('Queues')}[{number}]" for number in range(len(self.keys.queues))]


def check_targets(
    flat: Flat,
    given: Sequence[str],
    entries: Mapping[str, TargetKeys],
    kinds: Mapping[str, Members],
    review: Review,
    *,
    response_queue: str | None,
) -> tuple[Target, ...]:
    """Every target, that of the flat keys first. `given`: the flat keys that somebody wrote.

    `response_queue`: none of their queues may be it.
    """
    written: list[_Written] = []
    # The flat keys mean one server, of the first kind.
    kind = next(iter(kinds))
    if given or not entries:
        if flat.rest_queue is None:
            why = "it is the queue to serve"
            if entries:
                first = review.named(given[0])
                why = f"{first} belongs to a target of its own beside Targets; give it a queue, or move it into Targets"
            review.refuse("RestQueue", f"is missing or empty; {why}.")
        written.append(_Written(kind, flat.entry(kind, review), place_of, lambda address: flat.login(address, review)))
    for name, entry in entries.items():
        written.append(_entry(name, entry, review))
        if given and name == kind:
            cure = "choose another name, or move those keys into it"
            first = review.named(given[0])
            review.refuse(at("Targets", name), f"is the target that {first} and the other flat keys make; {cure}.")
    _judge_queues(written, response_queue, review)
    found = [_target(target, kinds, review) for target in written]
    return tuple(target for target in found if target is not None)


def _entry(name: str, entry: TargetKeys, review: Review) -> _Written:
    place = at("Targets", name)
    for member, value in (("Kind", entry.kind), ("URL", entry.url), ("Queues", entry.queues)):
        if not value:
            review.refuse(at(place, member), "is missing or empty; each target needs Kind, URL and Queues.")
    return _Written(
        name, entry, lambda member: at(place, member), lambda address: login(entry.auth, address, place, review)
    )


def _target(written: _Written, kinds: Mapping[str, Members], review: Review) -> Target | None:
    keys = written.keys
    if not keys.url or not keys.kind:
        return None
    if keys.kind not in kinds:
        known = ", ".join(f'"{kind}"' for kind in kinds)
        review.refuse(written.at("Kind"), f"expected one of {known}, found {describe(keys.kind)}.")
        return None
    address = _address(written, keys.url, review)
    if address is None:
        return None
    credentials = written.login(address)
    if credentials is not None:
        tell_plain(address.url, review)
    given: Mapping[str, Json] = keys.options if isinstance(keys.options, Mapping) else {}
    problems = len(review.problems)
    defaults = defaults_of(kinds[keys.kind])
    options = reader.read(kinds[keys.kind], given, written.at("Options"), review)
    target = Target(
        name=written.name,
        kind=keys.kind,
        url=address.url,
        queues=tuple(keys.queues),
        weights=keys.queues if isinstance(keys.queues, Mapping) else {},
        credentials=credentials,
        host_header=keys.host_header or (keys.domain if defaults.domain_is_host else None),
        default_host=keys.domain,
        **keys.limits.of(defaults),
        tls=tls_files(keys.tls, written.at("TLS"), written.at("URL"), review, is_used=address.url.scheme == "https"),
        options=options,
    )
    # What could not be read would be judged as missing.
    is_read = len(review.problems) == problems
    return options.check(target, written.at, review) if is_read and isinstance(options, TargetCheck) else target


def _address(written: _Written, text: str, review: Review) -> RestAddress | None:
    place = written.at("URL")
    try:
        address = rest_address(text)
    except BadUrl as bad:
        review.refuse(place, str(bad))
        return None
    if address.assumed_http:
        review.note("NoScheme", f"{place} names no scheme; using {address.url}.", "Write the whole URL.")
    return address


def _judge_queues(written: list[_Written], response_queue: str | None, review: Review) -> None:
    owners: dict[str, tuple[str, str]] = {}
    for target in written:
        for place, queue in zip(target.queue_places(), target.keys.queues, strict=False):
            if queue not in owners:
                owners[queue] = (target.name, place)
                continue
            owner, first = owners[queue]
            why = "name it once" if owner == target.name else "a queue belongs to one target"
            review.refuse(place, f"the queue {queue!r} is also {review.named(first)}; {why}.")
    if response_queue in owners:
        place = review.named(owners[response_queue][1])
        review.refuse("ResponseQueue", f"is the same as {place}, so that every answer would become a job.")
