"""The rules of rosters: valid contacts, their form in Redis, and their form for Prosody.

Used by the commands that write rosters, by the store's callers and the roster service. Always holds: a roster that is
read here without an error is accepted by Prosody. Prosody's roster module checks nothing, and one bad entry leaves the
user's login and the refresh of all others in its batch without an answer (measured with 0.12.3 and 13.0.1): a null or a
number as a name, groups that are no object, control characters. A user who is their own contact makes Prosody itself
run in circles for seconds, during which it answers no client, each time that the user comes, goes or is refreshed
(measured with 0.12.3). Hence each entry is checked, and named if refused.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NoReturn

import orjson

from restbroker.job.endpoint import kind_of
from restbroker.job.jid import (
    BadAddress,
    is_plain,
    name_character,
    printable,
    read_bare,
    read_domain,
    read_local,
    unprintable,
    visible,
)
from restbroker.job.json_types import Json
from restbroker.light import frozen

MOST_CONTACTS: Final = 10_000
"""The most contacts of one user. Prosody answers no client while it takes in a roster: 10,000 take 4 s (measured)."""
MOST_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of one user's roster, as stored."""
LONGEST_NAME_BYTES: Final = 1024
"""The longest name of a contact, and of a group."""
MOST_GROUPS: Final = 100
"""The most groups of one contact."""
_SHORT: Final = LONGEST_NAME_BYTES // 4
"""A text of this many characters has at most `LONGEST_NAME_BYTES`."""
# Its library for addresses takes what follows for something else (measured with 0.12.3 and LuaSocket 3.1.0).
_CUT_AT: Final = re.compile("[;#]")
_FIELDS: Final = ("name", "groups")


class BadRoster(ValueError):
    """This is no roster, or no part of one. `entry` names the contact or user, `why` completes it, `hint` may be empty.

    None of the three holds more than a part of the input, in one line.
    """

    def __init__(self, entry: str, why: str, hint: str = "") -> None:
        super().__init__(entry, why, hint)
        self.entry = entry
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.entry} {self.why}.", self.hint) if part)


@frozen
class Contact:
    """The entry of one JID in a user's roster. Prosody gives every contact the subscription `both`.

    `groups` are sorted, each once.
    """

    name: str | None = None
    groups: tuple[str, ...] = ()


def read_roster(document: Json) -> Mapping[str, Contact]:
    """Return bare JID → contact, and raise `BadRoster`, naming the entry, for what is no roster.

    `document` is an object `{JID: contact}`, or a list of contacts with `jid`, or of JIDs alone.
    """
    found: dict[str, Contact] = {}
    for jid, contact in _entries(document):
        checked = read_jid(jid)
        if checked in found:
            raise BadRoster(printable(checked), "appears twice", "Each contact may appear once.")
        found[checked] = read_contact(contact, checked)
    if len(found) > MOST_CONTACTS:
        raise BadRoster("The roster", f"has {len(found)} contacts; {MOST_CONTACTS} are the limit")
    size_bytes = sum(len(jid.encode()) + len(as_stored(contact)) for jid, contact in found.items())
    if size_bytes > MOST_BYTES:
        raise BadRoster("The roster", f"has {size_bytes} bytes; {MOST_BYTES} are the limit")
    return found


def read_contact(document: Json, entry: str = "The contact") -> Contact:
    """Return one contact; raise `BadRoster`, naming it by `entry`, for what is none.

    `document` is an object with `name` (a text) and `groups` (a list of texts, or an object), or neither.
    """
    if not isinstance(document, Mapping):
        raise BadRoster(entry, f"is {kind_of(document)}, not an object", 'For example {"name": "Ann"}, or {}.')
    for field, value in document.items():
        if field in _FIELDS or (field == "subscription" and value == "both"):
            continue
        why = f"has the member {printable(field)}, which Prosody does not take"
        raise BadRoster(entry, why, "A contact has a name and groups, and its subscription is always both.")
    return Contact(_read_name(document.get("name"), entry), _read_groups(document.get("groups"), entry))


def read_jid(text: Json) -> str:
    """Return the bare JID of a contact: `ann@example.org`, or a server's name; raise `BadRoster` for another text."""
    if not isinstance(text, str):
        raise BadRoster("The JID of a contact", f"is {kind_of(text)}, not a string")
    if is_plain(text):
        return text
    entry = visible(text) or "The empty JID"
    try:
        bare = read_bare(text)
    except BadAddress as error:
        raise BadRoster(entry, error.why, error.hint) from None
    # Rather a user's name whose domain was forgotten; and `pending` is a key that Prosody keeps for itself.
    if bare.local is None and not any(sign in text for sign in ".:"):
        raise BadRoster(entry, "has no domain", f"Write {entry}@ and the domain.")
    return text


def read_user(text: Json, domain: str | None) -> str:
    """Return whose roster it is, the part before the @: `john` for `john`, or for `john@example.org`.

    Another domain than `domain` is refused; None takes any. Raise `BadRoster` if this is no user.
    """
    if not isinstance(text, str):
        raise BadRoster("The user", f"is {kind_of(text)}, not a string")
    entry = visible(text) or "The empty user"
    local, at, own = text.partition("@")
    try:
        if at:
            read_domain(own)
        user = read_local(local)
    except BadAddress as error:
        raise BadRoster(entry, error.why, error.hint) from None
    if at and domain is not None and own != domain:
        raise BadRoster(entry, f"is not a user of {domain}", "Rosters are kept for users of that domain only.")
    return user


def too_large(user: str) -> str:
    """Return why a change of this user's roster is refused."""
    return f"The roster of {user} would have more than {MOST_CONTACTS} contacts or {MOST_BYTES} bytes."


