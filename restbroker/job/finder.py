"""Finds names of secrets in the members and texts of a job, also where these are escaped.

Called by `job.redact`. Always holds: nothing raises, and the time grows with the length alone.
"""

import re
from collections.abc import Iterable
from typing import Final

import attrs

from restbroker.job import escapes
from restbroker.job.names import SIGN, is_secret

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
_ADDRESS: Final = re.compile(r"[\w.-]++@[\w.-]++/")
_WORD: Final = re.compile(r"@?[^\s@=<>{}\"'&,;/]{1,200}")


@attrs.frozen
class Finder:
    """Finds names of secrets ("password", …) in a job. `reads_escapes`: also where such a name is escaped."""

    reads_escapes: bool

    def is_secret(self, name: str) -> bool:
        """Tell whether a member of an object with this name holds a secret."""
        return any(map(is_secret, self._forms(name)))

    def has_a_name(self, text: str) -> bool:
        """Tell whether a secret's name is in a text."""
        return any(map(_has_a_name, self._forms(text)))

    def names_a_secret(self, text: str) -> bool:
        """Tell whether a text has a secret's name and a sign (`password=x`), so that it may hold the secret itself.

        A sign is any but `. , ! ? - _ @` and the `/` of a JID at the beginning.
        """
        address = _ADDRESS.match(text)
        return SIGN.search(text, address.end() if address else 0) is not None and self.has_a_name(text)

    def is_a_name(self, text: str) -> bool:
        """Tell whether a text is a single word, and no address, with a secret's name in it."""
        return self.has_a_name(text) and any(map(_WORD.fullmatch, self._forms(text)))

    def _forms(self, text: str) -> Iterable[str]:
        return escapes.forms(text) if self.reads_escapes else (text,)


def _has_a_name(text: str) -> bool:
    small = text.casefold()
    return any(name in small for name in _IN_TEXTS) or ("pass" in small and _PASS.search(text) is not None)
