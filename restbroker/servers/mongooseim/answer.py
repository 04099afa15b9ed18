"""Reads what MongooseIM answers: data and errors as GraphQL has them, nothing at all, or a proxy's page.

Used by the judge, the connector and the check. Always holds: no body makes it raise; codes are for the judge, words for
people, and these hold neither a secret of the call nor the login that the request carried.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import unescape
from typing import Final

import attrs

from restbroker.job import hiding
from restbroker.job.json_types import Json
from restbroker.servers.api.answer import Answer, AnswerForm
from restbroker.servers.api.shown import show
from restbroker.servers.api.texts import parse_json
from restbroker.transport.message import Response

_HEAD_LIMIT: Final = 1024
_MOST_PROBLEMS: Final = 10_000
_CODE: Final = re.compile(r"[A-Za-z0-9_]{1,60}", re.ASCII)
_TAG: Final = re.compile(r"<[^>]*>")
_OF_PAGE: Final = AnswerForm(lambda _response, text: ("", text))
_OF_PROBLEM: Final = AnswerForm(lambda _response, text: ("", text), says="The server says: ")


@attrs.frozen
class Problem:
    """One error. `code` is stable, "" where there is none. Its texts are for a judge and for `answer_of` alone.

    `missing`: the modules and services that are not loaded.
    """

    code: str
    path: tuple[str | int, ...]
    message: str = attrs.field(repr=False)
    missing: tuple[str, ...] = ()


@attrs.frozen
class Result:
    """`is_answer`: it is one of a GraphQL endpoint. `data`: an object, empty where there is none. `body`: all of it."""

    is_answer: bool
    data: Mapping[str, Json]
    problems: tuple[Problem, ...]
    body: Json = None

    def at(self, path: Sequence[str]) -> Json:
        """What the data has there; None where it has nothing."""
        found: Json = dict(self.data)
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found


def read(body: bytes) -> Result:
    """The answer that this body is."""
    found = parse_json(body)
    if not isinstance(found, dict) or not ("data" in found or "errors" in found):
        return Result(is_answer=False, data={}, problems=())
    data, errors = found.get("data"), found.get("errors")
    problems = tuple(_problems(errors)) if isinstance(errors, list) else ()
    return Result(is_answer=True, data=data if isinstance(data, dict) else {}, problems=problems, body=found)


def answer_of(
    response: Response, problem: Problem | None, secrets: Iterable[hiding.Secret] = (), now_s: float = 0.0
) -> Answer:
    """The answer for people: what the server says of this problem, or with its body, without these secrets."""
    shown = show(response, hiding.spellings_of(secrets))
    if problem is not None:
        words = shown.hide(": ".join(part for part in (problem.code, problem.message) if part))
        return Answer(
            response, shown, words, code=problem.code, unmasked=problem.message, now_s=now_s, form=_OF_PROBLEM
        )
    page = shown.text[:_HEAD_LIMIT]
    words = shown.hide(unescape(_TAG.sub(" ", page)) if page.lstrip().startswith("<") else page)
    return Answer(response, shown, words, code="", unmasked="", now_s=now_s, form=_OF_PAGE)


def version_in(answer: Result) -> str:
    """The version that the server's status tells, as "6.8.0" or "6.8.0-12-gabc123"; "" if it tells none."""
    match answer.at(("server", "status")):
        case {"version": str(version)}:
            return version
        case _:
            return ""


def _problems(errors: list[Json]) -> Iterator[Problem]:
    for error in errors[:_MOST_PROBLEMS]:
        told: Mapping[str, Json] = error if isinstance(error, dict) else {}
        extensions, path, message = told.get("extensions"), told.get("path"), told.get("message")
        more: Mapping[str, Json] = extensions if isinstance(extensions, dict) else {}
        code = more.get("code")
        yield Problem(
            code if isinstance(code, str) and _CODE.fullmatch(code) else "",
            tuple(part for part in path if isinstance(part, str | int)) if isinstance(path, list) else (),
            message if isinstance(message, str) else "",
            tuple(_texts(more.get("not_loaded_modules"))) + tuple(_texts(more.get("not_loaded_services"))),
        )


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, list):
        yield from (text for text in value if isinstance(text, str) and _CODE.fullmatch(text))
