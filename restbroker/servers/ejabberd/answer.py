"""Reads an answer's body: JSON (a text, an object, a number), a proxy's HTML page, or anything else.

Used by `outcomes`, the probe and the check. Always holds: no body makes it raise; neither a secret of the call nor the
login that the request carried is in the texts for people.
"""

import re
from collections.abc import Iterable, Mapping
from html import unescape
from typing import Final

import orjson

from restbroker.job import hiding, redact
from restbroker.job.command import Call, CommandSpec
from restbroker.job.json_types import Json
from restbroker.servers.api.answer import Answer, AnswerForm
from restbroker.servers.api.masked_text import WORDS_LIMIT, mask_response
from restbroker.transport.message import Response

_HEAD_LIMIT: Final = 1024
"""How many characters of a page are searched for its heading: the time for a hostile one grows with the square."""

_BYTE_LIST: Final = re.compile(r"<<([0-9]{1,3}(?:,\s*[0-9]{1,3})*)>>")
_RUNNING: Final = re.compile(r"ejabberd (\d+\.\d+)\S* is running")
_TITLE: Final = re.compile(r"<(h1|title)\b[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")


def parse(body: bytes) -> tuple[str, Json, bool]:
    """Return a body as text, the same parsed (None if it is not JSON), and whether it is JSON."""
    text = body.decode("utf-8", "replace")
    try:
        return text, orjson.loads(body), True
    except ValueError:
        return text, None, False


def read(response: Response, secrets: Iterable[hiding.Secret] = (), now_s: float = 0.0) -> Answer:
    """Return the answer in this response, with these secrets and the login masked wherever the server echoes them.

    Its `body` is parsed, its `code` ejabberd's number; `is_own` if it is JSON, which ejabberd's API always sends.
    """
    text, body, is_json = parse(response.body)
    shown = mask_response(response, hiding.spellings_of(secrets))
    code = body.get("code") if isinstance(body, Mapping) else None
    message = body.get("message") if isinstance(body, Mapping) else body
    source = message if isinstance(message, str) else text
    is_page = source is text and not is_json
    limit = _HEAD_LIMIT if is_page else hiding.START_LIMIT
    said = shown.text[:limit] if source is text else shown.beginning(source)
    words = shown.hide(_message(said, is_page=is_page))
    unmasked = " ".join(_message(source[:limit], is_page=is_page).split())[:WORDS_LIMIT]
    shown_body = body if shown.text == text else parse(shown.text.encode())[1]
    number = str(code) if isinstance(code, int) else ""
    return Answer(
        response=response,
        masked_text=shown,
        message=words,
        code=number,
        raw_message=unmasked,
        now_s=now_s,
        form=_FORM,
        body=shown_body,
        is_own=is_json,
    )


def read_for(call: Call, spec: CommandSpec | None, response: Response, now_s: float) -> Answer:
    """Return the answer to a call, with the secrets of the call and the login masked."""
    return read(response, redact.secret_values(spec, call.command.arguments), now_s)


def version_in(answer: Answer) -> str | None:
    """Return the version in a running ejabberd's answer to `status`; None for every other answer."""
    found = _RUNNING.search(answer.raw_message)
    return found[1] if found else None


def hosts_in(response: Response) -> list[str] | None:
    """Return the virtual hosts in an answer to `registered_vhosts`, not masked; None if it has no such list."""
    hosts = parse(response.body)[1]
    return [str(host) for host in hosts] if response.status == 200 and isinstance(hosts, list) else None


def is_stopped(answer: Answer) -> bool:
    """Tell whether, by this answer to `status`, the Erlang node runs but ejabberd in it does not."""
    return answer.raw_message.startswith("The node") and version_in(answer) is None


def render(text: str) -> str:
    """Return the text with Erlang's byte lists as text: `Arg <<51,48>> is not in format integer` speaks of "30"."""
    return _BYTE_LIST.sub(_characters, text)


def _characters(found: re.Match[str]) -> str:
    numbers = [int(number) for number in found[1].split(",")]
    if any(number > 255 for number in numbers):
        return found[0]
    return '"' + bytes(numbers).decode("utf-8", "replace") + '"'


def _message(text: str, *, is_page: bool) -> str:
    return render(_without_tags(text) if is_page else text)


def _without_tags(head: str) -> str:
    title = _TITLE.search(head)
    return unescape(_TAG.sub(" ", title[2] if title else head)).strip()


# It is read here: JSON has one text for people, and a page another.
_FORM: Final = AnswerForm(lambda _response, text: ("", text), prefix="The server says: ")
