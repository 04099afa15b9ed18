"""When a target gets no jobs because it is unwell: a state machine without a clock.

              unsent(), unanswered(): 5 in a row, answered(): half of >= 20 in 10 s "not now"
              (but no single command's while others work), trip(), probe_failed()
    closed -----------------------------------------------------------------------> open
      ^                                                                             |  ^
      |                                              probe_due_s() over: the caller|  |
      |                                                                             v  | probe_failed()
      +--------------------------------- probe_ok() ------------------------- half-open, one probe under way

The gate of a lane owns one, tells it every outcome and asks it before each fetch. Always holds: jobs flow only while
it is closed; only a probe leads back; memory is bounded; an answer takes constant time (amortised), and a "not now" a
look at each command besides. One command that fails or is slow by itself does not open it: leave it out, and look
whether the rest works. Half-open is no state of its own here: the one prober knows that its probe is under way, and
for everybody else it is open. `now_s` is any clock in seconds that all calls share; where it steps back, the latest
slice of time counts.
"""

from collections import deque

import attrs

from restbroker.config.values import duration_text

SILENT_LIMIT = 5
ANSWERS_NEEDED = 20
WINDOW_S = 10.0
MOST_COMMANDS = 32
"""So many commands are told apart; producers make up names, so what comes beyond counts as one."""
_LONGEST_NAME = 64
_SLICES = 20
_SLICE_S = WINDOW_S / _SLICES
_PROBE_AFTER_S = 1.0
_RELAPSE_S = 5.0
_RELAPSES_FREE = 2
_LONGEST_PROBE_WAIT_S = 30.0
_JUDGED_FROM = 5
_OTHERS = ""


@attrs.define
class _Slice:
    number: int
    answers: int = 0
    deferred: int = 0


@attrs.define
class _Window:
    """The answers of the last ten seconds, in slices of half a second."""

    slices: deque[_Slice] = attrs.field(factory=deque)
    answers: int = 0
    deferred: int = 0

    def count(self, number: int, *, deferred: bool) -> None:
        if not self.slices or number > self.slices[-1].number:
            self.slices.append(_Slice(number))
        current = self.slices[-1]
        current.answers += 1
        self.answers += 1
        if deferred:
            current.deferred += 1
            self.deferred += 1

    def forget_before(self, number: int) -> None:
        while self.slices and self.slices[0].number <= number - _SLICES:
            gone = self.slices.popleft()
            self.answers -= gone.answers
            self.deferred -= gone.deferred


