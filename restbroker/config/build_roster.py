"""Judges the section `Roster`. Called by `config.build`.

Always holds: rosters that others can reach ask for a login, and the target that refreshes them is one that can.
"""

import re
from collections.abc import Sequence

from restbroker.config.logins import basic_login
from restbroker.config.review import Review, at
from restbroker.config.roster import KIND, LONGEST_S, USER, QueryKey, Roster
from restbroker.config.roster_keys import QueryKeyKeys, RosterAuthKeys, RosterKeys
from restbroker.config.target import Basic, Target
from restbroker.config.urls import is_loopback

_KEY = re.compile(r"[A-Za-z0-9._~+/=-]+", re.ASCII)
_SHARE = 0.8
"""Of the time that a refresh may take: so much of it Prosody may wait for a roster."""
_CURE = "give Auth, or use a loopback address"


def build_roster(keys: RosterKeys | None, targets: Sequence[Target], review: Review) -> Roster | None:
    """The section; None where there is none. `targets`: those that could be made."""
    if keys is None:
        return None
    auth = None if keys.auth is None else _auth(keys.auth, review)
    host, port = keys.listen
    if not is_loopback(host):
        if keys.auth is None:
            review.refuse("Roster.Listen", f"{host} is open to others, and rosters have no login; {_CURE}.")
        else:
            review.note(
                "PlainRosters",
                f"Rosters, and the login for them, go unencrypted from {host}.",
                "Listen on a loopback address, or let only Prosody reach this one.",
            )
    target = _target(keys.target, targets, review)
    domain = keys.domain or (target.default_host if target is not None else None)
    return Roster(
        bind=(host, port),
        path=keys.path if USER in keys.path else f"{keys.path.rstrip('/')}/{USER}",
        served=keys.serve,
        domain=None if domain is None else domain.lower(),
        target=keys.target,
        auth=auth,
        longest_s=min([LONGEST_S, *(one.timeout_s * _SHARE for one in targets if one.kind == KIND)]),
    )


def _target(name: str | None, targets: Sequence[Target], review: Review) -> Target | None:
    if name is None:
        able = [target.name for target in targets if target.kind == KIND and not target.is_local]
        if able:
            review.note(
                "NoRosterTarget",
                "Roster names no Target: nobody tells Prosody of changes, and users see them at their next login.",
                f'Add "Target": "{able[0]}" to it.',
            )
        return None
    found = next((target for target in targets if target.name == name), None)
    if found is None and not review.problems:
        known = ", ".join(target.name for target in targets)
        review.refuse("Roster.Target", f"there is no target {name!r}; these are configured: {known}.")
    elif found is not None and found.kind != KIND:
        review.refuse("Roster.Target", f"the target {name!r} is of kind {found.kind}; only {KIND} refreshes rosters.")
    elif found is not None and found.is_local:
        review.refuse("Roster.Target", f"the target {name!r} has WritesOnly, and refreshes nothing; name another.")
    return found


def _auth(keys: RosterAuthKeys, review: Review) -> Basic | QueryKey | None:
    where = "Roster.Auth"
    if keys.basic is not None:
        return basic_login(keys.basic, at(where, "Basic"), review)
    if keys.key is not None:
        return _key(keys.key, at(where, "Key"), review)
    review.refuse(where, "is empty; give exactly one of Basic and Key, or take it out.")
    return None


def _key(keys: QueryKeyKeys, place: str, review: Review) -> QueryKey | None:
    where = at(place, "Value")
    if not keys.value and keys.value_file is None:
        review.refuse(where, "is missing or empty; it is the key that stands in the address (or use ValueFile).")
        return None
    value = review.secret(where, keys.value, keys.value_file)
    if value is None:
        return None
    if not _KEY.fullmatch(value.reveal()):
        review.refuse(where, "must be of letters, digits and . _ ~ + / = - only, since it stands in an address.")
    return QueryKey(value)
