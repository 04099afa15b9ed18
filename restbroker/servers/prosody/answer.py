"""Reads what Prosody answers: a stanza as JSON, the admin API's JSON, one of Prosody's pages, or a proxy's.

Used by the judge, the connector and the check. Always holds: no body makes it raise, and what is read for people holds
neither a secret of the call nor the login that the request carried.
"""

import re
from collections.abc import Iterable, Mapping
from html import unescape
from typing import Final

import attrs

from restbroker.job import hiding
from restbroker.job.json_types import Json
from restbroker.transport.message import Response

WORDS_LIMIT: Final = 300
_TEXT_LIMIT: Final = 16_384
"""Of what is read for people: more of a hostile answer would hold up all targets."""
_HEAD_LIMIT: Final = 4096
"""Of a page; Prosody's own, with its style, has 1 KiB."""
# Prosody's pages say what is wrong in their last paragraph, and the name of the status in the heading.
_SAID: Final = re.compile(r'<p class="extra">([^<]*)</p>')
_TITLE: Final = re.compile(r"<title>([^<]*)</title>", re.IGNORECASE)
_STYLE: Final = re.compile(r"<style>[^<]*</style>", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^>]*>")


@attrs.frozen
class Answer:
    """`text`: the body, masked and cut. `words`: what it says to people. `unmasked`: the same for a judge alone."""

    text: str
    words: str
    unmasked: str = attrs.field(repr=False)
    _hide: hiding.Hide = attrs.field(repr=False)

    def hide(self, text: str) -> str:
        """A part of the answer as people may see it."""
        return self._hide(text, WORDS_LIMIT)

    def says(self, status: int) -> str:
        """A sentence."""
        if self.words:
            # The headings of Prosody's pages begin with the status.
            words = self.words.removeprefix(f"{status} ")
            return f"Status {status}: {words}"
        return f"Prosody answered with status {status} and no words."


def read(response: Response, secrets: Iterable[hiding.Secret] = ()) -> Answer:
    """The answer in this response, with these secrets and the login masked wherever the server echoes them."""
    known = hiding.said(response.said) | hiding.spelled(secrets)
    raw = response.body[:_TEXT_LIMIT].decode("utf-8", "replace")
    text = hiding.without(raw, known)
    if len(response.body) > _TEXT_LIMIT:
        text = hiding.beginning(text, known)
    unmasked = " ".join(_words(raw).split())[:WORDS_LIMIT]
    hide = hiding.hiding((), known)
    return Answer(text, hide(_words(text), WORDS_LIMIT), unmasked, hide)


def stanza_in(body: Json) -> Mapping[str, Json] | None:
    """The stanza in an answer of mod_rest; of several (an archive's) the last, which ends them."""
    if isinstance(body, dict) and isinstance(several := body.get("xmpp"), list):
        body = several[-1] if several else None
    return body if isinstance(body, dict) else None


def version_in(body: Json) -> str | None:
    """The version in Prosody's answer to an iq that asks for it."""
    match stanza_in(body):
        case {"version": {"version": str(version)}}:
            # "0.12.3", "13.0.1", and for nightly builds words behind it.
            return version.split()[0][:40] if version.strip() else None
        case _:
            return None


def _words(text: str) -> str:
    if not text.lstrip().startswith("<"):
        return text
    page = text[:_HEAD_LIMIT]
    found = _SAID.search(page) or _TITLE.search(page)
    return unescape(found[1] if found else _TAG.sub(" ", _STYLE.sub(" ", page))).strip()