def require_others(jids: Iterable[str], user: str, domain: str | None) -> None:
    """Raise `BadRoster` if `user` is among these contacts. Without a `domain` any domain may be the user's own."""
    for jid in jids:
        if _is_own(jid, user, domain):
            _refuse_own(jid, domain)


def require_writable(jids: Collection[str], user: str, domain: str | None) -> None:
    """Raise `BadRoster` for contacts of a `user` whom Prosody cannot serve, and for the user among the contacts."""
    if jids and (found := _CUT_AT.search(user)):
        why = (
            f"has {found[0]} in the name, and Prosody asks for the roster of {printable(user[: found.start()])} instead"
        )
        raise BadRoster(printable(user), why, "Let Prosody refuse such names.")
    require_others(jids, user, domain)


def as_stored(contact: Contact) -> bytes:
    """Return the contact as it is stored in Redis (JSON); equal contacts are equal bytes."""
    return orjson.dumps(_members(contact, contact.groups))


def roster_of(
    stored: Mapping[bytes, bytes], user: str, domain: str | None
) -> tuple[Mapping[str, Contact], tuple[BadRoster, ...]]:
    """Return a user's roster from Redis: the contacts that can be served, and an error for each of the others."""
    found: dict[str, Contact] = {}
    bad: list[BadRoster] = []
    for raw, contact in stored.items():
        try:
            jid, one = _of_stored(raw, contact)
            if jid.startswith(user):
                require_others((jid,), user, domain)
        except BadRoster as error:
            bad.append(error)
        else:
            found[jid] = one
    return found, tuple(bad)


def _of_stored(raw: bytes, contact: bytes) -> tuple[str, Contact]:
    """Return (JID, contact) of an entry in Redis; it is checked again, as other programs may write there too."""
    try:
        document = orjson.loads(contact)
        text = raw.decode()
    except ValueError:
        entry = printable(raw.decode("utf-8", "backslashreplace"))
        raise BadRoster(entry, "is not a contact as Redis stores it") from None
    jid = read_jid(text)
    return jid, read_contact(document, jid)


def as_prosody(roster: Mapping[str, Contact]) -> bytes:
    """Return the answer that Prosody's roster module needs, sorted by JID. Groups are an object: a list stops it."""
    rows = ((jid, roster[jid]) for jid in sorted(roster))
    return orjson.dumps({jid: _members(contact, dict.fromkeys(contact.groups, True)) for jid, contact in rows})


def as_json(roster: Mapping[str, Contact]) -> dict[str, Json]:
    """Return the roster for users and programs, sorted by JID, in the form that `read_roster` takes."""
    return {jid: _members(roster[jid], list(roster[jid].groups)) for jid in sorted(roster)}


def _members(contact: Contact, groups: Json) -> dict[str, Json]:
    """Return the contact as an object, without what it does not have; `groups` are its groups in their form."""
    name: dict[str, Json] = {} if contact.name is None else {"name": contact.name}
    return {**name, "groups": groups} if groups else name


def _entries(document: Json) -> Iterator[tuple[Json, Json]]:
    match document:
        case Mapping():
            yield from document.items()
        case list() | tuple():
            for place, entry in enumerate(document, 1):
                yield _of_list(entry, place)
        case _:
            raise BadRoster("The roster", f"is {kind_of(document)}, not an object or a list")


def _of_list(entry: Json, place: int) -> tuple[Json, Json]:
    match entry:
        case str():
            return entry, {}
        case Mapping() if "jid" in entry:
            return entry["jid"], {field: value for field, value in entry.items() if field != "jid"}
        case _:
            raise BadRoster(f"Contact {place} of the list", 'has no "jid"')


def _is_own(jid: str, user: str, domain: str | None) -> bool:
    local, at, own = jid.partition("@")
    return bool(at) and local == user and domain in (None, own)


def _refuse_own(jid: str, domain: str | None) -> NoReturn:
    if domain is not None:
        raise BadRoster(
            printable(jid), "is the user themselves", "Leave it out: Prosody hangs on a user's own address."
        )
    why = "may be the user themselves, whose domain is unknown, and Prosody hangs on a user's own address"
    raise BadRoster(printable(jid), why, "Set Domain in Roster or in the target; or leave it out.")


def _read_name(value: Json, entry: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise BadRoster(entry, f"has a name that is {kind_of(value)}, not a string")
    _require_text(value, entry, "name")
    return value


def _read_groups(value: Json, entry: str) -> tuple[str, ...]:
    match value:
        case None:
            given: list[Json] = []
        case Mapping():
            if any(member is None or member is False for member in value.values()):
                raise BadRoster(entry, "has a group that is false", "Leave out groups that the contact is not in.")
            given = list(value)
        case list() | tuple():
            given = list(value)
        case _:
            _refuse_groups(value, entry)
    for group in given:
        if not isinstance(group, str) or not group:
            _refuse_groups(group, entry)
        _require_text(group, entry, "group")
    groups = {group for group in given if isinstance(group, str)}
    if len(groups) > MOST_GROUPS:
        raise BadRoster(entry, f"has {len(groups)} groups; {MOST_GROUPS} are the limit")
    return tuple(sorted(groups))


def _refuse_groups(value: Json, entry: str) -> NoReturn:
    what = "an empty string" if value == "" else kind_of(value)
    raise BadRoster(entry, f"has {what} for a group", 'Groups are a list of names: ["Work"].')


def _require_text(text: str, entry: str, what: str) -> None:
    if len(text) <= _SHORT and text.isprintable():
        return
    if bad := unprintable(text):
        raise BadRoster(entry, f"has the character {name_character(bad)} in its {what}", "Remove it.")
    if len(text.encode()) > LONGEST_NAME_BYTES:
        raise BadRoster(entry, f"has a {what} of more than {LONGEST_NAME_BYTES} bytes")
