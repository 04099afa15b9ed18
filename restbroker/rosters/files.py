"""Rosters of many users as files: JSON, NDJSON and CSV. Pure; called by `restbroker roster import` and `export`.

Always holds: a written file is read again as the same rosters; a user with any wrong entry is refused as a whole, and
each error is reported with its line, where the format has lines.
"""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, assert_never

import attrs
import orjson

from restbroker.job import rubyjson
from restbroker.job.cells import guard, unguard
from restbroker.job.endpoint import kind_of
from restbroker.job.jid import printable, visible
from restbroker.job.json_types import Json
from restbroker.rosters.rules import (
    BadRoster,
    Contact,
    as_json,
    read_contact,
    read_jid,
    read_roster,
    read_user,
    require_fit,
    require_new,
    require_writable,
)

Format = Literal["json", "ndjson", "csv"]
COLUMNS: Final = ("user", "jid", "name", "groups")
_EXAMPLES: Final[Mapping[Format, str]] = {
    "json": '{"john": {"ann@example.org": {"name": "Ann", "groups": ["Work"]}}}',
    "ndjson": '{"user": "john", "contacts": {"ann@example.org": {"name": "Ann"}}}',
    "csv": "user,jid,name,groups",
}
_SEPARATORS: Final[Mapping[str, str]] = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What spreadsheets write in place of commas."""
_LONGEST_QUOTED: Final = 60
_LONGEST_CELL: Final = 1024 * 1024


class BadFile(ValueError):
    """Nothing of the file can be read. `why` completes "the file …"; `line` is None where it is about all of it."""

    def __init__(self, why: str, line: int | None = None, hint: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.line = line
        self.hint = hint


@attrs.frozen
class RefusedRoster:
    """A roster that was refused: its `user`, the error (`what`), and the line; None if the format has no lines."""

    user: str
    what: str
    line: int | None = None


@attrs.frozen
class FileContents:
    """The contents of a file: the rosters that can be written, {user: {JID: contact}}, and those that are refused."""

    rosters: Mapping[str, Mapping[str, Contact]]
    refused: tuple[RefusedRoster, ...] = ()


def read(raw: bytes, form: Format, domain: str | None) -> FileContents:
    """Return the rosters in a file, of users of `domain` (None: of any); raise `BadFile` if none can be read."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        why = f"is not UTF-8: byte 0x{raw[error.start]:02x} at byte {error.start}"
        raise BadFile(why, None, "Save it as UTF-8 (in a spreadsheet: CSV UTF-8).") from None
    gathered = _FileReader(domain)
    match form:
        case "json":
            _read_json(text, gathered)
        case "ndjson":
            _read_ndjson(text, gathered)
        case "csv":
            _read_csv(text, gathered)
        case _:
            assert_never(form)
    return gathered.contents()


def loads(raw: bytes) -> Json:
    """Return the JSON value; raise `rubyjson.Unreadable` if it is not JSON, or a name appears twice in one object.

    Of two equal names the first would be lost without a word.
    """
    value = rubyjson.loads(raw)
    json.loads(raw.removeprefix(codecs.BOM_UTF8), object_pairs_hook=_require_once)
    return value


def write(form: Format, rosters: Iterable[tuple[str, Mapping[str, Contact]]]) -> Iterator[str]:
    """Yield the file's text, piece by piece, for these (user, roster)."""
    match form:
        case "json":
            yield from _write_json(rosters)
        case "ndjson":
            for user, roster in rosters:
                yield orjson.dumps({"user": user, "contacts": as_json(roster)}).decode() + "\n"
        case "csv":
            yield from _write_csv(rosters)
        case _:
            assert_never(form)


