"""Refreshes of some users by mod_http_roster_admin: the requests, and what its answers mean.

The refresher calls `send`; the connector and the check ask `probe_request`. Always holds: every user gets a result; one
user whose roster Prosody chokes on costs the others one more request; a Prosody that answers nothing at all is
distinguished from one that does not answer for one user. One user is sent as a list of one, whose errors are counted;
`GET /refresh/USER` has a verdict and nothing else, which may contradict that count. A list of users is never empty,
since Prosody never answers an empty one (measured on 0.12.3 and 13.0.1, as all that is said of its answers in this
folder), and it is sent with its length, since a chunked one is not read. No text of an answer is shown, only its
status, since the answer may be a proxy's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs
import orjson
import trio

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Reason, Rejected
from restbroker.light import frozen
from restbroker.servers.api.health import IF_NOT, Health, target_denied, target_down, target_up
from restbroker.servers.api.request import Headers, authorization, harmless_request, unsent
from restbroker.transport.message import MaybeSent, NotSent, Request, Response, Transport, retry_after_s, text_of

Result: TypeAlias = Outcome | NotSent | MaybeSent
"""What became of a user's refresh; an error is for the broker, which knows what it means."""

_MISSING: Final = Reason(
    "ModuleMissing",
    "Prosody has no roster module under this URL for this host (status 404).",
    'Add "http_roster_admin" to modules_enabled of the VirtualHost. If it is there, see in Prosody\'s log whether it '
    "was loaded (it needs lua-cjson), and at which URL. Else Prosody serves another host: set its name in HostHeader "
    "(or Domain).",
    404,
)
_URL_HINT: Final = (
    "Check the target's URL: it is http://HOST:5280/roster_admin unless Prosody's http_paths say otherwise."
)
_BUG: Final = Reason("Bug", "restbroker failed on a refresh.", "Please report this.")
_REFUSED: Final = frozenset({401, 403})
_BUSY_S: Final = 5.0


@frozen
class RefreshSender:
    """The sender of refreshes. `_http` sends to Prosody; a batch takes at most `_longest_s` seconds in all."""

    _target: Target
    _http: Transport
    _now_s: Callable[[], float]
    _longest_s: float

    async def send(self, users: Sequence[str]) -> Mapping[str, Result]:
        """Refresh these users, at least one, and return each one's result; never raise for what Prosody does.

        Safe to cancel; Prosody may then have refreshed them or not.
        """
        hung = MaybeSent(f"Refreshes were not done within {duration_text(self._longest_s)}", timed_out=True)
        results: dict[str, Result] = dict.fromkeys(users, hung)
        with trio.move_on_after(self._longest_s):
            try:
                await self._send(users, results)
            except NotSent as problem:
                results.update(dict.fromkeys(users, problem))
            except Exception as error:  # noqa: BLE001 - whatever it is: others go on; its text may hold secrets
                what = attrs.evolve(_BUG, message=f"restbroker failed with {type(error).__name__} on a refresh.")
                results.update(dict.fromkeys(users, Deferred(what, max_attempts=3)))
        return results

    async def _send(self, users: Sequence[str], results: dict[str, Result]) -> None:
        try:
            outcome = await self._ask(users)
        except MaybeSent as silence:
            # One bad roster leaves the whole request without an answer, and so does a Prosody that hangs.
            outcome = None if await self._is_answering() else silence
        if outcome is not None:
            results.update(dict.fromkeys(users, outcome))
            return
        async with trio.open_nursery() as singles:
            for user in users:
                singles.start_soon(self._send_single, user, results)

    async def _send_single(self, user: str, results: dict[str, Result]) -> None:
        try:
            outcome = await self._ask([user])
        except NotSent as problem:
            results[user] = problem
        except MaybeSent:
            results[user] = _no_answer(user, self._target.timeout_s)
        else:
            if outcome is not None:  # as it always is for one user
                results[user] = outcome

    async def _ask(self, users: Sequence[str]) -> Result | None:
        """Send one request for these users, and return the outcome; None if each of several must be sent alone."""
        response = await self._http.send(refresh_request(self._target, users))
        return _outcome(users[0] if len(users) == 1 else None, response, self._now_s())

    async def _is_answering(self) -> bool:
        """Tell whether Prosody answers a harmless request; raise `NotSent` if it cannot be sent."""
        try:
            await self._http.send(probe_request(self._target))
        except MaybeSent:
            return False
        return True


