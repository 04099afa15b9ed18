"""Reads what Prosody answers: a stanza or an error as JSON, one of Prosody's pages, or a proxy's. Pure.

Used by the judge, the probe and the check. Always holds: no body makes it raise.
"""

import re
from collections.abc import Mapping
from html import unescape
from typing import Final

from restbroker.job.json_types import Json
from restbroker.servers.api.answer import AnswerForm, is_of_api
from restbroker.servers.api.texts import parse_json
from restbroker.transport.message import Response

_HEAD_LIMIT: Final = 4096
"""How many characters of a page are searched; Prosody's own pages, with their style, have 1 KiB."""
# Prosody's pages say what is wrong in their last paragraph, and the name of the status in the heading.
_SAID: Final = re.compile(r'<p class="extra">([^<]*)</p>')
_OWN_PAGE: Final = re.compile(rb'p\.extra\{|<p class="extra">')
"""What each of Prosody's own pages has: the style of that paragraph, or one (recorded on 0.12.3 and 13.0.1)."""
_TITLE: Final = re.compile(r"<title>([^<]*)</title>", re.IGNORECASE)
_STYLE: Final = re.compile(r"<style>[^<]*</style>", re.IGNORECASE)
_WORDS: Final = re.compile(r"<text\b[^>]*>([^<]*)</text>")
"""The text of an error that mod_rest sends as XML."""
_TAG: Final = re.compile(r"<[^>]*>")


def stanza_in(body: Json) -> Mapping[str, Json] | None:
    """Return the stanza in an answer of mod_rest, the last of several (an archive's); None if there is none."""
    if isinstance(body, dict) and isinstance(several := body.get("xmpp"), list):
        body = several[-1] if several else None
    return body if isinstance(body, dict) else None


def version_in(body: Json) -> str:
    """Return the version in Prosody's answer to an iq asking for it; "" if it tells none, or a bot's host answered."""
    match stanza_in(body):
        case {"version": {"name": "Prosody", "version": str(version)}}:
            return version  # "0.12.3", "13.0.1", and for nightly builds words behind it
        case _:
            return ""


def _is_xml(response: Response) -> bool:
    return response.headers.get("content-type", "").startswith("application/xmpp+xml")


def is_page(response: Response) -> bool:
    """Tell whether the body is a page; Prosody answers 500 with one if any of its modules crashed.

    The answers of mod_rest itself in XML, errors too, have another content type (0.12.3 and 13.0.1, recorded).
    """
    return not _is_xml(response) and response.body.lstrip().startswith(b"<")


def _error(response: Response, text: str) -> tuple[str, str]:
    if _is_xml(response) and (words := _WORDS.search(text)) is not None:
        return "", unescape(words[1])
    if not is_page(response):
        return "", _in_json(parse_json(text.encode()), text)
    page = text[:_HEAD_LIMIT]
    found = _SAID.search(page) or _TITLE.search(page)
    return "", unescape(found[1] if found else _TAG.sub(" ", _STYLE.sub(" ", page))).strip()


def _in_json(body: Json, text: str) -> str:
    """Return what an error says, in a stanza or in the body of a status (the same on 0.12.3 and 13.0.1, recorded)."""
    match body:
        case {"error": {"text": str(words)}} | {"error": {"condition": str(words)}}:
            return words
        case {"type": "error", "code": int()}:
            return ""  # of the status alone
        case _:
            return text


def _is_own(response: Response) -> bool:
    return is_of_api(response) or _OWN_PAGE.search(response.body[:_HEAD_LIMIT]) is not None


FORM: Final = AnswerForm(_error, is_own=_is_own)
"""How Prosody answers; it has names of errors in stanzas alone."""