@attrs.define
class _FileReader:
    """The rosters that were read so far. `bad`: users of whom something is wrong."""

    domain: str | None
    rosters: dict[str, dict[str, Contact]] = attrs.field(factory=dict)
    lines: dict[str, int | None] = attrs.field(factory=dict)
    refused: list[RefusedRoster] = attrs.field(factory=list)
    bad: set[str] = attrs.field(factory=set)

    def user(self, name: Json, line: int | None) -> str | None:
        """Return the user of this name, or None after noting that it cannot be one."""
        try:
            return read_user(name, self.domain)
        except BadRoster as error:
            self.refused.append(RefusedRoster(visible(str(name)), str(error), line))
            return None

    def add(self, name: Json, contacts: Callable[[], Mapping[str, Contact]], line: int | None) -> None:
        """Add a whole roster, or note what is wrong with it; a user who appears twice is refused."""
        user = self.user(name, line)
        if user is None:
            return
        if user in self.lines:
            first = f"; the first is in line {self.lines[user]}" if self.lines[user] is not None else ""
            self.refuse(user, f"{user} appears twice{first}.", line)
            return
        self.lines[user] = line
        try:
            roster = dict(contacts())
            require_writable(roster, user, self.domain)
            self.rosters[user] = roster
        except BadRoster as error:
            self.refuse(user, str(error), line)

    def refuse(self, user: str, what: str, line: int | None) -> None:
        """Note what is wrong with this user, of whom nothing is taken."""
        self.bad.add(user)
        self.refused.append(RefusedRoster(user, what, line))

    def refuse_line(self, document: Mapping[str, Json] | None, what: str, line: int) -> None:
        """Note a line that is no roster; where it names a user, nothing of this user is taken."""
        if document is None or "user" not in document:
            self.refused.append(RefusedRoster("", what, line))
        elif user := self.user(document["user"], line):
            self.refuse(user, what, line)

    def contents(self) -> FileContents:
        """Return all that was read, without the users of whom something is wrong."""
        for user, roster in self.rosters.items():
            try:
                require_fit(roster)
            except BadRoster as error:
                if user not in self.bad:
                    self.refuse(user, str(error), self.lines.get(user))
        good = {user: roster for user, roster in self.rosters.items() if user not in self.bad}
        return FileContents(good, tuple(self.refused))


