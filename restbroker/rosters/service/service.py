"""Answers `GET /roster/USER` for Prosody: the app that `app` serves.

Always holds: each request is answered, or Prosody would wait for a quarter of an hour, and its user's client with it:
within `bound_s` of `rosters.service.reader` where Redis does not answer, and after `longest_s` in every case. A user
who is not known has an empty roster, since Prosody ends a session for any status but 200; but while Redis does not
answer, a user gets the copy that was read last, with its `Age` (RFC 9111, in seconds), and without one 503: an empty
roster would take all contacts from a client. Nothing of an address is written anywhere: it may hold the key.
"""

from collections import Counter
from typing import Final

import attrs
import trio

from restbroker.config.roster import QueryKey, Roster
from restbroker.errors import ConfigError, RestbrokerError
from restbroker.rosters.service.address import Addresses, addresses
from restbroker.rosters.service.login import Login
from restbroker.rosters.service.reader import Reader
from restbroker.serving.plain import Answer, Request, error_answer
from restbroker.telemetry.events import OperatorWarning, Report
from restbroker.telemetry.latency import Histogram
from restbroker.telemetry.metrics import SHORT_LIMITS_S, Samples

METHODS: Final = ("GET", "HEAD")
_EMPTY: Final = Answer(200, b"{}")
_LATER: Final = (b"retry-after", b"1")
_BASIC: Final = (b"www-authenticate", b'Basic realm="restbroker", charset="UTF-8"')


@attrs.frozen(eq=False)
class Service:
    """The roster service. `longest_s`: an answer that comes later could undo that to a newer request."""

    addresses: Addresses
    login: Login
    reader: Reader
    report: Report
    longest_s: float
    _answers: Counter[int] = attrs.field(factory=Counter)
    """The number of answers by status."""
    _durations: Histogram = attrs.field(factory=lambda: Histogram(SHORT_LIMITS_S))

    async def answer(self, request: Request) -> Answer:
        """Return the answer to this request, a roster or the reason why not; never raise."""
        began_s = trio.current_time()
        found: Answer | None = None
        with trio.move_on_after(self.longest_s):
            found = await self._answer(request)
        if found is None:
            found = _unavailable("This machine is overloaded.")
        self._answers[found.status] += 1
        self._durations.add((trio.current_time() - began_s,))
        return found

    def samples(self) -> Samples:
        """Return the counts and durations of answers, for /metrics."""
        return {
            "restbroker_roster_requests_total": {(str(status),): number for status, number in self._answers.items()},
            "restbroker_roster_request_seconds": {(): self._durations.copy()},
            "restbroker_roster_reads_total": {(): self.reader.calls},
            "restbroker_roster_stale_total": {(): self.reader.stale},
            "restbroker_roster_copies": {(): len(self.reader.copies)},
            "restbroker_roster_copies_bytes": {(): self.reader.copies.size_bytes},
        }

    async def _answer(self, request: Request) -> Answer:
        if request.method not in METHODS:
            return error_answer(
                405,
                "MethodNotAllowed",
                "Rosters are read-only here.",
                "Use GET.",
                (b"allow", ", ".join(METHODS).encode()),
                closing=True,
            )
        path, key = self.addresses.split(request.target, request.header(b"user-agent"))
        try:
            if not await self.login.fits(request, key):
                return self._denial()
        except ConfigError:
            return _unavailable("The login for rosters cannot be read; the log says why.")
        name = self.addresses.name(path)
        if name is None:
            return self._elsewhere()
        user = self.addresses.user(name, request.header(b"user-agent"))
        if user is None:
            return _EMPTY
        try:
            served = await self.reader.roster(user)
        except RestbrokerError as error:
            return _unavailable(error.message)
        age = () if served.age_s is None else ((b"age", b"%d" % served.age_s),)
        return Answer(200, served.body, age)

    def _denial(self) -> Answer:
        self.report(
            OperatorWarning(
                "RosterDenied",
                "A client asked for a roster without the right login.",
                "If it was Prosody: its http_roster_url needs what Auth of Roster says: USER:PASS@ or ?key=KEY.",
            )
        )
        basic = () if self.addresses.with_key else (_BASIC,)
        return error_answer(401, "LoginNeeded", "Rosters require a login.", "See Auth of Roster.", *basic)

    def _elsewhere(self) -> Answer:
        self.report(
            OperatorWarning(
                "RosterDenied",
                "A client asked for a roster under another path than Path of Roster says, or with a query.",
                "If it was Prosody: make its http_roster_url fit, with %s in the place of the user, and a key at its "
                "end only if Auth of Roster asks for one.",
            )
        )
        return error_answer(404, "NotFound", "There are no rosters at this path.", "See Path of Roster.")


def service(config: Roster, reader: Reader, report: Report) -> Service:
    """Return the service of this configuration, for which `reader` reads."""
    where = addresses(config.path, config.domain, with_key=isinstance(config.auth, QueryKey))
    return Service(where, Login(config.auth, report), reader, report=report, longest_s=config.longest_s)


def _unavailable(why: str) -> Answer:
    return error_answer(503, "Unavailable", why, "Ask again.", _LATER)
