"""The state of one user's stream: its login, when it last was well, and which gaps are not reported yet.

Each `listener` has one, to which `reader` passes what Redis has of the login. Always holds: pure; times are epoch
seconds. The server keeps a stream open after its login ended, with heartbeats forever (measured): only another login
shows it.
"""

import attrs

from restbroker.store.logins import LoggedIn, LoggedOff, LoginState


@attrs.frozen
class Gap:
    """A time in which events may have been lost."""

    since_s: float
    until_s: float
    why: str


@attrs.define(eq=False)
class StreamState:
    """The state of one user, over all streams that are opened for them in this process."""

    login: LoginState = None
    """What was noted of the user's login when the stream was asked for."""
    is_outdated: bool = False
    """Whether something else is noted by now, so that the stream brings nothing any more."""
    opened_s: float = 0.0
    _login_number: int = 0
    """The number of the last login of which it is known what was missed."""
    _broken: tuple[float, str] | None = None
    """Since when events may have been lost, and why, until another stream has proven to be one."""

    def note_open(self, now_s: float) -> None:
        """Note that a stream is open."""
        self.opened_s = now_s
        self.is_outdated = False
        self._login_number = self.login.number if isinstance(self.login, LoggedIn) else 0

    def take_gap(self) -> Gap | None:
        """Return the gap before the open stream, the same gap only once; None if there is none.

        Call it when the first frame shows that the stream works.
        """
        broken, self._broken = self._broken, None
        return None if broken is None else Gap(broken[0], self.opened_s, broken[1])

    def note_break(self, last_event_s: float, why: str = "the stream ended") -> None:
        """Note that the stream is left or over, and that its last event was sent after `last_event_s`.

        Only the first break counts until `take_gap` is called.
        """
        why = "the login ended, by a job or in Openfire" if self.is_outdated else why
        if self._broken is None:
            self._broken = (last_event_s, why)

    def note_replacement(self, login: LoginState, last_event_s: float, *, is_over: bool, is_taken: bool) -> None:
        """Note that another stream is open in the place of one that was quiet.

        `login`: the login that the quiet one was opened under; `last_event_s`: its last event was sent after this;
        `is_over`: it has ended; `is_taken`: another process says that it had opened a stream. If the quiet one had no
        login, as an asker's, only `is_taken` counts: nothing is sent to users who ask nothing.
        """
        if is_taken:
            self.note_break(last_event_s, "another process had opened a stream of theirs")
        elif isinstance(login, LoggedIn) and (is_over or self.login != login):
            self.is_outdated = self.login != login
            self.note_break(last_event_s)

    def note_logoff(self, looked_s: float, known: LoginState) -> Gap | None:
        """Note that `known` shows the user logged off at `looked_s`; return the gap of a missed login, or None.

        A login was missed if they were logged in and off again since the last stream: its events are lost. After the
        next login events may come before a stream is open, so that the next gap begins at `looked_s`.
        """
        broken, gap = self._broken, None
        if isinstance(known, LoggedOff) and known.number != self._login_number:
            since_s = self.opened_s if broken is None else broken[0]
            # Before the first stream here, nothing is known of earlier logins.
            missed = Gap(since_s, looked_s, "the user logged in and off before it was open")
            gap = missed if self.opened_s else None
            self._login_number = known.number
        self._broken = (looked_s, "the user logged in before it was open" if broken is None else broken[1])
        return gap

    def note_no_question(self) -> None:
        """Note that the user asks no question: they get no events meanwhile, so that there is no gap."""
        self._broken = None

    def note(self, known: LoginState, was: LoginState) -> None:
        """Note `known`, the state of the user's login in Redis; `was` is the stream's login when Redis was asked.

        If they differ, the stream is outdated, unless another stream is being opened by now.
        """
        # Where it is another by now, another stream is being opened.
        if was is self.login and known != was:
            self.is_outdated = True
