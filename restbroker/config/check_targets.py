"""Check the targets: the one that the flat keys make, and the entries of `Targets`.

Called by `config.core`. Always holds: each queue belongs to one target, and the place of a problem is what the operator
wrote, a flat key or a member of `Targets`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from restbroker.config.flat import FlatKeys, place_of
from restbroker.config.key import Kinds, Members
from restbroker.config.kind import At, Defaults, TargetCheck, defaults_of, unknown_kind
from restbroker.config.logins import login, note_plain
from restbroker.config.problems import Problems, at
from restbroker.config.secret import Secret
from restbroker.config.target import Credentials, Proxy, Target, TlsFiles, Url, WrittenKeys, check_login
from restbroker.config.urls import BadUrl, RestAddress, rest_address
from restbroker.kinds import FLAT
from restbroker.light import frozen

_FAIR_WEIGHTS: Final = 200


@frozen
class _TargetEntry:
    """A target as it is written: `at` names the place of a member, `login` returns the credentials for an address."""

    target: Target
    at: At
    login: Callable[[RestAddress], Credentials]

    def queues(self) -> list[tuple[str, str]]:
        """Return a pair of place and queue for each queue of the target."""
        place, queues = self.at("Queues"), self.target.written.queues
        if place == "RestQueue":
            return [(place, queue) for queue in queues]
        if isinstance(queues, Mapping):
            return [(at(place, queue), queue) for queue in queues]
        return [(f"{place}[{number}]", queue) for number, queue in enumerate(queues)]


def check_targets(
    flat: FlatKeys,
    given: Sequence[str],
    entries: Sequence[Target],
    problems: Problems,
    *,
    response_queue: str | None,
) -> tuple[Target, ...]:
    """Return every target as it is to be used, the one of the flat keys first; problems and notes go to `problems`.

    `given` has the flat keys that the operator wrote. No target may serve `response_queue`.
    """
    written: list[_TargetEntry] = []
    if given or not entries:
        if flat.rest_queue is None:
            why = "it is the queue to serve"
            if entries:
                first = problems.as_written(given[0])
                why = f"{first} defines a target of its own next to Targets; give it a queue, or move it into Targets"
            problems.refuse("RestQueue", f"is missing or empty; {why}.")
        written.append(_TargetEntry(flat.entry(problems), place_of, lambda address: flat.login(address, problems)))
    for entry in entries:
        written.append(_entry(entry, problems))
        if given and entry.name == FLAT:
            hint = "choose another name, or move those keys into it"
            first = problems.as_written(given[0])
            problems.refuse(
                at("Targets", FLAT), f"has the name of the target that {first} and the other flat keys define; {hint}."
            )
    _check_queues(written, response_queue, problems)
    return tuple(_target(placed, problems) for placed in written)


def _entry(entry: Target, problems: Problems) -> _TargetEntry:
    place = at("Targets", entry.name)
    written = entry.written
    for member, value in (("Kind", entry.kind), ("URL", written.url), ("Queues", written.queues)):
        if not value:
            problems.refuse(at(place, member), "is missing or empty; each target needs Kind, URL and Queues.")
    return _TargetEntry(
        entry,
        lambda member: at(place, member),
        lambda address: login(written.auth, address, place, problems),
    )


def _target(placed: _TargetEntry, problems: Problems) -> Target:
    """Return the target as it is to be used; if it has problems, with as much as the checks of others need.

    Its kind, which needs its address and its login, judges it only if these are right.
    """
    target, written = placed.target, placed.target.written
    members = _members(placed, problems)
    before = len(problems.problems)
    address = _address(placed, written.url, problems)
    credentials = placed.login(address)
    can_connect = bool(written.url) and len(problems.problems) == before
    _check_fairness(placed, problems)
    _check_order(placed, problems)
    proxy = _proxy(placed, address.url, problems)
    tls = _tls(target, placed, problems, is_used=address.url.scheme == "https" or not can_connect)
    if credentials is not None:
        note_plain(address.url, problems)
    defaults = Defaults() if members is None else defaults_of(members)
    target = attrs.evolve(
        target,
        written=WrittenKeys(),
        url=address.url,
        queues=tuple(written.queues),
        weights=written.queues if isinstance(written.queues, Mapping) else {},
        credentials=credentials,
        login_in_url=address.credentials is not None
        and address.credentials in (credentials, getattr(credentials, "login", None)),
        host_header=target.host_header or (target.default_host if defaults.domain_is_host else None),
        concurrency=written.concurrency or defaults.concurrency,
        timeout_s=written.timeout_s or defaults.timeout_s,
        idle_expiry_s=written.idle_expiry_s or defaults.idle_expiry_s,
        at_most_once=written.at_most_once,
        tls=tls,
        proxy=proxy,
    )
    if members is None:
        return attrs.evolve(target, kind="")
    try:
        target = attrs.evolve(target, options=members() if target.options is None else target.options)
        judge = target.options
        return _judged(judge, target, placed, problems) if can_connect and isinstance(judge, TargetCheck) else target
    # The options of an installed package may raise anything; what those of our own raise is a bug, and goes on.
    except Exception as error:
        if not isinstance(problems.kinds, Kinds):
            raise
        problems.refuse(placed.at("Kind"), problems.kinds.failure_text(target.kind, error))
        return target


def _judged(judge: TargetCheck, target: Target, placed: _TargetEntry, problems: Problems) -> Target:
    """Return the target as its kind judges it, with each secret in its options among those that are masked."""
    target = judge.check(target, placed.at, problems)
    if target.public_only and target.proxy is not None:
        why = "needs AllowPrivate in Options: the proxy decides which addresses are reached, restbroker cannot."
        problems.refuse(placed.at("Proxy"), why)
    kind = type(target.options)
    fields = [field for field in attrs.fields(kind) if "secret" in field.metadata] if attrs.has(kind) else []
    values = [getattr(target.options, field.name) for field in fields]
    written = [part for part in values if isinstance(part, Secret) and (part.path is None or part.path.is_absolute())]
    return attrs.evolve(target, secrets=tuple(dict.fromkeys((*target.secrets, *written))))


def _check_fairness(placed: _TargetEntry, problems: Problems) -> None:
    target, place = placed.target, placed.at("FairWeights")
    weights = target.fair_weights
    if not weights:
        return
    if target.fair_by is None:
        problems.refuse(place, "needs FairBy, which says by what jobs take turns.")
    elif len(target.fair_by.names) > 1:
        problems.refuse(place, "needs a FairBy of one name: it gives a weight to each of its values.")
    if len(weights) > _FAIR_WEIGHTS:
        problems.refuse(place, f"has {len(weights)} entries; {_FAIR_WEIGHTS} are the limit.")


_ORDER_AND_FAIR = "must have the names of FairBy and one more: those whose jobs take turns have keys of their own."


def _check_order(placed: _TargetEntry, problems: Problems) -> None:
    target = placed.target
    if target.order_by is None:
        if target.on_dead != "go":
            problems.refuse(placed.at("OnDead"), "needs OrderBy, which says what is done in order.")
    elif target.fair_by is not None and not (
        target.fair_by.names and set(target.fair_by.names) < set(target.order_by.names)
    ):
        problems.refuse(placed.at("OrderBy"), _ORDER_AND_FAIR)


_A_PROXY = (
    "is the address of an HTTP proxy, such as http://proxy.example.org:3128, without a path; its login is given by "
    "ProxyUser and ProxyPassFile."
)


def _proxy(placed: _TargetEntry, url: Url, problems: Problems) -> Proxy | None:
    written, place = placed.target.written, placed.at("Proxy")
    keys = (placed.at("ProxyUser"), placed.at("ProxyPass"))
    login = check_login(written.proxy_user, written.proxy_pass, keys, problems)
    if written.proxy is None:
        if login is not None:
            problems.refuse(place, f"is missing, although {keys[0]} is given.")
        return None
    try:
        found = rest_address(written.proxy)
    except BadUrl:
        problems.refuse(place, _A_PROXY)
        return None
    if found.credentials or found.url.scheme != "http" or found.url.path or found.url.socket:
        problems.refuse(place, _A_PROXY)
    elif url.socket is not None:
        problems.refuse(place, "cannot be used with a unix socket as URL.")
    return Proxy(found.url.origin, login)


def _members(placed: _TargetEntry, problems: Problems) -> Members | None:
    """Return the class of the target's options; None, after a problem, for a kind that is missing or cannot be used."""
    kind = placed.target.kind
    try:
        return problems.kinds[kind] if kind else None
    except KeyError as error:
        problems.refuse(placed.at("Kind"), unknown_kind(problems.kinds, kind, placed.target.options, error))
        return None


