"""Reads an answer's body into words, whatever it is: JSON text, object or number, a proxy's HTML page, garbage.

Used by the judge, the probe and the check. Always holds: no body makes it raise, and `words` holds no secret of the
call.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import unescape
from typing import Final

import attrs
import orjson

from restbroker.connectors.ejabberd.knowledge import is_secret_argument
from restbroker.rules.command import CommandSpec
from restbroker.rules.json_types import Json
from restbroker.transport.message import Response

WORDS_LIMIT: Final = 300
MASK: Final = "***"

_BYTE_LIST: Final = re.compile(r"<<([0-9]{1,3}(?:,\s*[0-9]{1,3})*)>>")
_RUNNING: Final = re.compile(r"ejabberd (\d+\.\d+)\S* is running")
_TITLE: Final = re.compile(r"<(h1|title)\b[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")


@attrs.frozen
class Answer:
    """`text` is the body as sent, masked; `body` the same parsed; `words` what the server says; `code` its number.

    `is_json` tells an answer of ejabberd's API, which always sends JSON, from a page of something else.
    """

    text: str
    body: Json
    words: str
    code: int | None
    is_json: bool


def parse(response: Response) -> tuple[str, Json, bool]:
    """The body as text, the body parsed (None if it is no JSON), and whether it is JSON."""
    text = response.body.decode("utf-8", "replace")
    try:
        return text, orjson.loads(response.body), True
    except ValueError:
        return text, None, False


def read(response: Response, secrets: Iterable[str] = ()) -> Answer:
    """The answer in this response, with these secrets masked wherever the server echoes them."""
    text, body, is_json = parse(response)
    known = tuple(secrets)
    code = body.get("code") if isinstance(body, Mapping) else None
    said = body.get("message") if isinstance(body, Mapping) else body
    words = said if isinstance(said, str) else text if is_json else _without_tags(text)
    shown = " ".join(_mask(render(words), known).split())
    masked = _mask(render(text), known) if known else text
    return Answer(masked, body, shown[:WORDS_LIMIT], code if isinstance(code, int) else None, is_json)


def version_in(answer: Answer) -> str | None:
    """The version that a running ejabberd tells in its answer to `status`; None in every other answer."""
    found = _RUNNING.search(answer.words)
    return found[1] if found else None


def is_stopped(answer: Answer) -> bool:
    """Whether this answer to `status` says that the Erlang node runs and ejabberd in it does not."""
    return answer.words.startswith("The node") and version_in(answer) is None


def render(text: str) -> str:
    """Turns Erlang's byte lists into text: `Arg <<51,48>> is not in format integer` speaks of "30"."""
    return _BYTE_LIST.sub(_characters, text)


def secrets_of(arguments: Mapping[str, Json], spec: CommandSpec | None) -> tuple[str, ...]:
    """The texts that must not be shown: the values of secret arguments, in each form in which a server echoes them."""
    texts: set[str] = set()
    for name, value in arguments.items():
        argument = spec.argument(name) if spec is not None else None
        if is_secret_argument(name) or (argument is not None and argument.secret):
            for leaf in _leaves(value):
                texts |= {leaf, json.dumps(leaf)[1:-1], json.dumps(leaf, ensure_ascii=False)[1:-1]}
    # Longest first, or masking a short secret would leave the rest of a longer one that contains it.
    return tuple(sorted(texts - {""}, key=len, reverse=True))


def _leaves(value: Json) -> Iterator[str]:
    match value:
        case None | bool():
            return
        case str():
            yield value
        case int() | float():
            yield str(value)
        case Mapping():
            for inner in value.values():
                yield from _leaves(inner)
        case _:
            for inner in value:
                yield from _leaves(inner)


def _mask(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text


def _characters(found: re.Match[str]) -> str:
    numbers = [int(number) for number in found[1].split(",")]
    if any(number > 255 for number in numbers):
        return found[0]
    return '"' + bytes(numbers).decode("utf-8", "replace") + '"'


def _without_tags(text: str) -> str:
    head = text[:4096]
    title = _TITLE.search(head)
    return unescape(_TAG.sub(" ", title[2] if title else head)).strip()
