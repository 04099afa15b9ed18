"""The outcomes of mod_http_roster_admin's answers. Pure; called by the sender, the probe and the check.

Always holds: an answer about several users is never taken for one about a single user; no text of an answer is shown,
only its status, since the answer may be a proxy's.
"""

from typing import Final

import orjson

from restbroker.config.values import duration_text
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Probe, Reason, Rejected
from restbroker.transport.message import Response
from restbroker.transport.retry_after import retry_after_s

MISSING: Final = Reason(
    "ModuleMissing",
    "Prosody has no roster module under this URL for this host (status 404).",
    'Add "http_roster_admin" to modules_enabled of the VirtualHost. If it is there, see in Prosody\'s log whether it '
    "was loaded (it needs lua-cjson), and at which URL. Else Prosody serves another host: set its name in HostHeader "
    "(or Domain).",
    404,
)
_REFUSED: Final = frozenset({401, 403})
_BUSY_S: Final = 5.0


def batch_outcome(response: Response, now_s: float) -> Outcome | None:
    """Return the outcome for all users of one request; None if it differs by user, so that each must be sent alone."""
    if response.status == 200:
        succeeded = _has_succeeded(response)
        if succeeded is None:
            return _not_the_module(response)
        return _success(response) if succeeded else None
    return None if response.status == 500 else _refusal(response, now_s)


def user_outcome(user: str, response: Response, now_s: float) -> Outcome:
    """Return the outcome for the only user of a request."""
    if response.status == 200:
        succeeded = _has_succeeded(response)
        if succeeded is None:
            return _not_the_module(response)
        return _success(response) if succeeded else Deferred(_failure(user))
    if response.status == 500:
        message = f"Prosody could not read the request to refresh {user} (status 500)."
        return Rejected(Reason("RefreshRefused", message, "This should not happen: see Prosody's log.", 500))
    return _refusal(response, now_s)


def no_answer(user: str, timeout_s: float) -> Outcome:
    """Return the outcome for a user whose refresh is not answered, by a Prosody that answers all else."""
    message = f"Prosody did not answer the refresh of {user} within {duration_text(timeout_s)}."
    hint = (
        "Once or twice is normal for a client that just connected. Otherwise check the roster service's answer "
        "for that user, and how fast it is: Prosody never answers if it is not a valid roster."
    )
    return Deferred(Reason("RefreshUnanswered", message, hint))


def read_probe(response: Response) -> Probe:
    """Return the probe's result, from Prosody's answer to `request.probe_request`.

    `denied`: it has no such module (404), or the login is refused. A 5xx or 429 means that it does not work now.
    """
    status = response.status
    if status == 404:
        return Probe(ok=False, denied=True, version=None, detail=MISSING.message, hint=MISSING.hint)
    if status in _REFUSED:
        hint = "Correct the target's login (Auth): the module itself requires none, so a proxy in front does."
        return Probe(ok=False, denied=True, version=None, detail=f"The login is refused (status {status}).", hint=hint)
    if status >= 500 or status == 429:
        detail = f"Prosody, or a proxy before it, does not work now (status {status})."
        return Probe(ok=False, denied=False, version=None, detail=detail, hint="See its log.")
    return Probe(ok=True, denied=False, version=None, detail=f"The roster module answers (status {status}).")


def _has_succeeded(response: Response) -> bool | None:
    """Tell whether all that was requested succeeded; None: this is no answer of the module."""
    try:
        body: Json = orjson.loads(response.body)
    except ValueError:
        return None
    if not isinstance(body, dict) or not ("errors" in body or "status" in body):
        return None
    # `updated` counts users that are offline or unknown too, and says nothing. `status` is "ok" beside errors.
    return not body.get("errors") and body.get("status", "ok") == "ok"


def _success(response: Response) -> Delivered:
    text = response.body.decode("utf-8", "replace")
    return Delivered(text, orjson.loads(response.body), response.status)


def _failure(user: str) -> Reason:
    message = f"Prosody could not refresh the roster of {user}: the roster service did not return one."
    return Reason("RefreshFailed", message, "Check the roster service's answer for that user, and its log.", 200)


def _not_the_module(response: Response) -> Outcome:
    message = "Something other than the roster module answered: its answer has neither errors nor status."
    hint = "Check the target's URL: it is http://HOST:5280/roster_admin unless Prosody's http_paths say otherwise."
    return Deferred(Reason("NotTheModule", message, hint, response.status), pause_target=True)


def _refusal(response: Response, now_s: float) -> Outcome:
    status = response.status
    if status == 404:
        return Denied(MISSING)
    if status in _REFUSED:
        return Denied(Reason("LoginRefused", f"The login is refused (status {status}).", "Check Auth.", status))
    if status == 429 or status >= 500:
        wait_s = retry_after_s(response, now_s)
        reason = Reason("ServerBusy", f"Prosody, or a proxy before it, answered with status {status}.", None, status)
        return Deferred(reason, _BUSY_S if wait_s is None else wait_s, counts=False, pause_target=True)
    message = f"Prosody, or a proxy before it, answered with status {status}."
    return Deferred(Reason("NotTheModule", message, "Check the target's URL.", status), pause_target=True)