def _tls(target: Target, placed: _TargetEntry, problems: Problems, *, is_used: bool) -> TlsFiles:
    if target.tls == TlsFiles():
        return target.tls
    from restbroker.config.tls import tls_files  # it loads `ssl`

    return tls_files(target.tls, placed.at("TLS"), placed.at("URL"), problems, is_used=is_used)


def _address(placed: _TargetEntry, text: str, problems: Problems) -> RestAddress:
    place = placed.at("URL")
    if not text:
        return RestAddress(placed.target.url)
    try:
        address = rest_address(text)
    except BadUrl as bad:
        problems.refuse(place, str(bad))
        return RestAddress(placed.target.url)
    if address.assumed_http:
        problems.note("NoScheme", f"{place} names no scheme; using {address.url}.", "Write the whole URL.")
    return address


def _check_queues(written: list[_TargetEntry], response_queue: str | None, problems: Problems) -> None:
    owners: dict[str, tuple[str, str]] = {}
    for placed in written:
        target = placed.target
        for place, queue in placed.queues():
            if queue not in owners:
                owners[queue] = (target.name, place)
                continue
            owner, first = owners[queue]
            why = "name it once" if owner == target.name else "a queue belongs to one target"
            problems.refuse(place, f"the queue {queue!r} is also {problems.as_written(first)}; {why}.")
    if response_queue in owners:
        place = problems.as_written(owners[response_queue][1])
        problems.refuse("ResponseQueue", f"is the same as {place}, so that every answer would become a job.")
