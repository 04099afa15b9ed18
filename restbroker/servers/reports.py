"""What a reader of events says: why nothing is read, what is lost, what came. Used by all readers.

Always holds: a problem is reported once until another one takes its place or it is over, for any number of users; how
each source stands is kept where it can be seen (`StatesOfSource`).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import attrs

from restbroker.servers.event_contract import Problem, StreamInfo
from restbroker.servers.findings import Texts
from restbroker.servers.in_redis import StatesOfSource
from restbroker.telemetry.events import EventHandled, OperatorWarning, Report, SourceOpened

_SERVER: Final = "/"
"""What the places of problems begin with that all users share, and no user's name."""


@attrs.define(eq=False)
class SourceReports:
    """The reports of one source, in the words of `texts`; a source without users is one of the user "".

    `back`: the warning that events are read again.
    """

    source: str
    report: Report
    texts: Texts
    back: str
    states: StatesOfSource | None = None
    _was_open: bool = False
    _reported: dict[str, str] = attrs.field(factory=dict)
    """What is not over: a message at a user's name, or at its code if all users share the problem."""
    _users: set[str] = attrs.field(factory=lambda: {""})

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

    def fail(self, problem: Problem, user: str = "") -> None:
        """Report why nothing is read, unless that was reported already.

        What is wrong is the user's own if it was denied (`…Denied`), and else the server's, which all users share.
        """
        self._keep(problem, user)
        is_shared = user and not problem.code.endswith("Denied")
        place, what = (_SERVER + problem.code, problem.code) if is_shared else (user, problem.message)
        if self._reported.get(place) != what:
            self._reported[place] = what
            self._warn(problem)

    def warn(self, name: str, /, **values: object) -> None:
        """Report what happened, in the words of this name."""
        self._warn(self.texts.problem(name, **values))

    def note_open(self, where: str, user: str = "") -> None:
        """Note that the stream is open at this address, and report the end of earlier problems."""
        self._keep(None, user)
        if not self._was_open:
            self._was_open = True
            self.report(SourceOpened(self.source, where))
        over = [place for place in self._reported if place == user or place.startswith(_SERVER)]
        for place in over:
            del self._reported[place]
        if over:
            self.warn(self.back, user=user)

    def note_idle(self, why: str, user: str = "") -> None:
        """Note that nothing is read, as it should be."""
        self._keep(Problem("", why, ""), user)

    def count(self, outcome: str) -> None:
        """Count an event with this outcome."""
        self.report(EventHandled(self.source, outcome))

    def _warn(self, problem: Problem) -> None:
        self.report(OperatorWarning(problem.code, f"Source {self.source}: {problem.message}", problem.hint or None))

    def _keep(self, problem: Problem | None, user: str) -> None:
        """Put the user's state where it can be seen, unless another process reads the stream by now.

        What ended meanwhile is no problem of the new reader.
        """
        if self.states is not None and user in self._users:
            self.states.put(problem, user)


def between(since_s: float, until_s: float) -> str:
    """Return these two times (epoch seconds) as a part of a sentence."""
    since, until = (
        datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for at_s in (since_s, until_s)
    )
    return f"between {since} and {until}"
