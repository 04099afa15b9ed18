"""Judges an answer by the lists of its command: done, to be sent again, or final. Pure; the connector calls `classify`.

Always holds: every answer has an outcome, and no refusal shows a secret of the configuration, even if the server sent
it back. The answer to a command that was done is passed on as it is. No redirect is followed.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from html import unescape
from typing import Final

import attrs

from restbroker.job import hiding
from restbroker.job.command import Call
from restbroker.job.outcome import Outcome
from restbroker.servers.api.answer import Answer, AnswerForm, deliver_as_is, read_for
from restbroker.servers.api.ladder import GOES_ON, Ladder, ladder, standard
from restbroker.servers.api.texts import parse_json
from restbroker.servers.http import signature
from restbroker.servers.http.recipes import Recipe
from restbroker.transport.message import Response

BUSY: Final = frozenset({429, 503})
BUSY_S: Final = 5.0
"""For so many seconds a server that says so, without a Retry-After, is left alone with that job."""
REFUSED: Final = frozenset({401, 403})
_NOT_NOW: Final = BUSY | {408, 425}
_HEAD_LIMIT: Final = 1024
_SAYS: Final = ("message", "error_description", "detail", "error", "title")
_TAG: Final = re.compile(r"<[^>]*>")
_HINTS: Final = {
    401: "Check the target's login (Auth, Headers).",
    403: "Check what the target's login may do.",
    404: "Check the command's Path, the target's URL, and that the names in the job exist.",
    405: "Check the command's Method.",
}
_HINT: Final = "Correct the arguments, or the command's templates in the configuration."
_SIGNED: Final = " If the server mentions a signature, compare its secret with SigningSecrets, and the clocks."

_SHARED: Final = standard("the server", check_url="", check_log="Check the server's log.")
_RUNGS: Final[Ladder] = {
    **dict.fromkeys(("3xx", "4xx", "5xx", "other"), _SHARED["5xx"]),
    504: _SHARED[504],
}
"""Rungs for what is to be sent again by the command's own list."""


def classify(
    call: Call, recipe: Recipe, response: Response, now_s: float = 0.0, signing: Sequence[str] = ()
) -> Outcome:
    """Return the outcome of this answer; `now_s` (epoch seconds) is for a Retry-After that names a date.

    `signing`: the keys of the signatures; they are masked, since the receiver knows and may repeat them.
    """
    status = response.status
    if _is_in(status, recipe.success):
        # Its producer's, whatever it is: a mask for a short or everyday secret would spoil good answers.
        return deliver_as_is(response, parse_json(response.body.decode("utf-8", "replace").encode()))
    hidden = hiding.login_spellings(response.request_pairs, recipe.secret_headers) | _spellings_of(tuple(signing))
    answer = read_for(AnswerForm(_error, hidden), call, recipe.spec, response=response, now_s=now_s)
    if _is_in(status, recipe.retry):
        return _classify_deferral(answer)
    if 300 <= status < 400 and "location" in response.headers:
        hint = "Put the new address into the target's URL or the command's Path: restbroker does not follow redirects."
        return answer.reject("Redirected", hint, f"The server redirects to {answer.masked_text.address()}.")
    code = {401: "LoginRefused", 403: "CommandForbidden", 404: "NotFound"}.get(status, "Refused")
    return answer.reject(code, _HINTS.get(status, _HINT) + (_SIGNED if signing else ""))


def _classify_deferral(answer: Answer) -> Outcome:
    if answer.status not in _NOT_NOW:
        return ladder(answer, _RUNGS)
    # Not `pause_target`: it is this command that was deferred. If most are, the breaker trips by itself.
    deferred = answer.defer("ServerBusy", GOES_ON, waits=True, counts=False)
    return attrs.evolve(deferred, retry_after_s=BUSY_S) if deferred.retry_after_s is None else deferred


def _is_in(status: int, ranges: tuple[range, ...]) -> bool:
    return any(status in one for one in ranges)


def _error(_response: Response, text: str) -> tuple[str, str]:
    body = parse_json(text.encode("utf-8", "surrogatepass"))
    told = (body.get(name) for name in _SAYS) if isinstance(body, dict) else ()
    words = next((said for said in told if isinstance(said, str)), text)
    return "", unescape(_TAG.sub(" ", words[:_HEAD_LIMIT])) if words.lstrip().startswith("<") else words


# Made for each answer, and the same for nearly all: it takes 0.2 ms.
@lru_cache(maxsize=32)
def _spellings_of(signing: tuple[str, ...]) -> hiding.Spellings:
    return hiding.spellings_of(spelling for secret in signing for spelling in signature.spellings(secret))
