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
from restbroker.servers.api.shown import WORDS_LIMIT, Shown, show
from restbroker.transport.message import Response

_HEAD_LIMIT: Final = 4096
"""Of a page; Prosody's own, with its style, has 1 KiB."""
# Prosody's pages say what is wrong in their last paragraph, and the name of the status in the heading.
_SAID: Final = re.compile(r'<p class="extra">([^<]*)</p>')
_TITLE: Final = re.compile(r"<title>([^<]*)</title>", re.IGNORECASE)
_STYLE: Final = re.compile(r"<style>[^<]*</style>", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^>]*>")


@attrs.frozen
class Answer:
    """`shown`: what people may see. `words`: what it says to them. `unmasked`: the same for a judge alone."""

    shown: Shown
    words: str
    unmasked: str = attrs.field(repr=False)

    @property
    def text(self) -> str:
        """The body, masked and cut."""
        return self.shown.text

    def says(self, status: int) -> str:
        """A sentence."""
        if self.words:
            # The headings of Prosody's pages begin with the status.
            words = self.words.removeprefix(f"{status} ")
            return f"Status {status}: {words}"
        return f"Prosody answered with status {status} and no words."


def read(response: Response, secrets: Iterable[hiding.Secret] = ()) -> Answer:
    """The answer in this response, with these secrets and the login masked wherever the server echoes them."""
    shown = show(response, hiding.spelled(secrets))
    raw = response.body[: hiding.START_LIMIT].decode("utf-8", "replace")
    unmasked = " ".join(_words(raw).split())[:WORDS_LIMIT]
    return Answer(shown, shown.hide(_words(shown.text)), unmasked)


def stanza_in(body: Json) -> Mapping[str, Json] | None:
    """The stanza in an answer of mod_rest; of several (an archive's) the last, which ends them."""
    if isinstance(body, dict) and isinstance(several := body.get("xmpp"), list):
        body = several[-1] if several else None
    return body if isinstance(body, dict) else None


def version_in(body: Json) -> str:
    """What Prosody's answer to an iq that asks for its version tells, "" if it tells none."""
    match stanza_in(body):
        case {"version": {"version": str(version)}}:
            return version  # "0.12.3", "13.0.1", and for nightly builds words behind it
        case _:
            return ""


def _words(text: str) -> str:
    if not text.lstrip().startswith("<"):
        return text
    page = text[:_HEAD_LIMIT]
    found = _SAID.search(page) or _TITLE.search(page)
    return unescape(found[1] if found else _TAG.sub(" ", _STYLE.sub(" ", page))).strip()