def refresh_request(target: Target, users: Sequence[str]) -> Request:
    """Return one request that refreshes all of these users, at least one.

    Raise `NotSent` if the login cannot be read, and ValueError for no users.
    """
    if not users:
        raise ValueError("Prosody never answers a refresh of no user.")
    headers = (("content-type", "application/json"), *_login(target))
    return harmless_request(target, f"{target.url.path}/refresh", headers, "POST", orjson.dumps(list(users)))


def probe_request(target: Target) -> Request:
    """Return a request that shows whether the module is there; raise `NotSent` if the login cannot be read.

    The module answers it with a redirect, and does nothing.
    """
    return harmless_request(target, f"{target.url.path}/refresh", _login(target))


def health_of(response: Response) -> Health:
    """Return Prosody's health as its answer to `probe_request` shows it."""
    status = response.status
    if status == 404:
        return target_denied(_MISSING.code, _MISSING.message, str(_MISSING.hint))
    if status in _REFUSED:
        hint = "Correct the target's login (Auth): the module itself requires none, so a proxy in front does."
        return target_denied("LoginRefused", f"The login is refused (status {status}).", hint)
    if status >= 500 or status == 429:
        detail = f"Prosody, or a proxy before it, does not work now (status {status})."
        return target_down(detail, f"{IF_NOT}see its log.")
    return target_up(f"The roster module answers (status {status}).")


def _login(target: Target) -> Headers:
    return tuple((name.lower(), value) for name, value in unsent(lambda: authorization(target.credentials)))


def _outcome(user: str | None, response: Response, now_s: float) -> Outcome | None:
    """Return the outcome for all users of one request: for the only one, `user`, or for several.

    None if it differs by user, so that each of several must be sent alone.
    """
    match response.status:
        case 200:
            body = _body(response)
            if body is None:
                message = "Something other than the roster module answered: its answer has neither errors nor status."
                return Deferred(Reason("NotTheModule", message, _URL_HINT, 200), pause_target=True)
            # `updated` counts users that are offline or unknown too, and says nothing. `status` is "ok" beside errors.
            if not body.get("errors") and body.get("status", "ok") == "ok":
                return Delivered(text_of(response.body), body, 200)
            message = f"Prosody could not refresh the roster of {user}: the roster service did not return one."
            hint = "Check the roster service's answer for that user, and its log."
            return None if user is None else Deferred(Reason("RefreshFailed", message, hint, 200))
        case 500:
            message = f"Prosody could not read the request to refresh {user} (status 500)."
            hint = "This should not happen: see Prosody's log."
            return None if user is None else Rejected(Reason("RefreshRefused", message, hint, 500))
        case 404:
            return Denied(_MISSING)
        case 401 | 403 as status:
            return Denied(Reason("LoginRefused", f"The login is refused (status {status}).", "Check Auth.", status))
        case status:
            message = f"Prosody, or a proxy before it, answered with status {status}."
            if status != 429 and status < 500:
                reason = Reason("NotTheModule", message, "Check the target's URL.", status)
                return Deferred(reason, pause_target=True)
            wait_s = retry_after_s(response, now_s)
            reason = Reason("ServerBusy", message, None, status)
            return Deferred(reason, _BUSY_S if wait_s is None else wait_s, counts=False, pause_target=True)


def _body(response: Response) -> dict[str, Json] | None:
    """Return the module's answer; None if it is none of the module."""
    try:
        body: Json = orjson.loads(response.parsable)
    except ValueError:
        return None
    return body if isinstance(body, dict) and ("errors" in body or "status" in body) else None


def _no_answer(user: str, timeout_s: float) -> Outcome:
    """Return the outcome for a user whose refresh is not answered, by a Prosody that answers all else."""
    message = f"Prosody did not answer the refresh of {user} within {duration_text(timeout_s)}."
    hint = (
        "Once or twice is normal for a client that just connected. Otherwise check the roster service's answer "
        "for that user, and how fast it is: Prosody never answers if it is not a valid roster."
    )
    return Deferred(Reason("RefreshUnanswered", message, hint))
