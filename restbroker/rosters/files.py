"""Rosters of many users as NDJSON, a user a line. Pure; called by `restbroker roster import` and `export`.

Always holds: a written file is read again as the same rosters; a user with any wrong line is refused as a whole, and
each error is reported with its line.
"""

import codecs
import json
from collections.abc import Mapping
from typing import Final

import attrs
import orjson

from restbroker.job import rubyjson
from restbroker.job.jid import printable, visible
from restbroker.job.json_types import Json
from restbroker.rosters.rules import BadRoster, Contact, as_json, read_roster, read_user, require_writable

_EXAMPLE: Final = 'For example {"user": "john", "contacts": {"ann@example.org": {"name": "Ann"}}}'


@attrs.frozen
class RefusedRoster:
    """A roster that was refused: its `user` ("": no one is named), the error (`what`), and its line, if it has one."""

    user: str
    what: str
    line: int | None = None


@attrs.frozen
class FileContents:
    """The contents of a file: the rosters that can be written, {user: {JID: contact}}, and those that are refused."""

    rosters: Mapping[str, Mapping[str, Contact]]
    refused: tuple[RefusedRoster, ...] = ()


def read(raw: bytes, domain: str | None) -> FileContents:
    """Return the rosters in a file, of users of `domain` (None: of any)."""
    rosters: dict[str, Mapping[str, Contact]] = {}
    lines: dict[str, int] = {}
    refused: list[RefusedRoster] = []
    for number, line in enumerate(raw.split(b"\n"), 1):
        user = ""
        try:
            document = _object(line)
            if document is None:
                continue
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
    bad = {one.user for one in refused}
    return FileContents({user: roster for user, roster in rosters.items() if user not in bad}, tuple(refused))


def write(user: str, roster: Mapping[str, Contact]) -> str:
    """Return the line of a user."""
    return orjson.dumps({"user": user, "contacts": as_json(roster)}).decode() + "\n"


def loads(raw: bytes) -> Json:
    """Return the JSON value; raise `rubyjson.Unreadable` if it is not JSON, or a name appears twice in one object.

    Of two equal names the first would be lost without a word.
    """
    value = rubyjson.loads(raw)
    json.loads(raw.removeprefix(codecs.BOM_UTF8), object_pairs_hook=_require_once)
    return value


def _object(line: bytes) -> Mapping[str, Json] | None:
    """Return the object in a line, which names a user; None for an empty line. Raise `BadRoster` if it is none."""
    if not line.removeprefix(codecs.BOM_UTF8).strip():
        return None
    try:
        document = loads(line)
    except rubyjson.Unreadable as error:
        raise BadRoster("This line", f"is not JSON: {error}", _EXAMPLE) from None
    if not isinstance(document, dict) or "user" not in document:
        raise _wrong_form()
    return document


def _wrong_form() -> BadRoster:
    return BadRoster("This line", "is not an object with exactly user and contacts", _EXAMPLE)


def _second(user: str, first: int) -> BadRoster:
    return BadRoster(user, f"appears twice; the first is in line {first}")


def _require_once(pairs: list[tuple[str, Json]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise rubyjson.Unreadable(f"{printable(name)} appears twice in one object")
        seen.add(name)
