"""Reads what MongooseIM answers: GraphQL data and errors, nothing at all, or a proxy's page.

Used by the judge, the connector and the check. Always holds: no body makes it raise; codes are for the judge, words for
people, and the words hold neither a secret of the call nor the login that the request carried.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from restbroker.job import hiding
from restbroker.job.json_types import Json
from restbroker.light import field, frozen, frozen_plain
from restbroker.servers.api.answer import Answer, AnswerForm, is_of_api, mask_response
from restbroker.servers.api.texts import page_heading, parse_json
from restbroker.transport.message import Response

_MOST_PROBLEMS: Final = 10_000
_CODE: Final = re.compile(r"[A-Za-z0-9_]{1,60}", re.ASCII)
# Written as Erlang writes it, in which no secret or message text would be recognised.
_VALUE: Final = re.compile(r"failed for type \w{1,60}(?= with value )")
# What stands there in the job's document, which may hold a password.
_PART: Final = re.compile(r"Cannot (?:parse|scan) line \d{1,20}")
_QUOTING: Final = ("parser_error", "scanner_error")
_OF_PAGE: Final = AnswerForm(lambda _response, text: ("", text))
_OF_PROBLEM: Final = AnswerForm(lambda _response, text: ("", text), prefix="The server says: ")


@frozen
class AnswerError:
    """One error of an answer. `code` is stable, "" if the error has none.

    The texts are for a judge and for `answer_of` alone; a message about a value that does not fit its type, or about a
    document, quotes nothing of it. `missing`: the modules and services that are not loaded.
    """

    code: str
    path: tuple[str | int, ...]
    message: str = field(repr=False)
    missing: tuple[str, ...] = ()


@frozen_plain
class GraphqlResult:
    """A parsed answer. `is_answer`: it has the form of a GraphQL answer.

    `data`: the object in it, empty if there is none. `problems`: its errors. `body`: the whole parsed body.
    """

    is_answer: bool
    data: Mapping[str, Json]
    problems: tuple[AnswerError, ...]
    body: Json = None

    def at(self, path: Sequence[str]) -> Json:
        """Return the value at this path in the data, e.g. ("server", "status"); None if there is none."""
        found: Json = dict(self.data)
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found


def read(body: bytes) -> GraphqlResult:
    """Parse the body of an answer; a body that is not a GraphQL answer gives a result with `is_answer` false."""
    found = parse_json(body)
    if not isinstance(found, dict) or not ("data" in found or "errors" in found):
        return GraphqlResult(is_answer=False, data={}, problems=())
    data, errors = found.get("data"), found.get("errors")
    problems = tuple(_problems(errors)) if isinstance(errors, list) else ()
    return GraphqlResult(is_answer=True, data=data if isinstance(data, dict) else {}, problems=problems, body=found)


def answer_of(
    response: Response, problem: AnswerError | None, secrets: Iterable[hiding.Secret] = (), now_s: float = 0.0
) -> Answer:
    """Return the answer for people: the server's words on this problem or, without one, the start of its body.

    The words are masked: they hold none of these secrets. `now_s`: epoch seconds.
    """
    if problem is not None and problem.code in _QUOTING:
        response = attrs.evolve(response, body=b"")
    shown = mask_response(response, hiding.spellings_of(secrets))
    if problem is not None:
        words = shown.hide(": ".join(part for part in (problem.code, problem.message) if part))
        return Answer(
            response, shown, words, code=problem.code, raw_message=problem.message, now_s=now_s, form=_OF_PROBLEM
        )
    is_own = is_of_api(response)
    words = shown.hide(page_heading(shown.text))
    return Answer(response, shown, words, code="", raw_message="", now_s=now_s, form=_OF_PAGE, is_own=is_own)


def version_in(answer: GraphqlResult) -> str:
    """Return the version that the server's status says, as "6.8.0" or "6.8.0-12-gabc123"; "" if it says none."""
    match answer.at(("server", "status")):
        case {"version": str(version)}:
            return version
        case _:
            return ""


def _problems(errors: list[Json]) -> Iterator[AnswerError]:
    for error in errors[:_MOST_PROBLEMS]:
        told: Mapping[str, Json] = error if isinstance(error, dict) else {}
        extensions, path, message = told.get("extensions"), told.get("path"), told.get("message")
        more: Mapping[str, Json] = extensions if isinstance(extensions, dict) else {}
        code = more.get("code")
        yield AnswerError(
            code if isinstance(code, str) and _CODE.fullmatch(code) else "",
            tuple(part for part in path if isinstance(part, str | int)) if isinstance(path, list) else (),
            _without_quotes(message) if isinstance(message, str) else "",
            tuple(_texts(more.get("not_loaded_modules"))) + tuple(_texts(more.get("not_loaded_services"))),
        )


def _without_quotes(message: str) -> str:
    """Return the message without what it quotes, which goes to its end unless something behind it is known."""
    begin = message[: hiding.START_SEARCHED]
    if found := _VALUE.search(begin):
        reason = message.rfind(". The reason", found.end())
        begin = begin[: found.end()] + (message[reason:] if reason >= 0 else "")
    if found := _PART.search(begin):
        return begin[: found.end()]
    return begin[: hiding.START_SEARCHED]


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, list):
        yield from (text for text in value if isinstance(text, str) and _CODE.fullmatch(text))
