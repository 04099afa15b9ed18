"""What counts as a secret's name, and by which words a field names what it holds, in whatever notation.

Asked by all that hides secrets: `job.redact` for values, `job.structured` and `job.fields` for texts, `job.spellings`
for headers. Always holds: only words, no notation.
"""

import re
from typing import Final

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
_ATTRIBUTES: Final = frozenset({"$", "@", ":@", "@attributes", "_attributes", "attributes"})


def is_secret(name: str) -> bool:
    """Whether what is called so is secret, in arguments and headers."""
    return _SECRET.search(name.lower()) is not None


def bare(word: str) -> str:
    """A member's name as `NAMING` and `VALUES` have it: programs that make JSON of XML put a sign before it, or have
    nothing but a sign for a text (`@var`, `-var`, `_text`, `__content__`, `#text`, `$t`, `_`).
    """
    return word.lower().lstrip("@_#$-").rstrip("_")


def holds_attributes(word: str) -> bool:
    """Whether such programs keep an element's attributes in the member of this name."""
    return word in _ATTRIBUTES
