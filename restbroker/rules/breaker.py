"""When a target gets no jobs because it is unwell: a state machine without a clock.

              unsent(), unanswered(): 5 in a row, answered(): half of >= 20 in 10 s "not now",
              trip(), probe_failed()
    closed -----------------------------------------------------------------------> open
      ^                                                                             |  ^
      |                                              probe_due_s() over: the caller|  |
      |                                                                             v  | probe_failed()
      +--------------------------------- probe_ok() ------------------------- half-open, one probe under way

The gate of a lane owns one, tells it every outcome and asks it before each fetch. Always holds: jobs flow only while
it is closed; only a probe leads back; memory is bounded and every call takes constant time (amortised). Half-open is
no state of its own here: the one prober knows that its probe is under way, and for everybody else it is open.
`now_s` is any clock in seconds that all calls share; where it steps back, the latest slice of time counts.
"""

from collections import deque

import attrs

SILENT_LIMIT = 5
ANSWERS_NEEDED = 20
WINDOW_S = 10.0
_SLICES = 20
_SLICE_S = WINDOW_S / _SLICES
_PROBE_AFTER_S = 1.0
_RELAPSE_S = 5.0
_RELAPSES_FREE = 2
_LONGEST_PROBE_WAIT_S = 30.0


@attrs.define
class _Slice:
    number: int
    answers: int = 0
    deferred: int = 0


@attrs.define
class Breaker:
    """One target's breaker, closed at first. `reason` says why and `opened_at_s` when it opened, None while closed."""

    reason: str | None = attrs.field(default=None, init=False)
    opened_at_s: float | None = attrs.field(default=None, init=False)
    _silent: int = attrs.field(default=0, init=False)
    _slices: deque[_Slice] = attrs.field(factory=deque, init=False)
    _answers: int = attrs.field(default=0, init=False)
    _deferred: int = attrs.field(default=0, init=False)
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
        if not self.permits:
            return
        self._silent += 1
        if self._silent >= SILENT_LIMIT:
            self._open(now_s, f"{self._silent} jobs in a row could not be sent or were not answered")

    def unanswered(self, now_s: float) -> None:
        """A job was sent and not answered. As `unsent`, and a "not now" besides."""
        self.unsent(now_s)
        self._answered(now_s, deferred=True)

    def answered(self, now_s: float, *, deferred: bool) -> None:
        """The target answered; `deferred`: with "not now". What comes while it is open changes nothing."""
        if self.permits:
            self._silent = 0
            self._answered(now_s, deferred=deferred)

    def _answered(self, now_s: float, *, deferred: bool) -> None:
        if not self.permits:
            return
        self._count(now_s, deferred=deferred)
        if deferred and self._answers >= ANSWERS_NEEDED and 2 * self._deferred >= self._answers:
            self._open(now_s, f"{self._deferred} of {self._answers} answers within {WINDOW_S:.0f} s were “not now”")

    def trip(self, now_s: float, reason: str, retry_after_s: float = 0.0) -> None:
        """Opens at once; no probe before `retry_after_s` seconds have passed.

        When it is open already, the newer reason and the later of both moments count.
        """
        self._open(now_s, reason)
        self.reason = reason
        self._not_before_s = max(self._not_before_s, now_s + retry_after_s)

    def probe_due_s(self, now_s: float, jitter: float) -> float:
        """Seconds until the next probe is due, 0 if it is; `jitter` in [0, 1) spreads processes.

        One to two seconds after the opening or the last probe, and never before the end of a Retry-After. A target
        whose probes are well but which relapses within seconds is asked ever more rarely, every 30 s at least.
        """
        doubled = 2.0 ** min(max(0, self._relapses - _RELAPSES_FREE), 10)
        wait_s = min((_PROBE_AFTER_S + jitter) * doubled, _LONGEST_PROBE_WAIT_S)
        return max(0.0, self._last_try_s + wait_s - now_s, self._not_before_s - now_s)

    def probe_failed(self, now_s: float, reason: str, retry_after_s: float = 0.0) -> None:
        """The target is unwell for this newer reason: open, and the next probe is due a while from now."""
        self.trip(now_s, reason, retry_after_s)
        self._last_try_s = now_s

    def probe_ok(self, now_s: float) -> None:
        """The target is well: jobs flow, and what was answered before counts no more."""
        self.opened_at_s = self.reason = None
        self._not_before_s = 0.0
        self._closed_at_s = now_s
        self._forget()

    def held(self, now_s: float) -> bool:
        """Whether a Retry-After runs."""
        return now_s < self._not_before_s

    def _open(self, now_s: float, reason: str) -> None:
        if not self.permits:
            return
        self._relapses = self._relapses + 1 if now_s - self._closed_at_s < _RELAPSE_S else 0
        self.reason = reason
        self.opened_at_s = self._last_try_s = now_s
        self._forget()

    def _forget(self) -> None:
        self._silent = self._answers = self._deferred = 0
        self._slices.clear()

    def _count(self, now_s: float, *, deferred: bool) -> None:
        number = int(now_s / _SLICE_S)
        slices = self._slices
        if not slices or number > slices[-1].number:
            slices.append(_Slice(number))
            while slices[0].number <= number - _SLICES:
                gone = slices.popleft()
                self._answers -= gone.answers
                self._deferred -= gone.deferred
        current = slices[-1]
        current.answers += 1
        current.deferred += deferred
        self._answers += 1
        self._deferred += deferred
