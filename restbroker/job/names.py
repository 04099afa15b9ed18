"""What counts as a secret's name, and which texts name a secret.

Asked by all that hides secrets: `job.redact` for arguments, `job.hiding` for headers and answers. Always holds: no
notation is known here; nothing raises, and the time grows with the length alone.
"""

import re
from collections.abc import Iterable
from typing import Final

import attrs

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
VALUES: Final = frozenset({"value", "values", "val", "content", "text", "variables"})
"""Arguments that hold what another one names: an option's value, the variables of a document."""
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
# What prose and JIDs are made of besides letters and digits. Any other sign may put a value beside a name.
_SIGN: Final = re.compile(r"[^\w \t.,!?@-]")
_ADDRESS: Final = re.compile(r"[\w.-]++@[\w.-]++/")
_WORD: Final = re.compile(r"@?[^\s@=<>{}\"'&,;/]{1,200}")


def is_secret(name: str) -> bool:
    """Return whether what is called so is secret, in arguments and headers."""
    return _SECRET.search(name.lower()) is not None


@attrs.frozen
class Finder:
    """Finds names of secrets in the members and texts of a job. `reads_escapes`: also where they are escaped."""

    reads_escapes: bool

    def is_secret(self, name: str) -> bool:
        """Return whether the member of this name is secret."""
        return any(map(is_secret, self._forms(name)))

    def has_a_name(self, text: str) -> bool:
        """Return whether a secret's name is in a text."""
        return any(map(_has_a_name, self._forms(text)))

    def names_a_secret(self, text: str) -> bool:
        """Return whether a secret's name is in a text that has any sign but `. , ! ? - _ @` and the `/` of a JID: the
        secret may be there, too, whatever the notation.
        """
        address = _ADDRESS.match(text)
        return _SIGN.search(text, address.end() if address else 0) is not None and self.has_a_name(text)

    def is_a_name(self, text: str) -> bool:
        """Return whether a secret's name is in a text that is one word, and no address."""
        return self.has_a_name(text) and any(map(_WORD.fullmatch, self._forms(text)))

    def _forms(self, text: str) -> Iterable[str]:
        return escapes.forms(text) if self.reads_escapes else (text,)


def _has_a_name(text: str) -> bool:
    small = text.casefold()
    return any(name in small for name in _IN_TEXTS) or ("pass" in small and _PASS.search(text) is not None)


def may_be_secret(name: str, text: str) -> bool:
    """Return whether `job.redact` may find something secret in an argument of this name that is a text; False is
    certain.
    """
    return _SIGN.search(name + text) is not None or is_secret(name) or name.lower() in VALUES
