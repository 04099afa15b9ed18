"""The outcome of an answer by its status alone: a table (ladder) of statuses, with rows (rungs) for each.

A kind's judge handles the answers that need more than the status in its own file, and calls `ladder` for all others.
The rungs of `standard` are for all HTTP servers; a kind replaces some. Always holds: every status has an outcome; what
a gateway may have answered in the server's place is no proof that the command did not run: nginx answers 502 for a
server that died with the request in hand, and `error_page` may make any status of it (seen on 1.22).
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, assert_never

from restbroker.job.outcome import Outcome
from restbroker.light import field, frozen
from restbroker.servers.api.answer import Answer, Deferral

RAN: Final = "{says} It may have run."
GOES_ON: Final = "It continues by itself."
CHECK_ARGUMENTS: Final = "Correct the arguments."
EXISTS: Final = (
    "Nothing to do, unless you meant another one; "
    '--ok-if-exists (in a job "ok_if_exists": true) makes this count as done.'
)
TOO_LARGE: Final = "The job is too large for the server or a proxy in front: send less, or raise their limit."
BUSY: Final = (408, 425, 429, 503, 521, 522, 523, 525, 526)
"""Statuses that mean "not passed on"; those above 520 are Cloudflare's, which found no way to the server."""
_CLOSED: Final = 499
"""A client closed its request, says a gateway (nginx) behind another one, which had passed it on."""
FAILED: Final = 500

Fate: TypeAlias = Literal["rejected", "denied", "deferred", "uncertain"]


@frozen
class Rung:
    """The outcome (`fate`) for a status, with its reason; {says}, {status} and {location} in `message` are filled in.

    For a deferred job: `waits`: until the answer's Retry-After; `how`: fields of the `Deferred` besides its defaults.
    For an uncertain one: a gateway said so.
    """

    fate: Fate
    code: str
    hint: str
    message: str = "{says}"
    waits: bool = False
    how: Deferral = field(factory=Deferral)


Step: TypeAlias = int | Literal["3xx", "4xx", "5xx", "other"]
"""A status, or all statuses of a class that have no rung of their own."""
Ladder: TypeAlias = Mapping[Step, Rung]


def standard(server: str, *, check_url: str, check_log: str) -> dict[Step, Rung]:
    """Return the rungs for all servers; `check_url` and `check_log` are hints: what to check at the URL, in the log.

    A kind replaces some with its own: `standard(…) | {401: …}`.
    """
    how: Deferral = {"counts": False, "pause_target": True, "ran": "unlikely"}
    busy = Rung("deferred", "ServerBusy", GOES_ON, waits=True, how=how)
    gateway = Rung("uncertain", "ServerError", f"{check_log} A proxy may have answered in its place.", RAN)
    proxy = f"Give the proxy in front of {server} a longer timeout than restbroker's."
    return {
        # Concerns every job: the probe meets the same, and the target pauses in place of all its jobs dying.
        "3xx": Rung("denied", "Redirected", check_url, "The server redirects to {location}."),
        "4xx": Rung("rejected", "Refused", CHECK_ARGUMENTS),
        "5xx": gateway,
        # An odd one, such as 999.
        "other": Rung("rejected", "OddAnswer", check_url, "The server answered with status {status}."),
        **dict.fromkeys(BUSY, busy),
        413: Rung("rejected", "Refused", TOO_LARGE),
        _CLOSED: gateway,
        FAILED: Rung("deferred", "ServerError", check_log, waits=True, how={"ran": "maybe"}),
        504: Rung("uncertain", "GatewayTimeout", proxy, RAN),
    }


def may_pass(status: int) -> bool:
    """Tell whether a status says that the server, or a gateway before it, does not work now; so a kind may defer it."""
    return 500 <= status < 600 or status == _CLOSED or status in BUSY


def ladder(answer: Answer, rungs: Ladder) -> Outcome:
    """Return the outcome of an answer that is no success, by its status, and for a 500 also by whose words it has."""
    if answer.status == FAILED and not answer.is_own:
        return apply(rungs["5xx"], answer)
    return apply(rungs.get(answer.status) or rungs[_class_of(answer.status)], answer)


def apply(rung: Rung, answer: Answer) -> Outcome:
    """Return the outcome that a rung makes of an answer of any status."""
    # To mask the location takes as long as to mask the body, and few answers have one.
    location = answer.masked_text.address() if "{location}" in rung.message else ""
    message = rung.message.format(says=answer.sentence, status=answer.status, location=location or "elsewhere")
    match rung.fate:
        case "rejected":
            return answer.reject(rung.code, rung.hint, message)
        case "denied":
            return answer.deny(rung.code, rung.hint, message)
        case "uncertain":
            return answer.uncertain(rung.code, rung.hint, message, by_gateway=True)
        case "deferred":
            return answer.defer(rung.code, rung.hint, message, waits=rung.waits, **rung.how)
        case _:
            assert_never(rung.fate)


def _class_of(status: int) -> Literal["3xx", "4xx", "5xx", "other"]:
    match status // 100:
        case 3:
            return "3xx"
        case 4:
            return "4xx"
        case 5:
            return "5xx"
        case _:
            return "other"
