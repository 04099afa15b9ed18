"""One batch: the refresh of some users, sent together, then user by user where the common answer is not clear.

The refresher calls `send`. Always holds: every user gets a result; one user whose roster Prosody chokes on costs the
others one more request; a Prosody that answers nothing at all is distinguished from one that does not answer for one
user.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs
import trio

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.job.outcome import Deferred, Outcome, Reason
from restbroker.rosters.refresh import classify, request
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Transport

Result: TypeAlias = Outcome | NotSent | MaybeSent
"""What became of a user's refresh; an error is for the broker, which knows what it means."""

_BUG: Final = Reason("Bug", "restbroker failed on a refresh.", "Please report this.")


@attrs.frozen
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
            response = await self._http.send(request.refresh_request(self._target, users))
        except MaybeSent as silence:
            # One bad roster leaves the whole request without an answer, and so does a Prosody that hangs.
            if not await self._is_answering():
                results.update(dict.fromkeys(users, silence))
                return
        else:
            if len(users) == 1:
                results[users[0]] = classify.user_outcome(users[0], response, self._now_s())
                return
            outcome = classify.batch_outcome(response, self._now_s())
            if outcome is not None:
                results.update(dict.fromkeys(users, outcome))
                return
        async with trio.open_nursery() as singles:
            for user in users:
                singles.start_soon(self._send_single, user, results)

    async def _send_single(self, user: str, results: dict[str, Result]) -> None:
        try:
            response = await self._http.send(request.refresh_request(self._target, [user]))
        except NotSent as problem:
            results[user] = problem
        except MaybeSent:
            results[user] = classify.no_answer(user, self._target.timeout_s)
        else:
            results[user] = classify.user_outcome(user, response, self._now_s())

    async def _is_answering(self) -> bool:
        """Tell whether Prosody answers a harmless request; raise `NotSent` if it cannot be sent."""
        try:
            await self._http.send(request.probe_request(self._target))
        except MaybeSent:
            return False
        return True
