"""Which names are names of secrets.

Used by everything that hides secrets: `job.redact` for arguments, `job.hiding` for headers and answers, and by
`enqueue`. Always holds: no notation is known here; nothing raises, and the time grows with the length alone.
"""

import re
from typing import Final

_SECRET: Final = re.compile(r"pass|pwd|secret|token|credential|(api|private)[_-]?key|authorization|cookie|stream_?id")
BODY_NAMES: Final = frozenset(
    {
        *("body", "elementstring", "html", "htmlbody", "message", "messagebody", "messagehtml", "messagesubject"),
        *("question", "raw", "stanza", "subject", "text", "textbody", "xml"),
    }
)
"""Arguments that are message texts, in lower case.

`raw` of an event is all that its server sent, which may have texts under any name.
"""
NODE: Final = "node"
"""The member of a push event that names a client at a push service, and may be all that it takes to notify it."""
VALUES: Final = frozenset({"value", "values", "val", "content", "text", "variables"})
"""Arguments that hold the value of what another argument names: an option's value, the variables of a document."""
# What prose and JIDs are made of besides letters and digits. Any other sign may put a value beside a name.
_SIGN: Final = re.compile(r"[^\w \t.,!?@-]")
_ADDRESS: Final = re.compile(r"[\w.-]++@[\w.-]++/")
_WORD: Final = re.compile(r"@?[^\s@=<>{}\"'&,;/]{1,200}")
# `text-private`: the type of a data form's field that is a password, whatever it is called (XEP-0004).
_IN_TEXTS: Final = (
    *("passw", "passphrase", "passcode", "passkey", "pwd", "secret", "token", "credential", "authorization", "cookie"),
    *(f"{word}{between}key" for word in ("api", "private") for between in ("", "_", "-")),
    *("streamid", "stream_id", "text-private"),
)
# In prose and names of hosts "pass" is a part of words: passed, compass, Passau.
_PASS: Final = re.compile(
    r"[Pp][Aa][Ss][Ss](?:[Ee]\b|(?![a-z])(?i:(?<!\bcompass)(?<!\bbypass)(?<!\btrespass)(?<!\boverpass)"
    r"(?<!\bsurpass)(?<!\bunderpass)))"
)


def is_secret(name: str) -> bool:
    """Tell whether an argument or header of this name is secret."""
    return _SECRET.search(name.lower()) is not None


def has_a_name(text: str) -> bool:
    """Tell whether a secret's name is in a text."""
    small = text.casefold()
    return any(name in small for name in _IN_TEXTS) or ("pass" in small and _PASS.search(text) is not None)


def has_a_sign(text: str) -> bool:
    """Tell whether a text has a sign that may put a value beside a name, as "=".

    That is any but `. , ! ? - _ @` and the `/` of a JID at the beginning.
    """
    address = _ADDRESS.match(text)
    return _SIGN.search(text, address.end() if address else 0) is not None


def is_a_word(text: str) -> bool:
    """Tell whether a text is a single word, and no address."""
    return _WORD.fullmatch(text) is not None
