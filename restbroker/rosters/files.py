"""Rosters of many users as NDJSON, a user a line. Pure; called by `restbroker roster import` and `export`.

Always holds: a written file is read again as the same rosters; a user with any wrong line is refused as a whole, and
each error is reported with its line.
"""

import codecs
from collections.abc import Mapping
from typing import Final

import orjson

from restbroker.job import rubyjson
from restbroker.job.jid import visible
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.rosters.rules import BadRoster, Contact, as_json, read_roster, read_user, require_writable

OTHER_FILES: Final = (
    "This is not NDJSON as `restbroker roster export` writes it. For CSV, JSON, Prosody's own files and the rosters of "
    "an ejabberd there are scripts in contrib/rosters that write it: see docs/rosters.md."
)
"""What is said of a file that names no user in any line."""
_EXAMPLE: Final = 'For example {"user": "john", "contacts": {"ann@example.org": {"name": "Ann"}}}'


@frozen
class RefusedRoster:
    """A roster that was refused: its `user` ("": no one is named), the error (`what`), and its line, if it has one."""

    user: str
    what: str
    line: int | None = None


@frozen
class FileContents:
    """The contents of a file: the rosters that can be written, {user: {JID: contact}}, and those that are refused."""

    rosters: Mapping[str, Mapping[str, Contact]]
    refused: tuple[RefusedRoster, ...] = ()

    @property
    def is_other(self) -> bool:
        """Whether this is a file of another form: no line names a user."""
        return bool(self.refused) and not self.rosters and not any(roster.user for roster in self.refused)


def read(raw: bytes, domain: str | None) -> FileContents:
    """Return the rosters in a file, of users of `domain` (None: of any)."""
    rosters: dict[str, Mapping[str, Contact]] = {}
    lines: dict[str, int] = {}
    refused: list[RefusedRoster] = []
    for number, line in enumerate(raw.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        if not line.strip():
            continue
        user = ""
        try:
            document = _object(line)
            user = visible(str(document["user"]))
            user = read_user(document["user"], domain)
            if document.keys() != {"user", "contacts"}:
                raise _wrong_form()
            if user in lines:
                raise _second(user, lines[user])
            lines[user] = number
            rosters[user] = read_roster(document["contacts"])
            require_writable(rosters[user], user, domain)
        except BadRoster as error:
            refused.append(RefusedRoster(user, str(error), number))
    bad = {roster.user for roster in refused}
    return FileContents({user: roster for user, roster in rosters.items() if user not in bad}, tuple(refused))


def write(user: str, roster: Mapping[str, Contact]) -> str:
    """Return the line of a user."""
    return orjson.dumps({"user": user, "contacts": as_json(roster)}).decode() + "\n"


def _object(line: bytes) -> Mapping[str, Json]:
    """Return the object in a line, which names a user; raise `BadRoster` if it is none."""
    try:
        document = rubyjson.loads(line)
    except rubyjson.Unreadable as error:
        raise BadRoster("This line", f"is not JSON: {error}", _EXAMPLE) from None
    if not isinstance(document, dict) or "user" not in document:
        raise _wrong_form()
    return document


def _wrong_form() -> BadRoster:
    return BadRoster("This line", "is not an object with exactly user and contacts", _EXAMPLE)


def _second(user: str, first: int) -> BadRoster:
    return BadRoster(user, f"appears twice; the first is in line {first}")