def _require_once(pairs: list[tuple[str, Json]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise rubyjson.Unreadable(f"{printable(name)} appears twice in one object")
        seen.add(name)


def _read_json(text: str, gathered: _FileReader) -> None:
    try:
        document = loads(text.encode())
    except rubyjson.Unreadable as error:
        raise BadFile(f"is not JSON: {error}", None, f"For example {_EXAMPLES['json']}") from None
    if not isinstance(document, dict):
        raise BadFile(f"is {kind_of(document)}, not an object of users", None, f"For example {_EXAMPLES['json']}")
    for user, contacts in document.items():
        gathered.add(user, lambda contacts=contacts: read_roster(contacts), None)  # type: ignore[misc]


def _read_ndjson(text: str, gathered: _FileReader) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        document, what = _object(line)
        if document is None or set(document) != {"user", "contacts"}:
            gathered.refuse_line(document, f"{what} For example {_EXAMPLES['ndjson']}", number)
            continue
        contacts = document["contacts"]
        gathered.add(document["user"], lambda contacts=contacts: read_roster(contacts), number)  # type: ignore[misc]


def _object(line: str) -> tuple[dict[str, Json] | None, str]:
    """Return the object of a line, or None, and what to say if the object is not of the right form."""
    try:
        document = loads(line.encode())
    except rubyjson.Unreadable as error:
        return None, f"This line is not JSON: {error}."
    what = "This line is not an object with exactly user and contacts."
    return (document if isinstance(document, dict) else None), what


def _read_csv(text: str, gathered: _FileReader) -> None:
    csv.field_size_limit(_LONGEST_CELL)
    if not text.strip():
        raise BadFile("is empty", None, f"Its first line names the columns: {_EXAMPLES['csv']}")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        if wrong := _wrong_in(header):
            first = printable(next(iter(text.splitlines()), ""), _LONGEST_QUOTED)
            what, hint = wrong
            raise BadFile(f'{what}: "{first}"', 1, f"{hint} The first line names the columns: {_EXAMPLES['csv']}")
        for cells in rows:
            if any(cells):
                _read_row(header, cells, rows.line_num, gathered)
    except csv.Error as error:
        raise BadFile(f"is not CSV: {error}", rows.line_num) from None


def _wrong_in(header: list[str]) -> tuple[str, str] | None:
    """Return what is wrong with the line that names the columns, and what to do; None: nothing."""
    mark = next((mark for mark in _SEPARATORS if len(header) == 1 and mark in header[0]), None)
    if mark is not None:
        return f"has {_SEPARATORS[mark]} between its columns", "Save it with commas between them."
    if len(set(header)) < len(header):
        return "names a column twice", "Name each once."
    plain = {name.strip().lower() for name in header}
    if plain.isdisjoint(COLUMNS):
        return "has no line that names its columns", "Add one."
    for name in header:
        if name not in COLUMNS and name.strip().lower() in COLUMNS:
            return "has columns with other names", "Write them in lower case and without blanks."
    if others := [name for name in header if name not in COLUMNS]:
        return f'has a column "{printable(others[0], _LONGEST_QUOTED)}"', "Remove it."
    missing = [name for name in ("user", "jid") if name not in header]
    return (f"has no column {' and no column '.join(missing)}", "Add it.") if missing else None


def _read_row(header: list[str], cells: list[str], line: int, gathered: _FileReader) -> None:
    row = {name: unguard(cell) for name, cell in zip(header, cells, strict=False)}
    user = gathered.user(row.get("user", ""), line)
    if user is None:
        return
    roster = gathered.rosters.setdefault(user, {})
    gathered.lines.setdefault(user, line)
    if len(cells) != len(header):
        gathered.refuse(user, f"This line has {len(cells)} columns, and the first one {len(header)}.", line)
        return
    if not row["jid"] and not row.get("name") and not row.get("groups"):
        return  # a user without contacts
    try:
        jid = read_jid(row["jid"])
        require_new(jid, roster)
        require_writable((jid,), user, gathered.domain)
        roster[jid] = read_contact({"name": row.get("name"), "groups": _groups(row.get("groups") or "", jid)}, jid)
    except BadRoster as error:
        gathered.refuse(user, str(error), line)


def _groups(cell: str, jid: str) -> Json:
    """Return the groups in a cell: names with semicolons between them, or a JSON list where a name has a semicolon."""
    if not cell.startswith("["):
        return [name.strip() for name in cell.split(";") if name.strip()]
    try:
        return rubyjson.loads(cell.encode())
    except (rubyjson.Unreadable, UnicodeEncodeError):
        raise BadRoster(jid, "has groups that start like a JSON list but are not one", "Write Work;Friends.") from None


def _write_json(rosters: Iterable[tuple[str, Mapping[str, Contact]]]) -> Iterator[str]:
    before = "{\n"
    for user, roster in rosters:
        contacts = orjson.dumps(as_json(roster), option=orjson.OPT_INDENT_2).decode().replace("\n", "\n  ")
        yield f"{before}  {orjson.dumps(user).decode()}: {contacts}"
        before = ",\n"
    yield "{}\n" if before == "{\n" else "\n}\n"


def _write_csv(rosters: Iterable[tuple[str, Mapping[str, Contact]]]) -> Iterator[str]:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for user, roster in rosters:
        if not roster:
            writer.writerow((guard(user), "", "", ""))
        for jid in sorted(roster):
            contact = roster[jid]
            writer.writerow(map(guard, (user, jid, contact.name or "", _cell(contact.groups))))
        yield file.getvalue()
        file.seek(0)
        file.truncate()
    yield file.getvalue()


def _cell(groups: tuple[str, ...]) -> str:
    plain = ";".join(groups)
    same = tuple(name.strip() for name in plain.split(";") if name.strip()) == groups and not plain.startswith("[")
    # Between semicolons each would be a cell of its own where a spreadsheet takes these for separators.
    same = same and all(guard(name) == name for name in groups)
    return plain if same else orjson.dumps(groups).decode()
