"""Whether a text is a JID, or a part of one, that a server takes. Pure; connectors ask before anything is sent.

Always holds: what a server's own preparation refuses is refused here (RFC 6122 with the tables of RFC 3454, as in
Prosody's `util.jid`). mod_rest takes such an address for none at all, answers 202, and sends nothing to anyone
(measured on 0.12.3); MongooseIM refuses it. A domain with blanks or signs is refused as well, though Prosody tries to
reach it.
"""

import re
import stringprep
import unicodedata
from collections.abc import Callable
from encodings import idna
from functools import lru_cache
from typing import Final

_PART_LIMIT_BYTES: Final = 1023
_LOCAL: Final = re.compile(r"""[^\x00-\x20"&'/:<>@\x7f]+""")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]")
_RESOURCE: Final = re.compile(r"[^\x00-\x1f\x7f]+")
_Table = Callable[[str], bool]
_NEVER: Final[tuple[_Table, ...]] = (
    stringprep.in_table_c12,
    stringprep.in_table_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


# A bot writes to the same few, and an address beyond ASCII takes 50 µs.
@lru_cache(maxsize=1000)
def is_jid(text: str) -> bool:
    """Tell whether the text is a JID: bare, full, or a domain alone."""
    bare, slash, resource = text.partition("/")
    local, at, domain = bare.rpartition("@")
    return (not at or is_local(local)) and is_domain(domain) and (not slash or is_resource(resource))


def is_local(text: str) -> bool:
    """Tell whether the text may stand before the @ of a JID."""
    return _is_part(text, _LOCAL, stringprep.map_table_b2)


def is_resource(text: str) -> bool:
    """Tell whether the text may stand behind the slash of a JID."""
    return _is_part(text, _RESOURCE, _keep)


def _keep(character: str) -> str:
    return character


def _is_part(text: str, pattern: re.Pattern[str], mapped: Callable[[str], str]) -> bool:
    if not text.isascii():
        visible = (mapped(char) for char in text if not stringprep.in_table_b1(char))
        text = unicodedata.normalize("NFKC", "".join(visible))
        if any(table(char) for char in text for table in _NEVER) or not _is_one_way(text):
            return False
    return pattern.fullmatch(text) is not None and len(text.encode()) <= _PART_LIMIT_BYTES


def _is_one_way(text: str) -> bool:
    """Tell whether the text runs in one direction, as RFC 3454, section 6 requires; letters newer than it have none."""
    if not any(stringprep.in_table_d1(char) for char in text):
        return True
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(stringprep.in_table_d2(char) or stringprep.in_table_a1(char) for char in text)


def is_domain(text: str) -> bool:
    """Tell whether the text may be a server's name."""
    if not text.isascii():
        try:
            # The whole name: Prosody looks at its direction of writing at once, not label by label.
            mapped = idna.nameprep(text)
            text = ".".join(idna.ToASCII(label).decode() for label in re.split("[.\u3002\uff0e\uff61]", mapped))
        except UnicodeError:
            return False
        if not _is_one_way(mapped):
            return False
    return _DOMAIN.fullmatch(text) is not None and len(text) <= _PART_LIMIT_BYTES
