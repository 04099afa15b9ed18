"""Judges an answer by the lists of its command: done, to be sent again, or final. Pure; the connector calls `classify`.

Always holds: every answer has an outcome, and no refusal shows a secret of the configuration, even if the server sent
it back. The answer to a command that was done is passed on as it is. No redirect is followed.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import attrs

from restbroker.job import hiding
from restbroker.job.command import Call
from restbroker.job.outcome import Deferred, Outcome, Uncertain
from restbroker.servers.api.answer import Answer, AnswerForm, deliver_as_is, read_for
from restbroker.servers.api.ladder import BUSY as BUSY_ALL
from restbroker.servers.api.ladder import FAILED, Ladder, ladder, may_pass, standard
from restbroker.servers.api.texts import page_heading, parse_json
from restbroker.servers.http import signature
from restbroker.servers.http.catalogue import Recipe, named
from restbroker.servers.loops import REFUSAL
from restbroker.transport.message import Response

BUSY: Final = frozenset({429, 503})
BUSY_S: Final = 5.0
"""For so many seconds a server that says so, without a Retry-After, is left alone with that job."""
LONGEST_BUSY_S: Final = 60.0
"""So many seconds at most a 429 or 503 keeps the probe from calling the server well, and its job waiting for a 503.

A job heeds all of a 429's Retry-After; others must not wait a day for what one command met.
"""
REFUSED: Final = frozenset({401, 403})
_TOO_MANY: Final = 429
_LOOP: Final = 508
_HINT_LOOP: Final = (
    "Let the route of events name another target; `Chain` of the source takes it where nothing leads back."
)
_SAYS: Final = ("message", "error_description", "detail", "error", "title")
_HINTS: Final = {
    401: "Check the target's login (Auth, Headers).",
    403: "Check what the target's login may do.",
    404: "Check the command's Path, the target's URL, and that the names in the job exist.",
    405: "Check the command's Method.",
}
_HINT: Final = "Correct the arguments, or the command's templates in the configuration."
_SIGNED: Final = " If the server mentions a signature, compare its secret with SigningSecrets, and the clocks."

_SHARED: Final = standard("the server", check_url="", check_log="Check the server's log.")
_NOT_NOW: Final = attrs.evolve(_SHARED[FAILED], how={})
_RUNGS: Final[Ladder] = (
    _SHARED
    | dict.fromkeys(("3xx", "4xx", "other", 413), _NOT_NOW)
    # Not `pause_target`: it is this command that was deferred. If most are, the breaker trips by itself.
    | dict.fromkeys(BUSY_ALL, attrs.evolve(_SHARED[503], how={"counts": False, "ran": "unlikely"}))
)
"""Rungs for what is to be sent again by the command's own list, and for what a gateway may have answered."""


def classify(
    call: Call, recipe: Recipe, response: Response, now_s: float = 0.0, signing: Sequence[str] = ()
) -> Outcome:
    """Return the outcome of this answer; `now_s` (epoch seconds) is for a Retry-After that names a date.

    `signing`: the keys of the signatures; they are masked, since the receiver knows and may repeat them.
    """
    status = response.status
    if _is_in(status, recipe.success):
        # Its producer's, whatever it is: a mask for a short or everyday secret would spoil good answers.
        return deliver_as_is(response, parse_json(response.parsable.decode("utf-8", "replace")))
    hidden = hiding.login_spellings(response.request_pairs, recipe.secret_headers) | _spellings_of(tuple(signing))
    answer = read_for(AnswerForm(_error, hidden, is_own=_is_json), call, recipe.spec, response=response, now_s=now_s)
    if status == _LOOP and REFUSAL.encode() in response.body:
        # In these words it is proof that nothing ran, whatever the command's list says.
        return answer.reject("EventLoop", _HINT_LOOP)
    is_retried = _is_in(status, recipe.retry)
    if is_retried or may_pass(status):
        return _classify_failure(answer, is_retried=is_retried)
    if 300 <= status < 400 and "location" in response.headers:
        hint = "Put the new address into the target's URL or the command's Path: restbroker does not follow redirects."
        return answer.reject("Redirected", hint, f"The server redirects to {answer.masked_text.address()}.")
    code = {401: "LoginRefused", 403: "CommandForbidden", 404: "NotFound"}.get(status, "Refused")
    hint = _HINTS.get(status, _HINT)
    if code == "NotFound" and recipe.secret_path is not None:
        hint = f"Check the path in {named(recipe.secret_path)}, and the target's URL."
    return answer.reject(code, hint + (_SIGNED if signing else ""))


def _classify_failure(answer: Answer, *, is_retried: bool) -> Outcome:
    """Return the outcome of what may pass; the command's list says only whether it is sent again."""
    outcome = ladder(answer, _RUNGS)
    match outcome:
        case Uncertain():
            return attrs.evolve(outcome, is_final=not is_retried)
        case Deferred() if not is_retried:
            return attrs.evolve(outcome, counts=True, max_attempts=1)
        case Deferred(retry_after_s=wait_s) if answer.status in BUSY_ALL:
            longest_s = math.inf if answer.status == _TOO_MANY else LONGEST_BUSY_S
            return attrs.evolve(outcome, retry_after_s=BUSY_S if wait_s is None else min(wait_s, longest_s))
        case _:
            return outcome


def _is_json(response: Response) -> bool:
    return parse_json(response.parsable) is not None


def _is_in(status: int, ranges: tuple[range, ...]) -> bool:
    for span in ranges:  # noqa: SIM110 - `any` takes three times as long
        if status in span:
            return True
    return False


def _error(_response: Response, text: str) -> tuple[str, str]:
    body = parse_json(text.encode("utf-8", "surrogatepass"))
    told = (body.get(name) for name in _SAYS) if isinstance(body, dict) else ()
    words = next((said for said in told if isinstance(said, str)), text)
    return "", page_heading(words)


# Made for each answer, and the same for nearly all: it takes 0.2 ms.
@lru_cache(maxsize=32)
def _spellings_of(signing: tuple[str, ...]) -> hiding.Spellings:
    return hiding.spellings_of(spelling for secret in signing for spelling in signature.spellings(secret))
