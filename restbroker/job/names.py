"""What counts as a secret's name, by which words a field names what it holds, and which texts name a secret.

Asked by all that hides secrets: `job.redact` for arguments, `job.hiding` for headers and answers. Always holds: no
notation is known here; nothing raises, and the time grows with the length alone.
"""

import re
from typing import Final

from restbroker.job import escapes

_SECRET: Final = re.compile(r"pass|pwd|secret|token|credential|(api|private)[_-]?key|authorization|cookie|stream_?id")
BODY_NAMES: Final = frozenset(
    {
        *("body", "elementstring", "html", "htmlbody", "message", "messagebody", "messagehtml", "messagesubject"),
        *("question", "raw", "stanza", "subject", "text", "textbody"),
    }
)
"""Arguments that are message texts, in small letters; of an event, `raw` is what its server sent, texts under any name
among it.
"""
PRIVATE: Final = "text-private"
"""The type of a data form's field that is a password (XEP-0004), whatever the field is called."""
NAMING: Final = frozenset(
    {
        *("var", "name", "key", "field", "option", "property", "propertyname", "propertykey"),
        *("setting", "variable", "attribute", "parameter", "param", "header", "path"),
    }
)
VALUES: Final = frozenset({"value", "values", "val", "content", "text", "cdata", "cdata-section", "t", "0", ""})
"""The members of a field: what names it, and what it holds. See `bare`."""
# What prose and JIDs are made of besides letters and digits. Any other sign may put a value beside a name.
_SIGN: Final = re.compile(r"[^\w \t.,!?@-]")
# In prose and names of hosts "pass" is a part of words: passed, compass, Passau.
_IN_TEXTS: Final = re.compile(
    r"(?i:pass(?:w|phrase|code|key|e\b)|pwd|secret|token|credential|(?:api|private)[_-]?key|authorization|cookie)"
    r"|(?i:stream_?id|(?<!com)(?<!by)(?<!tres)(?<!over)(?<!sur)(?<!under)pass)(?![a-z])|text-private"
)
_ATTRIBUTES: Final = frozenset({"$", "@", ":@", "@attributes", "_attributes", "attributes"})


def is_secret(name: str) -> bool:
    """Whether what is called so is secret, in arguments and headers."""
    return _SECRET.search(name.lower()) is not None


def has_a_name(text: str) -> bool:
    """Whether a secret's name, plain or escaped, is in a text."""
    return any(map(_IN_TEXTS.search, escapes.forms(text)))


def names_a_secret(text: str) -> bool:
    """Whether a secret's name is in a text that has any sign but `. , ! ? - _ @`, beside it or not: whatever the
    notation, the secret may be there, too.
    """
    return _SIGN.search(text) is not None and has_a_name(text)


def bare(word: str) -> str:
    """A member's name as `NAMING` and `VALUES` have it: programs that make JSON of XML put a sign before it, or have
    nothing but a sign for a text (`@var`, `-var`, `_text`, `__content__`, `#text`, `$t`, `_`).
    """
    return word.lower().lstrip("@_#$-").rstrip("_")


def holds_attributes(word: str) -> bool:
    """Whether such programs keep an element's attributes in the member of this name."""
    return word in _ATTRIBUTES
