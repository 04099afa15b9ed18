"""Judges an answer by the lists of its command: done, to be sent again, or final. Pure; the connector calls `judge`.

Always holds: every answer has an outcome, and no refusal shows what is secret of the configuration, though the server
sent it back. What it answers to what it did is passed on as it is. No redirect is followed.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from html import unescape
from typing import Final

import orjson

from restbroker.job import hiding, redact
from restbroker.job.command import Call
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Outcome, Reason, Rejected, Uncertain
from restbroker.servers.api.shown import Shown, show
from restbroker.servers.http import signature
from restbroker.servers.http.recipes import Recipe
from restbroker.transport.message import Response
from restbroker.transport.retry_after import retry_after_s

BUSY: Final = frozenset({429, 503})
BUSY_S: Final = 5.0
"""So long a server that says so, and no Retry-After, is left alone with that job."""
REFUSED: Final = frozenset({401, 403})
_NOT_NOW: Final = BUSY | {408, 425}
_GATEWAY_TIMEOUT: Final = 504
_HEAD_LIMIT: Final = 1024
_SAYS: Final = ("message", "error_description", "detail", "error", "title")
_TAG: Final = re.compile(r"<[^>]*>")
_CURES: Final = {
    401: "Check the target's login (Auth, Headers).",
    403: "Check what the target's login may do.",
    404: "Check the command's Path, the target's URL, and that what the job names exists.",
    405: "Check the command's Method.",
}
_CURE: Final = "Correct the arguments, or the command's templates in the configuration."
_SIGNED: Final = " Where the server speaks of a signature, compare its secret with SigningSecrets, and the clocks."


def judge(call: Call, recipe: Recipe, response: Response, now_s: float = 0.0, signing: Sequence[str] = ()) -> Outcome:
    """The outcome of this answer. `now_s` (epoch seconds) is for a Retry-After that names a date; the secrets in
    `signing` the receiver knows, and may repeat.
    """
    status = response.status
    if _is_in(status, recipe.success):
        # Its producer's, whatever it is: a mask for a short or everyday secret would spoil good answers.
        text = response.body.decode("utf-8", "replace")
        return Delivered(text, _parsed(text), status, note="answer truncated" if response.truncated else None)
    known = hiding.said(response.said, recipe.hidden) | _spelled(tuple(signing))
    known |= hiding.spelled(redact.secret_values(recipe.spec, call.command.arguments))
    shown = show(response, known)
    says, text = _says(shown, status), shown.text
    if _is_in(status, recipe.retry):
        return _again(says, text, response, now_s)
    if 300 <= status < 400 and "location" in response.headers:
        cure = "Write the address behind it into the target's URL or the command's Path: redirects are not followed."
        return Rejected(Reason("Redirected", f"The server redirects to {shown.address()}.", cure, status), text)
    code = {401: "LoginRefused", 403: "CommandForbidden", 404: "NotFound"}.get(status, "Refused")
    cure = _CURES.get(status, _CURE) + (_SIGNED if signing else "")
    return Rejected(Reason(code, says, cure, status), text)


def _again(says: str, text: str, response: Response, now_s: float) -> Outcome:
    status, wait_s = response.status, retry_after_s(response, now_s)
    if status in _NOT_NOW:
        # Not `pause_target`: it is this command that was put off. If most are, the breaker opens by itself.
        reason = Reason("ServerBusy", says, "It goes on by itself.", status)
        return Deferred(reason, BUSY_S if wait_s is None else wait_s, counts=False, text=text)
    if status == _GATEWAY_TIMEOUT:
        cure = "Give the proxy in front of the server a longer time-out than restbroker's."
        return Uncertain(Reason("GatewayTimeout", f"{says} It may have run.", cure, status))
    return Deferred(Reason("ServerError", says, "See the server's log.", status), wait_s, text=text)


def _is_in(status: int, ranges: tuple[range, ...]) -> bool:
    return any(status in one for one in ranges)


def _says(shown: Shown, status: int) -> str:
    body = _parsed(shown.text)
    told = (body.get(name) for name in _SAYS) if isinstance(body, dict) else ()
    words = next((said for said in told if isinstance(said, str)), shown.text)
    if words.lstrip().startswith("<"):
        words = unescape(_TAG.sub(" ", words[:_HEAD_LIMIT]))
    says = shown.hide(words)
    return f"Status {status}: {says}" if says else f"The server answered with status {status} and no words."


def _parsed(text: str) -> Json:
    try:
        parsed: Json = orjson.loads(text)
    except ValueError:
        return None
    return parsed


# Made for each answer, and the same for nearly all: it takes 0.2 ms.
@lru_cache(maxsize=32)
def _spelled(signing: tuple[str, ...]) -> hiding.Spelled:
    return hiding.spelled(spelling for secret in signing for spelling in signature.spellings(secret))
