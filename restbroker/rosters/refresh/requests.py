"""Reads and checks the command of a job for rosters. Pure; the connector calls `read`.

Always holds: a command changes the roster of one user, and says how it is to be; no roster passes on which Prosody
would fail; a refusal names the wrong entry, with a hint.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from restbroker.job.command import Command
from restbroker.job.endpoint import kind_of, quote
from restbroker.job.json_types import Json
from restbroker.job.outcome import Reason
from restbroker.light import frozen
from restbroker.rosters.refresh import catalogue
from restbroker.rosters.rules import (
    BadRoster,
    as_stored,
    read_contact,
    read_jid,
    read_roster,
    read_user,
    require_writable,
)
from restbroker.rosters.store import RosterChange

_COMMANDS: Final = catalogue.for_version(None).commands
_NEEDED: Final = {
    "user": "Name the roster's user.",
    "jid": "Name the contact.",
    "contacts": 'Give {"JID": {"name": "…", "groups": […]}}.',
}
_NO_TEXT: Final = (
    "Give the object itself: `restbroker enqueue` takes it as contacts:='{\"JID\": {…}}', with := for JSON."
)


@frozen
class Refresh:
    """Prosody is to refresh these users' rosters; each user is there once. `at_once`: without the debounce."""

    users: tuple[str, ...]
    at_once: bool = False


@frozen
class Show:
    """The roster of this user of `domain` is to be returned."""

    user: str
    domain: str | None


RosterRequest: TypeAlias = Refresh | Show | RosterChange


def read(command: Command, domain: str | None) -> RosterRequest | Reason:
    """Return the command as a request for users of `domain` (None: of any), or the reason why it cannot be done."""
    spec = _COMMANDS.get(command.endpoint)
    if spec is None:
        message = f"There is no command {command.endpoint} for rosters."
        return Reason("UnknownCommand", message, f"These exist: {', '.join(_COMMANDS)}.")
    given = command.arguments
    for name in given:
        if spec.argument(name) is None:
            takes = ", ".join(argument.name for argument in spec.arguments)
            return Reason("BadArgument", f"{spec.name} has no argument {quote(name)}.", f"It takes {takes}.")
    try:
        return _read(command.endpoint, given, _domain(given, domain))
    except BadRoster as bad:
        return Reason("BadRoster", f"{bad.entry} {bad.why}.", bad.hint or "Correct it, and push the job again.")


def _read(name: str, given: Mapping[str, Json], domain: str | None) -> RosterRequest:
    if name == catalogue.REFRESH:
        return Refresh(_users(given, domain), at_once=_is_now(given))
    user = read_user(_needed(given, "user"), domain)
    if name == "get_roster":
        return Show(user, domain)
    change = _change(name, user, given)
    require_writable(change.put, user, domain)
    return change


def _change(name: str, user: str, given: Mapping[str, Json]) -> RosterChange:
    match name:
        case "set_roster":
            contacts = _needed(given, "contacts")
            if isinstance(contacts, str):
                raise BadRoster("The roster", "is a string, not an object or a list", _NO_TEXT)
            roster = read_roster(contacts)
            return RosterChange(user, {jid: as_stored(contact) for jid, contact in roster.items()}, whole=True)
        case "delete_roster":
            return RosterChange(user, forget=True)
        case "remove_contact":
            return RosterChange(user, drop=(read_jid(_needed(given, "jid")),))
        case _:
            jid = read_jid(_needed(given, "jid"))
            contact = read_contact({member: given.get(member) for member in ("name", "groups")}, jid)
            return RosterChange(user, {jid: as_stored(contact)})


def _users(given: Mapping[str, Json], domain: str | None) -> tuple[str, ...]:
    listed = given.get("users")
    # A text too, for `enqueue refresh users=john` and producers that have one.
    users: Sequence[Json] = [listed] if isinstance(listed, str) else listed if isinstance(listed, list) else ()
    if not users:
        found = "missing" if "users" not in given else f"{kind_of(listed)} without any"
        raise BadRoster("The list of users", f"is {found}", 'For example ["refresh", ["john", "aaron"], TOKEN].')
    return tuple(dict.fromkeys(read_user(user, domain) for user in users))


def _is_now(given: Mapping[str, Json]) -> bool:
    now = given.get("now")
    if now is not None and not isinstance(now, bool):
        raise BadRoster("The argument now", f"is {kind_of(now)}, not true or false")
    return bool(now)


def _needed(given: Mapping[str, Json], name: str) -> Json:
    if name not in given:
        raise BadRoster(f"The argument {name}", "is missing", _NEEDED[name])
    return given[name]


def _domain(given: Mapping[str, Json], domain: str | None) -> str | None:
    host = given.get("host")
    if host is None or host == domain:
        return domain
    if not isinstance(host, str):
        raise BadRoster("The argument host", f"is {kind_of(host)}, not a string")
    if domain is not None:
        raise BadRoster(quote(host), "is not the domain of these rosters", f"Leave host out, or give {domain}.")
    return host
