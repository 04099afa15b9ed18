"""Answers `GET /roster/USER` for Prosody: the app that `app` serves.

Always holds: each request is answered, or Prosody would wait for a quarter of an hour, and its user's client with it:
within `bound_s` of `rosters.reader` where Redis does not answer, and after `longest_s` in every case. A user
who is not known has an empty roster, since Prosody ends a session for any status but 200; but while Redis does not
answer, a user gets the copy that was read last, with its `Age` (RFC 9111, in seconds), and without one 503: an empty
roster would take all contacts from a client. Nothing of an address is written anywhere: it may hold the key.

Prosody 0.12 puts the user's name into the address as it is, `%` and `?` and UTF-8 included (measured), and adds
nothing; all other clients write addresses with percent-encoding. So the header `User-Agent` decides which client it is:
what Prosody sends is never decoded, or a user `adm%69n` would get the roster of `admin`.
"""

import hmac
import re
from collections import Counter
from typing import Final
from urllib.parse import unquote_to_bytes

import trio

from restbroker.config.roster import USER, QueryKey, Roster
from restbroker.config.target import Basic
from restbroker.errors import RestbrokerError
from restbroker.events.secrets import CurrentSecret, basic_login
from restbroker.light import field, frozen
from restbroker.rosters.reader import RosterReader
from restbroker.rosters.rules import BadRoster, read_user
from restbroker.serving.plain import HttpAnswer, HttpRequest, error_answer
from restbroker.telemetry.events import OperatorWarning, Report
from restbroker.telemetry.latency import Histogram
from restbroker.telemetry.metrics import SHORT_LIMITS_S, Samples

METHODS: Final = ("GET", "HEAD")
_EMPTY: Final = HttpAnswer(200, b"{}")
_LATER: Final = (b"retry-after", b"1")
_BASIC: Final = (b"www-authenticate", b'Basic realm="restbroker", charset="UTF-8"')
_PROSODY: Final = b"Prosody XMPP Server"
_KEY: Final = b"?key="
_QUERY: Final = re.compile(rb"\?[^?]+=")


@frozen
class Addresses:
    """The form of one service's addresses: the bytes before and behind the user's name.

    `with_key`: a key is expected at the end.
    """

    before: bytes
    after: bytes
    domain: str | None
    with_key: bool

    def split(self, target: bytes, agent: bytes) -> tuple[bytes, bytes]:
        """Return the address without its query, and the key in the query. `agent`: the header `User-Agent`.

        Without `with_key` Prosody sends no query: a `?` is part of the user's name.
        """
        if not self.with_key:
            return target if agent.startswith(_PROSODY) else target.partition(b"?")[0], b""
        # The last one: what comes before it may be the user's.
        if _KEY in target:
            path, _, key = target.rpartition(_KEY)
            return path, key.partition(b"&")[0]
        path, _, query = target.rpartition(b"?")
        keys = [part.removeprefix(b"key=") for part in query.split(b"&") if part.startswith(b"key=")]
        return path or target, keys[0] if keys else b""

    def name(self, path: bytes) -> bytes | None:
        """Return the user's name in the address, still encoded; None if the address is not one of a roster."""
        if not (path.startswith(self.before) and path.endswith(self.after)):
            return None
        name = path[len(self.before) : len(path) - len(self.after)]
        # A user who has this name by chance gets none: else an unrequested key would empty everybody's roster.
        is_query = not self.with_key and _QUERY.search(name)
        return name if name and b"/" not in name and not is_query else None

    def user(self, name: bytes, agent: bytes) -> str | None:
        """Return the user, or None if no user can have this name. `agent`: the header `User-Agent`."""
        try:
            text = (name if agent.startswith(_PROSODY) else unquote_to_bytes(name)).decode()
            return read_user(text, self.domain)
        except (UnicodeDecodeError, BadRoster):
            return None


@frozen(eq=False)
class Login:
    """The check of one service's login: `before` and the `secret`, which Prosody sends as its address has them.

    That is as they are written there, percent sequences too (measured), and not every secret can be written into an
    address without them: so both forms fit. Secrets are compared in constant time, and never leave this class.
    `secret` None: nothing is required.
    """

    secret: CurrentSecret | None
    before: bytes = b""

    @classmethod
    def make(cls, auth: Basic | QueryKey | None, report: Report) -> "Login":
        """Return the check of the configured login."""
        match auth:
            case None:
                return cls(None)
            case QueryKey(value):
                return cls(CurrentSecret(value, report))
            case Basic(user, password):
                return cls(CurrentSecret(password, report), user.encode() + b":")

    async def fits(self, request: HttpRequest, key: bytes) -> bool | None:
        """Tell whether this request shows the login, in its head or as this `key`; None: the secret is not known."""
        if self.secret is None:
            return True
        given = basic_login(request.header(b"authorization")) if self.before else key
        fits = await self.secret.fits(lambda value: _equal(given, self.before + value))
        return fits if self.secret.value else None


@frozen(eq=False)
class RosterServer:
    """The roster service. `longest_s`: an answer that comes later could undo that to a newer request."""

    addresses: Addresses
    login: Login
    reader: RosterReader
    report: Report
    longest_s: float
    _answers: Counter[int] = field(factory=Counter)
    """The number of answers by status."""
    _durations: Histogram = field(factory=lambda: Histogram(SHORT_LIMITS_S))

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer to this request, a roster or the reason why not; never raise."""
        began_s = trio.current_time()
        found: HttpAnswer | None = None
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

    async def _answer(self, request: HttpRequest) -> HttpAnswer:
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
        fits = await self.login.fits(request, key)
        if fits is None:
            return _unavailable("restbroker cannot read the login for rosters. The log says why.")
        if not fits:
            return self._denial()
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
        return HttpAnswer(200, served.body, age)

    def _denial(self) -> HttpAnswer:
        self.report(
            OperatorWarning(
                "RosterDenied",
                "A client asked for a roster without the right login.",
                "If it was Prosody: its http_roster_url needs what Auth of Roster says: USER:PASS@ or ?key=KEY.",
            )
        )
        basic = () if self.addresses.with_key else (_BASIC,)
        return error_answer(401, "LoginNeeded", "Rosters require a login.", "See Auth of Roster.", *basic)

    def _elsewhere(self) -> HttpAnswer:
        self.report(
            OperatorWarning(
                "RosterDenied",
                "A client asked for a roster under another path than Path of Roster says, or with a query.",
                "If it was Prosody: make its http_roster_url fit, with %s in the place of the user, and a key at its "
                "end only if Auth of Roster asks for one.",
            )
        )
        return error_answer(404, "NotFound", "There are no rosters at this path.", "See Path of Roster.")


def service(config: Roster, reader: RosterReader, report: Report) -> RosterServer:
    """Return the service of this configuration, for which `reader` reads."""
    before, _, after = config.path.partition(USER)
    with_key = isinstance(config.auth, QueryKey)
    where = Addresses(before.encode(), after.encode(), config.domain, with_key)
    return RosterServer(where, Login.make(config.auth, report), reader, report=report, longest_s=config.longest_s)


def _equal(given: bytes, known: bytes) -> bool:
    as_written = hmac.compare_digest(given, known)
    decoded = hmac.compare_digest(unquote_to_bytes(given), known)
    return as_written or decoded


def _unavailable(why: str) -> HttpAnswer:
    return error_answer(503, "Unavailable", why, "Ask again.", _LATER)
