"""Reads rosters out of the files in which Prosody keeps them itself. `roster import` calls `read`.

Prosody's internal storage has a file for each user, `roster/USER.dat` in the folder of the host, with characters other
than letters and digits as `%xx`. It is Lua: `return`, and a table of texts, numbers, truth values and tables (as
util.datamanager of 0.12.3 was seen to write it). Always holds: nothing of it is run; a file with anything else is
refused with its user, and what is found is checked like every other roster.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import unquote

import attrs

from restbroker.job.jid import printable
from restbroker.rosters.files import FileContents, RefusedRoster
from restbroker.rosters.rules import (
    BadRoster,
    Contact,
    read_contact,
    read_jid,
    read_user,
    require_fit,
    require_writable,
)

Lua: TypeAlias = "str | float | bool | dict[str | float | bool, Lua]"
_TOKEN: Final = re.compile(
    rb'\s*(?:(?P<text>"(?:[^"\\\n]|\\(?:\r?\n|[^\r\n]))*")|(?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)'
    rb"|(?P<word>[A-Za-z_]\w*)|(?P<sign>[][{}=;,]))"
)
_ESCAPE: Final = re.compile(rb"\\(\d{1,3}|\r?\n|.)", re.DOTALL)
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_PLAIN: Final = frozenset({b'"', b"'", b"\\", b"\n", b"\r\n"})
_DEEPEST: Final = 10


@attrs.frozen
class PreparedImport:
    """The rosters in the files. `left_out`: the number of contacts left out, whose subscription is not `both`.

    Prosody would make each of them a contact of both sides.
    """

    contents: FileContents
    left_out: int


def read(folder: Path, domain: str | None, *, one_sided: bool) -> PreparedImport:
    """Return the rosters of all users in this folder, one file each; raise `OSError` if it cannot be read.

    `one_sided`: contacts whose subscription is not `both` are taken too.
    """
    rosters: dict[str, Mapping[str, Contact]] = {}
    refused: list[RefusedRoster] = []
    left_out = 0
    for file in sorted(folder.iterdir()):
        if file.suffix != ".dat":
            continue
        name = unquote(file.stem)
        try:
            user = read_user(name, domain)
            roster, others = _contacts(parse(file.read_bytes()), one_sided=one_sided)
            require_writable(roster, user, domain)
        except BadRoster as error:
            refused.append(RefusedRoster(printable(name), str(error)))
            continue
        rosters[user] = roster
        left_out += others
    return PreparedImport(FileContents(rosters, tuple(refused)), left_out)


def parse(raw: bytes) -> Lua:
    """Return the value that this Lua returns; raise `BadRoster` if it is anything but a plain table or value."""
    reader = _Reader(raw)
    if reader.next() != (b"word", b"return"):
        raise reader.error()
    value = reader.value(0)
    reader.skip(b";")
    reader.end()
    return value


@attrs.define
class _Reader:
    raw: bytes
    at: int = 0

    def next(self) -> tuple[bytes, bytes]:
        """Return the kind and the bytes of the token that stands here, and go on behind it.

        Raise `BadRoster` if there is none.
        """
        found = _TOKEN.match(self.raw, self.at)
        if found is None or found.lastgroup is None:
            raise self.error()
        self.at = found.end()
        return found.lastgroup.encode(), found[found.lastgroup]

    def skip(self, *signs: bytes) -> bool:
        """Go on behind one of these signs and return True, or return False if none of them stands here."""
        before = self.at
        found = _TOKEN.match(self.raw, before)
        if found is not None and found["sign"] in signs:
            self.at = found.end()
            return True
        return False

    def end(self) -> None:
        if self.raw[self.at :].strip():
            raise self.error()

    def error(self) -> BadRoster:
        """Return the error to raise for what stands here."""
        return BadRoster("The file", f"is not a roster written by Prosody, from byte {self.at} on", "Check it.")

    def value(self, depth: int) -> Lua:
        match self.next():
            case (b"text", text):
                return self._text(text)
            case (b"number", number):
                return float(number)
            case (b"word", b"true"):
                return True
            case (b"word", b"false"):
                return False
            case (b"sign", b"{") if depth < _DEEPEST:
                return self._table(depth)
            case _:
                raise self.error()

    def _table(self, depth: int) -> Lua:
        table: dict[str | float | bool, Lua] = {}
        while not self.skip(b"}"):
            if self.skip(b"["):
                key = self.value(_DEEPEST)
                if not self.skip(b"]") or not self.skip(b"=") or isinstance(key, dict):
                    raise self.error()
            else:
                key = float(len(table) + 1)
            if key in table:
                raise self.error()
            table[key] = self.value(depth + 1)
            if not self.skip(b";", b","):
                if not self.skip(b"}"):
                    raise self.error()
                break
        return table

    def _text(self, quoted: bytes) -> str:
        def plain(found: re.Match[bytes]) -> bytes:
            code = found[1]
            if code.isdigit() and int(code) < 256:
                return bytes([int(code)])
            if code in _PLAIN:
                return code
            if code not in _ESCAPED:
                raise self.error()
            return _ESCAPED[code]

        try:
            return _ESCAPE.sub(plain, quoted[1:-1]).decode()
        except UnicodeDecodeError:
            raise self.error() from None


def _contacts(table: Lua, *, one_sided: bool) -> tuple[Mapping[str, Contact], int]:
    found = dict(_entries(table))
    kept = {jid: one for jid, one in found.items() if one_sided or one.get("subscription") == "both"}
    roster = {jid: _contact(jid, one) for jid, one in kept.items()}
    require_fit(roster)
    return roster, len(found) - len(kept)


def _entries(table: Lua) -> Iterator[tuple[str, Mapping[str | float | bool, Lua]]]:
    if not isinstance(table, dict):
        raise BadRoster("The file", "returns no table", "Check it.")
    for key, entry in table.items():
        if key is False or key == "pending":  # its version, and who asks to be a contact
            continue
        if not isinstance(key, str) or not isinstance(entry, dict):
            raise BadRoster("The file", "has an entry that is not a contact", "Check it.")
        yield read_jid(key), entry


def _contact(jid: str, entry: Mapping[str | float | bool, Lua]) -> Contact:
    name, groups = entry.get("name"), entry.get("groups", {})
    if not isinstance(groups, dict) or not (name is None or isinstance(name, str)):
        raise BadRoster(jid, "has a name or groups in another form")
    listed = [group for group, is_in in groups.items() if is_in is True and isinstance(group, str)]
    return read_contact({"name": name, "groups": listed}, jid)
