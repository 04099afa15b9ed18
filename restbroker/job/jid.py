"""Addresses of users and servers, in the one form in which servers keep them (RFC 6122: nodeprep, nameprep).

Used by the rules about rosters and events. Always holds: a server leaves an accepted address as it is. Nothing is
rewritten silently: for what a server would rewrite, the error says what to write. Python's own tables are those that
Prosody 0.12 uses; letters that are younger than these (Unicode 3.2) are made small here too, and may not mix
directions, which is stricter.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from encodings import idna
from typing import Final

from restbroker.light import frozen

LONGEST_PART_BYTES: Final = 1023
"""The longest local part, and the longest domain (RFC 6122)."""
_LONGEST_LABEL: Final = 63
# Beside what nameprep refuses: RFC 3920, appendix A.5, and blanks and control characters.
_NOT_IN_LOCAL_PARTS: Final = re.compile(r"[\x00-\x20\x7f\"&'/:<>@]")
# Of ASCII, what names of hosts are made of; the underscore is in names of test machines and containers.
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_\-\x80-\U0010ffff]+(?<!-)")
_LEFTWARD: Final = frozenset({"R", "AL"})
# Full stops of other scripts, which IDNA reads as a dot.
_DOTS: Final = re.compile("[\u3002\uff0e\uff61]")


_PLAIN: Final = re.compile(
    r"[a-z0-9_.+-]+@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_LONGEST_PLAIN: Final = 255


class BadAddress(ValueError):
    """Not an address in the form in which servers keep them. `why` completes "it …".

    `instead`: what to write, or empty.
    """

    def __init__(self, why: str, instead: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.instead = instead

    @property
    def hint(self) -> str:
        """A sentence that says what to write; empty if it is not known what was meant."""
        return f"Write {printable(self.instead)}." if self.instead else ""


@frozen
class BareJid:
    """A bare JID. `local` is None for a server's own address."""

    local: str | None
    domain: str

    def __str__(self) -> str:
        return self.domain if self.local is None else f"{self.local}@{self.domain}"


def is_plain(text: str) -> bool:
    """Tell whether this is a bare JID of lower-case ASCII with a user, which is valid without Unicode tables."""
    return len(text) <= _LONGEST_PLAIN and _PLAIN.fullmatch(text) is not None


def read_bare(text: str) -> BareJid:
    """Return the bare JID that this text is; raise `BadAddress` if it is none in the form that servers keep."""
    bare, slash, _ = text.partition("/")
    if slash:
        better = _try(lambda part: str(read_bare(part)), bare)
        raise BadAddress("has a resource", better.instead if isinstance(better, BadAddress) else better)
    local, at, domain = text.partition("@")
    if "@" in domain:
        raise BadAddress("has more than one @")
    if not at:
        return BareJid(None, read_domain(text))
    parts = _try(read_local, local), _try(read_domain, domain)
    for error in parts:
        if isinstance(error, BadAddress):
            instead = [part.instead if isinstance(part, BadAddress) else part for part in parts]
            raise BadAddress(error.why, "@".join(instead) if all(instead) else "")
    return BareJid(local, domain)


def read_local(text: str) -> str:
    """Return the text if it is a user's name, as before the @; raise `BadAddress` if it is not."""
    if not text:
        raise BadAddress("has nothing before the @")
    prepared = _prepare(text)
    if forbidden := _NOT_IN_LOCAL_PARTS.search(prepared):
        raise BadAddress(f"has {name_character(forbidden[0])} in a user's name")
    _require_same(text, prepared)
    return text


def read_domain(text: str) -> str:
    """Return the text if it is a server's name or an IPv6 address in brackets; raise `BadAddress` if it is not."""
    if not text:
        raise BadAddress("has no domain")
    if text.startswith("["):
        return _read_ipv6(text)
    prepared = _prepare(_DOTS.sub(".", text))
    for label in prepared.split("."):
        if not label:
            raise BadAddress("has an empty part in its domain")
        if len(label.encode()) > _LONGEST_LABEL:
            raise BadAddress(f"has a part of more than {_LONGEST_LABEL} bytes in its domain")
        if _LABEL.fullmatch(label) is None:
            raise BadAddress("has an invalid domain")
    _require_same(text, prepared)
    return text


