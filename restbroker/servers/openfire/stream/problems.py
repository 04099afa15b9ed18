"""The problems for which a stream is not read, in words, and their reports. Used by `listener`, `reader` and `check`.

Always holds: a problem of a source is reported once until it is over, for any number of users; no password, no stream's
id and no part of an event is in a text.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal

import attrs

from restbroker.config.target import Target
from restbroker.job.outcome import Delivered
from restbroker.servers.event_contract import Problem, StreamInfo
from restbroker.servers.in_redis import StatesOfSource
from restbroker.servers.openfire.chat.sessions import NoLogin
from restbroker.servers.openfire.stream.state import Gap
from restbroker.telemetry.events import EventHandled, OperatorWarning, Report, SourceOpened

NOT_LOGGED_IN: Final = 404
UNWANTED: Final = 405
_SERVER: Final = "/"
"""What the places of the server's problems begin with, and no user's name."""


def refusal(target: Target, user: str, status: int) -> Problem:
    """Return the problem that the server answered this status to the question for a stream (measured, but for 403)."""
    match status:
        case 401 | 403:
            what = f"does not let {user} read their events ({status})."
            hint = "Check their line in PasswordsFile, and that plugin.ofchat.enabled is on."
            return Problem("OpenfireDenied", f"{target.url} {what}", hint)
        case 503:
            what = f"opens no stream for {user} now (503)."
            hint = "If it persists for this user alone, check their name in Users and PasswordsFile."
        case 405:
            what = f"opens no stream for {user}: it refuses the header Accept (405)."
            hint = "A proxy in between may have changed the header."
        case _:
            what = f"answers with status {status}, not with the events of {user}."
            hint = "A server that is starting answers like this."
    return no_answer(f"{target.url} {what}", hint)


def no_new_streams(target: Target, user: str) -> Problem:
    """Return the problem that a user who was just logged in has no stream: the server adds no paths any more."""
    what = f"{target.url} opens no stream for {user} (404), although this user is logged in."
    why = (
        "Restart Openfire: two logins, logoffs, questions or uploads at one moment, of any users, or two connections "
        "of one name keep it from giving anyone new streams. restbroker sends one after the other, but other programs "
        "must not log users in meanwhile."
    )
    return Problem("OpenfireJammed", what, f"{why} If there never was a stream, check the URL: port 7070.")


def no_answer(why: str, hint: str = "") -> Problem:
    """Return the problem that the server does not answer; `why` is a sentence, and so is `hint`."""
    return Problem("OpenfireAway", why, f"restbroker tries again. {hint}".rstrip())


def no_stream(target: Target, user: str) -> Problem:
    """Return the problem that the server answered 200 with something else: a page of a proxy, or a login page."""
    what = f"{target.url} answers with something other than a stream of events for {user}."
    return Problem(
        "OpenfireAway", what, "Check which program answers there: streams are on the port of http-bind (7070)."
    )


def login_problem(user: str, error: NoLogin) -> Problem:
    """Return the problem that the user could not be logged in; `error` says why."""
    why = "the server refuses the login." if isinstance(error.outcome, Delivered) else error.outcome.reason.message
    return Problem("OpenfireDenied", f"{user} cannot log in: {why}", "restbroker tries again.")


def no_password(user: str, why: str) -> Problem:
    """Return the problem that the file has no password of the user, or cannot be read; `why` is a sentence."""
    return Problem("OpenfireDenied", f"There is no password for {user}: {why}", "Write it into PasswordsFile.")


def unwritable(what: str) -> Problem:
    """Return the problem of a character outside Latin-1; `what` names a user or a password, within a sentence."""
    message = f"Openfire cannot receive {what} for a stream: it has a character outside Latin-1."
    return Problem("OpenfireDenied", message, "Use Western European letters, digits and signs there.")


def too_large(user: str, limit_bytes: int) -> Problem:
    """Return the problem that an event is lost because it is too large: the stream cannot be read any further."""
    what = f"An event for {user} had more than {limit_bytes} bytes: it is lost, and perhaps the events right after it."
    return Problem("OpenfireLarge", what, "Raise LargestEvent, or find out who sends such events.")


def _timestamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@attrs.define(eq=False)
class ProblemReporter:
    """Reports what is wrong with a source, each problem once until it is over."""

    source: str
    report: Report
    states: StatesOfSource | None = None
    _has_opened: bool = False
    _reported: dict[str, str] = attrs.field(factory=dict)
    """What is not over: of a user a message, of the server, whose problem all users share, its code."""
    _users: set[str] = attrs.field(factory=set)

    def add_user(self, user: str, read_info: Callable[[], StreamInfo]) -> None:
        """Note that this process reads the user's stream; `read_info` returns the stream's attributes."""
        self._users.add(user)
        if self.states is not None:
            self.states.watch(user, read_info)

    def remove_user(self, user: str) -> None:
        """Note that another process reads the user's stream."""
        self._users.discard(user)
        if self.states is not None:
            self.states.end(user)

    def report_problem(self, user: str, problem: Problem) -> None:
        """Report this problem of this user, unless it was reported already."""
        if problem.code != "OpenfireLarge":
            self._keep(user, problem)
            is_of_user = problem.code == "OpenfireDenied"
            place, what = (user, problem.message) if is_of_user else (_SERVER + problem.code, problem.code)
            if self._reported.get(place) == what:
                return
            self._reported[place] = what
        self.report(OperatorWarning(problem.code, f"Source {self.source}: {problem.message}", problem.hint))

    def report_unreadable(self, user: str, name: str, error: str) -> None:
        """Report that an event is lost since reading it fails. `name`: its frame's; `error`: the exception's type."""
        what = f"Source {self.source}: an event for {user} ({name!r:.40}) is lost: reading it fails with {error}."
        self.report(EventHandled(self.source, "malformed"))
        self.report(OperatorWarning("EventMalformed", what, "Please report this."))

    def report_gap(self, user: str, gap: Gap) -> None:
        """Report that events of this user's stream may be missing."""
        between = f"between {_timestamp(gap.since_s)} and {_timestamp(gap.until_s)}"
        what = f"Source {self.source}: events of {user} {between} may be missing: {gap.why}."
        hint = "Openfire keeps no events. Do not log off users whose events restbroker reads."
        self.report(OperatorWarning("OpenfireGap", what, hint))

    def note_open(self, user: str, server: str) -> None:
        """Note that the user's stream is open at this address, and report the end of earlier problems."""
        self._keep(user, None)
        if not self._has_opened:
            self._has_opened = True
            self.report(SourceOpened(self.source, server))
        over = [place for place in self._reported if place == user or place.startswith(_SERVER)]
        for place in over:
            del self._reported[place]
        if over:
            what = f"Source {self.source}: events are read again, at least those of {user}."
            self.report(OperatorWarning("OpenfireBack", what))

    def note_idle(self, user: str, why: Literal["no login", "no question"]) -> None:
        """Note that the user has no stream, as it should be; `why` says what is missing."""
        self._keep(user, Problem(code="", message=why, hint=""))

    def _keep(self, user: str, problem: Problem | None) -> None:
        """Put the user's state where it can be seen, unless another process reads the stream by now.

        What ended meanwhile is no problem of the new reader.
        """
        if self.states is not None and user in self._users:
            self.states.put(problem, user)