@attrs.define
class Breaker:
    """One target's breaker, closed at first. `reason` says why and `opened_at_s` when it opened, None while closed."""

    reason: str | None = attrs.field(default=None, init=False)
    opened_at_s: float | None = attrs.field(default=None, init=False)
    _silent: int = attrs.field(default=0, init=False)
    _silent_command: str | None = attrs.field(default=None, init=False)
    """The one command of the row; None if there are several, or something could not be sent at all."""
    _answered_at_s: float = attrs.field(default=float("-inf"), init=False)
    _number: int = attrs.field(default=0, init=False)
    _slice_ends_s: float = attrs.field(default=0.0, init=False)
    """From then on answers are counted in another slice."""
    _commands: dict[str, _Window] = attrs.field(factory=dict, init=False)
    _relapses: int = attrs.field(default=0, init=False)
    _closed_at_s: float = attrs.field(default=float("-inf"), init=False)
    _last_try_s: float = attrs.field(default=0.0, init=False)
    _not_before_s: float = attrs.field(default=0.0, init=False)

    @property
    def permits(self) -> bool:
        """Whether the target gets jobs."""
        return self.opened_at_s is None

    def unsent(self, now_s: float) -> None:
        """A job could not be sent at all (refused, DNS, TLS). What comes while it is open changes nothing."""
        self._lengthen(now_s, None)

    def unanswered(self, now_s: float, command: str = "", waited_s: float = 0.0) -> None:
        """A job was sent and not answered within `waited_s` seconds. As `unsent`, and a "not now" besides.

        It is no sign of silence if others were answered in the second half of that time: jobs that were sent at once
        time out at once.
        """
        self._count(now_s, command, deferred=True)
        if now_s - self._answered_at_s >= waited_s / 2:
            self._lengthen(now_s, command[:_LONGEST_NAME])
        self._judge(now_s)

    def answered(self, now_s: float, command: str = "", *, deferred: bool) -> None:
        """The target answered; `deferred`: with "not now". What comes while it is open changes nothing."""
        self._silent = 0
        self._answered_at_s = now_s
        self._count(now_s, command, deferred=deferred)
        if deferred:
            self._judge(now_s)

    def is_alone(self, command: str) -> bool:
        """Whether this command fails by itself: half of its last answers are "not now", and those of others are not."""
        window = self._commands.get(command[:_LONGEST_NAME])
        if window is None or window.answers < _JUDGED_FROM or not _fails(window.answers, window.deferred):
            return False
        return self._rest_is_well(window)

    def _lengthen(self, now_s: float, command: str | None) -> None:
        if not self.permits:
            return
        self._silent_command = command if self._silent == 0 or command == self._silent_command else None
        self._silent += 1
        if self._silent >= SILENT_LIMIT and not self._is_one_slow_command():
            self._open(now_s, f"{self._silent} jobs in a row could not be sent or were not answered")

    def _is_one_slow_command(self) -> bool:
        window = None if self._silent_command is None else self._commands.get(self._silent_command)
        return window is not None and self._rest_is_well(window)

    def _judge(self, now_s: float) -> None:
        if not self.permits:
            return
        answers, deferred = self._all()
        if answers < ANSWERS_NEEDED or not _fails(answers, deferred):
            return
        if not self._rest_is_well(max(self._commands.values(), key=lambda window: window.deferred)):
            self._open(now_s, f"{deferred} of {answers} answers within {duration_text(WINDOW_S)} were “not now”")

    def _rest_is_well(self, window: _Window) -> bool:
        """Whether enough else was asked besides this command, and less than half of it failed."""
        answers, deferred = self._all()
        others = answers - window.answers
        return 10 * others >= answers and not _fails(others, deferred - window.deferred)

    def _all(self) -> tuple[int, int]:
        """The answers of the last ten seconds, and how many of them were "not now"."""
        windows = self._commands.values()
        return sum([window.answers for window in windows]), sum([window.deferred for window in windows])

    def trip(self, now_s: float, reason: str, retry_after_s: float = 0.0) -> None:
        """Opens at once; no probe before `retry_after_s` seconds have passed.

        When it is open already, the newer reason and the later of both moments count.
        """
        self._open(now_s, reason, names_its_time=retry_after_s > 0)
        self.reason = reason
        self._not_before_s = max(self._not_before_s, now_s + retry_after_s)

    def probe_due_s(self, now_s: float, jitter: float) -> float:
        """Seconds until the next probe is due, 0 if it is; `jitter` in [0, 1) spreads processes.

        One to two seconds after the opening or the last probe, and never before the end of a Retry-After. A target
        whose probes are well but which relapses within seconds is asked ever more rarely, every 30 s at least; one that
        names its time is asked after that.
        """
        doubled = 2.0 ** min(max(0, self._relapses - _RELAPSES_FREE), 10)
        wait_s = min((_PROBE_AFTER_S + jitter) * doubled, _LONGEST_PROBE_WAIT_S)
        return max(0.0, self._last_try_s + wait_s - now_s, self._not_before_s - now_s)

    def probe_failed(self, now_s: float, reason: str) -> None:
        """The target is unwell for this newer reason: open, and the next probe is due a while from now."""
        self.trip(now_s, reason)
        self._last_try_s = now_s

    def probe_ok(self, now_s: float) -> None:
        """The target is well: jobs flow, and what was answered before counts no more."""
        self.opened_at_s = self.reason = None
        self._not_before_s = 0.0
        self._closed_at_s = now_s
        self._forget()

    def held_for_s(self, now_s: float) -> float:
        """Seconds that a Retry-After still runs, 0 without one."""
        return max(0.0, self._not_before_s - now_s)

    def _open(self, now_s: float, reason: str, *, names_its_time: bool = False) -> None:
        if not self.permits:
            return
        # A rate limiter that says when to come back is not unwell: it lets some through, and closes again.
        is_relapse = now_s - self._closed_at_s < _RELAPSE_S and not names_its_time
        self._relapses = self._relapses + 1 if is_relapse else 0
        self.reason = reason
        self.opened_at_s = self._last_try_s = now_s
        self._forget()

    def _forget(self) -> None:
        self._silent = 0
        self._commands.clear()

    def _count(self, now_s: float, command: str, *, deferred: bool) -> None:
        if self.opened_at_s is not None:
            return
        if now_s >= self._slice_ends_s:
            self._begin_slice(int(now_s / _SLICE_S))
        name = command[:_LONGEST_NAME]
        window = self._commands.get(name) or self._new_window(name)
        window.count(self._number, deferred=deferred)

    def _begin_slice(self, number: int) -> None:
        self._number, self._slice_ends_s = number, (number + 1) * _SLICE_S
        for window in self._commands.values():
            window.forget_before(number)

    def _new_window(self, name: str) -> _Window:
        if len(self._commands) >= MOST_COMMANDS:
            self._commands = {known: window for known, window in self._commands.items() if window.answers}
            if len(self._commands) >= MOST_COMMANDS:
                name = _OTHERS
        return self._commands.setdefault(name, _Window())


def _fails(answers: int, deferred: int) -> bool:
    return 2 * deferred >= answers
