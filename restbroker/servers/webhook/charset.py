"""The charsets in which programs post, by the names that they give them. Pure; loads no Trio.

Always holds: a stranger's word leads to none of Python's other codecs; what a charset does not have is refused, and
never replaced.
"""

import codecs
import re
from typing import Final

from restbroker.servers.event_contract import MalformedEvent

UTF_8: Final = "utf-8"
UTF_16: Final = "utf-16"
LISTED: Final = "utf-8, us-ascii, iso-8859-1 to -16, windows-1250 to -1258, koi8-r, utf-16"
_NAMES: Final = {
    **{name: name for name in (UTF_8, UTF_16, "us-ascii", "koi8-r")},
    "utf8": UTF_8,
    **dict.fromkeys(("latin1", "latin-1"), "iso-8859-1"),
    **{f"{iso}8859-{part}": f"iso-8859-{part}" for iso in ("iso-", "iso") for part in range(1, 17) if part != 12},
    **{f"{of}125{page}": f"windows-125{page}" for of in ("windows-", "cp") for page in range(9)},
}
"""The usual name of each charset by the names that are in use, in lower case and without `_`."""
_PARAMETER: Final = re.compile(rb";\s*charset\s*=\s*[\"']?([^\s\"';]+)", re.IGNORECASE)
_DECLARATION: Final = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml\s[^>]{0,200}?\sencoding\s*=\s*[\"']([^\"']+)")


def known(name: str) -> str | None:
    """Return the usual name of this charset; None if nothing is read in it."""
    return _NAMES.get(name.lower().replace("_", "-"))


def named(name: bytes) -> str | None:
    """Return the charset that a sender names, None for an empty name; raise `MalformedEvent` if it is not known."""
    found = known(name.decode("latin-1"))
    if name and found is None:
        raise MalformedEvent(f"its charset is none of {LISTED}")
    return found


def of_type(content_type: bytes) -> str | None:
    """Return the charset that a Content-Type names, None without one; raise `MalformedEvent` as `named`."""
    found = _PARAMETER.search(content_type)
    return named(found[1]) if found else None


def of_xml(document: bytes) -> str | None:
    """Return the charset that the XML declaration names, None without one; raise `MalformedEvent` as `named`."""
    found = _DECLARATION.match(document)
    return named(found[1]) if found else None


def decode(written: bytes, charset: str, what: str = "it") -> str:
    """Return the text; raise `MalformedEvent` if it is none in this charset. `what`: its name for people."""
    if charset == UTF_16 and not written.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise MalformedEvent(f"{what} is in utf-16 without a byte-order mark, which says how it is read")
    try:
        return written.decode(charset)
    except UnicodeDecodeError:
        raise MalformedEvent(f"{what} is not in {charset}") from None
