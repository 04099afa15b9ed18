"""The masked texts of a server's answer, for people. The judges, probes and checks of all kinds use it.

Always holds: a text is masked as a whole before it is cut, searched or split.
"""

import re
from typing import Final

import attrs

from restbroker.config.target_secrets import spellings_of
from restbroker.job import hiding
from restbroker.transport.message import Response

WORDS_LIMIT: Final = 300
_LOGIN: Final = re.compile("//[^/]*@")
_VERSION_LIMIT: Final = 40


@attrs.frozen
class MaskedText:
    """The masked texts of one answer; `text` is its body, masked and cut."""

    text: str
    _location: str = attrs.field(repr=False)
    _known: hiding.Spellings = attrs.field(repr=False)
    _hide: hiding.Hide = attrs.field(repr=False)

    def beginning(self, words: str) -> str:
        """Return a part of the answer as it came, but masked and cut as the body is."""
        return hiding.beginning(words, self._known)

    def hide(self, words: str) -> str:
        """Return a part of the answer on one line, masked and cut."""
        return self._hide(words, WORDS_LIMIT)

    def version(self, words: str) -> str | None:
        """Return the first word of a text that tells a version, masked and cut; None if there is none."""
        return (self.hide(words).split() or [""])[0][:_VERSION_LIMIT] or None

    def address(self) -> str:
        """Return the address that a redirect names, masked, without login and query; "" if the answer names none."""
        where = self._hide(self._location, len(self._location))
        return self.hide(_LOGIN.sub("//", where).partition("?")[0])


def mask_response(response: Response, known: hiding.Spellings) -> MaskedText:
    """Return the texts of an answer, with the `known` spellings, its request's login and target's secrets masked."""
    known |= hiding.login_spellings(response.request_pairs) | spellings_of(response.secrets)
    # A character has four bytes at most, and one more character tells that there are more.
    body = response.body[: 4 * (hiding.START_LIMIT + 1)].decode("utf-8", "replace")
    location = response.headers.get("location", "")
    return MaskedText(hiding.beginning(body, known), location, known, hiding.make_hide((), known))