def fold_case(text: str) -> str:
    """Return a JID, or a part or pattern of one, with its case folded as servers do, for comparing. Never raises."""
    # Looked at before the tables, as in `_prepare`.
    if text.isascii() or len(text) > 3 * LONGEST_PART_BYTES:
        return text.lower()
    try:
        return _map(text)
    except UnicodeError:
        return text.lower()


def unprintable(text: str) -> str | None:
    """Return the first character that no stanza can carry, or that is not visible; None if there is none.

    That are control characters, half surrogate pairs, and what XML forbids.
    """
    if text.isprintable():  # as nearly all are
        return None
    for char in text:
        if unicodedata.category(char) in ("Cc", "Cs") or char in "\u2028\u2029\ufffe\uffff":
            return char
    return None


def name_character(character: str) -> str:
    """Return a character as an error may show it: itself, or like U+0020."""
    return character if character.isprintable() and character != " " else f"U+{ord(character):04X}"


def printable(text: str, longest: int = 80) -> str:
    """Return a text as an error may show it: in one line, cut to `longest` characters, without what terminals obey."""
    if len(text) <= longest and text.isprintable():
        return text
    plain = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text[:longest])
    return plain + ("…" if len(text) > longest else "")


def visible(text: str) -> str:
    """Return a text as `printable` does, in quotes if it has blanks, so that these are seen to belong to it."""
    return f'"{printable(text)}"' if " " in text else printable(text)


def _try(read: Callable[[str], str], text: str) -> str | BadAddress:
    try:
        return read(text)
    except BadAddress as error:
        return error


def _prepare(text: str) -> str:
    # Looked at before the tables: their time grows with the length.
    if len(text) > LONGEST_PART_BYTES:
        raise BadAddress(f"has a part of more than {LONGEST_PART_BYTES} bytes")
    if text.isascii() and text.isprintable():
        return text.lower()  # what the tables say, for a hundredth of the time
    if bad := unprintable(text) or next((char for char in text if unicodedata.category(char) == "Cn"), None):
        raise BadAddress(f"has the character {name_character(bad)}, which no address may have")
    try:
        prepared = _map(text)
    except UnicodeError:
        raise BadAddress("has characters that an address may not have, or in a forbidden order") from None
    if _mixes_directions(prepared):
        raise BadAddress("mixes letters that are written from left to right with others")
    if len(prepared.encode()) > LONGEST_PART_BYTES:
        raise BadAddress(f"has a part of more than {LONGEST_PART_BYTES} bytes")
    return prepared


def _map(text: str) -> str:
    """Return the text with its case folded by nameprep; raise `UnicodeError` for forbidden characters."""
    # The fix of CVE-2026-17084 in Python leaves younger letters large; before, Python made them small by itself.
    # Twice: a letter that is made small may be put together again.
    return idna.nameprep(idna.nameprep(text).lower())


def _mixes_directions(text: str) -> bool:
    """Tell whether the text mixes directions of writing as nameprep forbids, by today's tables."""
    kinds = [unicodedata.bidirectional(char) for char in text]
    leftward = [kind in _LEFTWARD for kind in kinds]
    return any(leftward) and ("L" in kinds or not (leftward[0] and leftward[-1]))


def _require_same(text: str, prepared: str) -> None:
    if text != prepared:
        why = "is not in lower case" if text.lower() == prepared else "is not in the form that servers store"
        raise BadAddress(why, prepared)


def _read_ipv6(text: str) -> str:
    try:
        address = f"[{ipaddress.IPv6Address(text.removeprefix('[').removesuffix(']'))}]"
    except ValueError:
        raise BadAddress("has a domain in brackets that is not an IPv6 address") from None
    _require_same(text, address)
    return text
