"""How one user's stream stands: under which login it was opened, when it last was well, and what nobody was told.

Each `listener` has one, to which `reader` says what Redis has of the login. Always holds: pure; times are seconds since
1970. The server keeps a stream open whose login ended, with heartbeats forever (measured): only another login tells.
"""

import attrs

from restbroker.store.logins import Known, LoggedIn, LoggedOff


@attrs.frozen
class Gap:
    """What came meanwhile may have gone to nobody."""

    since_s: float
    until_s: float
    why: str


@attrs.define(eq=False)
class StreamState:
    """Of one user, over all streams that are opened for him in this process."""

    login: Known = None
    """What was noted of his login when his stream was asked for."""
    is_outdated: bool = False
    """Whether something else is noted by now: the stream brings nothing any more."""
    opened_s: float = 0.0
    _login_number: int = 0
    """Of the last login of which it is known what was missed."""
    _broken: tuple[float, str] | None = None
    """Since when what came may have gone to nobody, and why, until another stream is one."""

    def begins(self, now_s: float) -> None:
        """A stream is open."""
        self.opened_s = now_s
        self.is_outdated = False
        self._login_number = self.login.number if isinstance(self.login, LoggedIn) else 0

    def gap(self) -> Gap | None:
        """To be asked for once the stream has proven to be one: the same gap only once."""
        broken, self._broken = self._broken, None
        return None if broken is None else Gap(broken[0], self.opened_s, broken[1])

    def breaks_off(self, heard_s: float, why: str = "the stream ended") -> None:
        """The stream is left, or over, and its last event was sent after this."""
        why = "the login ended, by a job or in Openfire" if self.is_outdated else why
        if self._broken is None:
            self._broken = (heard_s, why)

    def replaces(self, login: Known, heard_s: float, *, is_over: bool, is_taken: bool) -> None:
        """Another stream is open in the place of one that was quiet, and was opened under that login.

        `is_taken`: another process says that it had opened one. Who asks nothing is told nothing.
        """
        if is_taken:
            self.breaks_off(heard_s, "another process had opened a stream of his")
        elif isinstance(login, LoggedIn) and (is_over or self.login != login):
            self.is_outdated = self.login != login
            self.breaks_off(heard_s)

    def has_no_login(self, looked_s: float, known: Known) -> Gap | None:
        """He was logged off then, as is `known`: until now nothing came for him, or what came is in this gap, since he
        was logged in and off again meanwhile. After his next login something comes before a stream is open.
        """
        broken, gap = self._broken, None
        if isinstance(known, LoggedOff) and known.number != self._login_number:
            since_s = self.opened_s if broken is None else broken[0]
            gap = Gap(since_s, looked_s, "the user logged in and off before it was open") if since_s else None
            self._login_number = known.number
        self._broken = (looked_s, "the user logged in before it was open" if broken is None else broken[1])
        return gap

    def asks_nothing(self) -> None:
        """As long as he does not ask, nothing comes for him."""
        self._broken = None

    def note(self, known: Known, was: Known) -> None:
        """Redis was asked when the login of the stream `was` that, and has this of him."""
        # Where it is another by now, another stream is being opened.
        if was is self.login and known != was:
            self.is_outdated = True
