"""When a target gets no jobs because it is unhealthy, and how many it gets at once: rules without a clock or a task.

The breaker of a pool owns one of each, reports every outcome to them, reads `TripRules` before each fetch, and lets
jobs in up to the `limit` of `Adaptive`. `now_s` is the time by any clock in seconds that all calls share.

       record_unsent(), record_silence(), record_gateway(): 5 in a row, record_answer(): half of >= 20 in 10 s "not now"
              (but no single command's while others work), trip(), probe_failed()
    admits ------------------------------------------------------------------------> tripped
      ^                                                                              |  ^
      |                                               probe_due_s() over: the caller |  |
      |                                                                              v  | probe_failed()
      +--------------------------------- probe_ok() ------------------------------ one probe under way

Of `TripRules` always holds: jobs flow only while it is not tripped; only a probe resets it; memory is bounded; an
answer takes constant time (amortised), and a "not now" a look at each command besides. One command that fails or is
slow by itself does not trip it: what counts is whether the rest works without it. A probe under way is no state of its
own here: the one prober knows of it, and for all others the target stays tripped. Where the time steps back, the latest
slice of time counts.

`Adaptive` lets fewer jobs in when the target says "not now", more again while it answers. A job that is refused or not
answered takes its place away with it, so that a server that refuses at once is not flooded with the next jobs; the
first such answer in a while also takes a fifth of the limit, so that several processes come to equal shares. For one
second after that, nothing grows. Then the limit rises fast (by one with each answer, so it doubles with each round) to
what is left of the old one without that fifth and the places that were taken away, and slowly (by a tenth, at least
one, a second) beyond. Always holds: 1 <= `limit` <= `ceiling`; it only grows while it is what holds jobs back; every
call takes constant time. `others`: how many jobs are in delivery beside the one answered.
"""

from collections import deque

from restbroker.config.values import duration_text
from restbroker.light import define, field
from restbroker.transport.message import LONGEST_PAUSE_S

# Why: docs/design.md#uncertain-outcomes
SILENT_LIMIT = 5
UNTOUCHED_S = 60.0
"""For so many seconds of a Retry-After not even a probe is sent."""
ANSWERS_NEEDED = 20
WINDOW_S = 10.0
MOST_COMMANDS = 32
"""How many commands are counted apart; producers make up names, so all that come beyond count as one."""
_LONGEST_NAME = 64
_SLICES = 20
_SLICE_S = WINDOW_S / _SLICES
_PROBE_AFTER_S = 1.0
_RELAPSE_S = 5.0
_RELAPSES_FREE = 2
_LONGEST_PROBE_WAIT_S = 30.0
_JUDGED_FROM = 5
_OTHERS = ""


@define
class _TimeSlice:
    number: int
    answers: int = 0
    deferred: int = 0


@define
class _Window:
    """The answers to one command in the last ten seconds, in slices of half a second."""

    slices: deque[_TimeSlice] = field(factory=deque)
    answers: int = 0
    deferred: int = 0


@define
class TripRules:
    """When one target gets no jobs. `reason`, `tripped_at_s`: why it is tripped, and since when; None if it is not."""

    reason: str | None = field(default=None, init=False)
    tripped_at_s: float | None = field(default=None, init=False)
    _silent: int = field(default=0, init=False)
    _silent_command: str | None = field(default=None, init=False)
    """The one command of the row; None if there are several, or a job could not be sent at all."""
    _answered_at_s: float = field(default=float("-inf"), init=False)
    _number: int = field(default=0, init=False)
    _slice_ends_s: float = field(default=0.0, init=False)
    """The time from which answers are counted in another slice."""
    _commands: dict[str, _Window] = field(factory=dict, init=False)
    _relapses: int = field(default=0, init=False)
    _reset_at_s: float = field(default=float("-inf"), init=False)
    _last_try_s: float = field(default=float("-inf"), init=False)
    _not_before_s: float = field(default=0.0, init=False)
    _pause_ends_s: float = field(default=0.0, init=False)

    @property
    def permits(self) -> bool:
        """Whether the target gets jobs."""
        return self.tripped_at_s is None

    def record_unsent(self, now_s: float) -> None:
        """Note that a job could not be sent at all (refused, DNS, TLS): five silent ones in a row trip it.

        While it is tripped, this changes nothing.
        """
        self._lengthen(now_s, None)

    def record_silence(self, now_s: float, command: str = "", waited_s: float = 0.0) -> None:
        """Note that a job was sent and not answered within `waited_s` seconds.

        It counts as a "not now", and as one of five silent jobs in a row, as in `record_unsent`; not as the latter if
        another job was answered in the second half of that time, since jobs that are sent together time out together.
        """
        self._count(now_s, command, 1, deferred=True)
        if now_s - self._answered_at_s >= waited_s / 2:
            self._lengthen(now_s, command[:_LONGEST_NAME])
        self._trip_if_failing(now_s)

    def record_gateway(self, now_s: float, command: str, *, is_lost: bool) -> None:
        """Note a "not now" that a gateway may have answered in the target's place; it ends no row of silent jobs.

        `is_lost`: it counts as one of that row itself, whichever the command and however lately others were answered.
        """
        self._count(now_s, command, 1, deferred=True)
        if is_lost:
            self._lengthen(now_s, None)
        self._trip_if_failing(now_s)

    def record_answer(self, now_s: float, command: str = "", count: int = 1, *, deferred: bool) -> None:
        """Note that the target answered `count` jobs; `deferred`: one, with "not now".

        While it is tripped, this changes nothing.
        """
        self._silent = 0
        self._answered_at_s = now_s
        self._count(now_s, command, count, deferred=deferred)
        if deferred:
            self._trip_if_failing(now_s)

    def is_alone(self, command: str) -> bool:
        """Tell whether this command alone fails: half of its last answers are "not now", and fewer of the others'."""
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
            self._trip(now_s, f"{self._silent} jobs in a row could not be sent or were not answered")

    def _is_one_slow_command(self) -> bool:
        window = None if self._silent_command is None else self._commands.get(self._silent_command)
        return window is not None and self._rest_is_well(window)

    def _trip_if_failing(self, now_s: float) -> None:
        if not self.permits:
            return
        answers, deferred = self._all()
        if answers < ANSWERS_NEEDED or not _fails(answers, deferred):
            return
        # Why: docs/design.md#one-sick-command
        if not self._rest_is_well(max(self._commands.values(), key=lambda window: window.deferred)):
            self._trip(now_s, f"{deferred} of {answers} answers within {duration_text(WINDOW_S)} were “not now”")

    def _rest_is_well(self, window: _Window) -> bool:
        """Tell whether enough other commands were answered besides this one, and less than half of those failed."""
        answers, deferred = self._all()
        others = answers - window.answers
        return 10 * others >= answers and not _fails(others, deferred - window.deferred)

    def _all(self) -> tuple[int, int]:
        """Return the number of answers in the last ten seconds, and how many of them were "not now"."""
        windows = self._commands.values()
        return sum([window.answers for window in windows]), sum([window.deferred for window in windows])

    def trip(self, now_s: float, reason: str, retry_after_s: float = 0.0) -> None:
        """Trip at once for this reason; a Retry-After pauses the target for as long, but for 15 minutes at most.

        No probe is due in the pause's first minute. If it is tripped already, the newer reason and the later moments
        count.
        """
        self._trip(now_s, reason, names_its_time=retry_after_s > 0)
        self.reason = reason
        self._not_before_s = max(self._not_before_s, now_s + min(retry_after_s, UNTOUCHED_S))
        self._pause_ends_s = max(self._pause_ends_s, now_s + min(retry_after_s, LONGEST_PAUSE_S))

    def probe_due_s(self, now_s: float, jitter: float) -> float:
        """Return the seconds until the next probe is due, 0 if it is; `jitter` in [0, 1) spreads processes.

        It is due one to two seconds after it was tripped or last probed, and never before the end of a Retry-After. A
        target whose probes succeed but which trips again within seconds is probed less and less often, down to once in
        30 s.
        """
        doubled = 2.0 ** min(max(0, self._relapses - _RELAPSES_FREE), 10)
        wait_s = min((_PROBE_AFTER_S + jitter) * doubled, _LONGEST_PROBE_WAIT_S)
        return max(0.0, self._last_try_s + wait_s - now_s, self._not_before_s - now_s)

    def probe_failed(self, now_s: float, reason: str) -> None:
        """Note that a probe found the target unhealthy, for this newer reason: the next probe is due later."""
        self.trip(now_s, reason)
        self._last_try_s = now_s

    def probe_ok(self, now_s: float) -> None:
        """Reset, since a probe found the target well: jobs flow, and earlier answers count no more."""
        self.tripped_at_s = self.reason = None
        self.end_pause()
        self._reset_at_s = now_s
        self._forget()

    def end_pause(self) -> None:
        """End the pause of a Retry-After: the next probe is due as if there had been none."""
        self._not_before_s = self._pause_ends_s = 0.0

    def held_for_s(self, now_s: float) -> float:
        """Return the seconds for which a Retry-After forbids even a probe, 0 without one."""
        return max(0.0, self._not_before_s - now_s)

    def paused_for_s(self, now_s: float) -> float:
        """Return the seconds that the pause of a Retry-After still lasts unless a probe ends it, 0 without one."""
        return max(0.0, self._pause_ends_s - now_s)

    def _trip(self, now_s: float, reason: str, *, names_its_time: bool = False) -> None:
        if not self.permits:
            return
        # A rate limiter that says when to come back is not unhealthy: it lets some through, and says so again.
        is_relapse = now_s - self._reset_at_s < _RELAPSE_S and not names_its_time
        self._relapses = self._relapses + 1 if is_relapse else 0
        self.reason = reason
        self.tripped_at_s = self._last_try_s = now_s
        self._forget()

    def _forget(self) -> None:
        self._silent = 0
        self._commands.clear()

    def _count(self, now_s: float, command: str, answers: int, *, deferred: bool) -> None:
        if self.tripped_at_s is not None:
            return
        if now_s >= self._slice_ends_s:
            self._number = number = int(now_s / _SLICE_S)
            self._slice_ends_s = (number + 1) * _SLICE_S
            for window in self._commands.values():
                while window.slices and window.slices[0].number <= number - _SLICES:
                    gone = window.slices.popleft()
                    window.answers -= gone.answers
                    window.deferred -= gone.deferred
        name = command[:_LONGEST_NAME]
        window = self._commands.get(name) or self._new_window(name)
        slices = window.slices
        if not slices or self._number > slices[-1].number:
            slices.append(_TimeSlice(self._number))
        slices[-1].answers += answers
        window.answers += answers
        if deferred:
            slices[-1].deferred += 1
            window.deferred += 1

    def _new_window(self, name: str) -> _Window:
        if len(self._commands) >= MOST_COMMANDS:
            self._commands = {known: window for known, window in self._commands.items() if window.answers}
            if len(self._commands) >= MOST_COMMANDS:
                name = _OTHERS
        return self._commands.setdefault(name, _Window())


def _fails(answers: int, deferred: int) -> bool:
    return 2 * deferred >= answers


LESS = 0.8
CALM_S = 1.0
_STEP_SHARE = 10
_PATIENCE_S = 10.0


@define
class Adaptive:
    """The limit of one target in one process. It begins at `ceiling`: there is nothing to be careful about yet."""

    ceiling: int
    limit: int = field(init=False)
    _goal: int = field(init=False)
    _before: int = field(init=False)
    _answered: int = field(default=0, init=False)
    _grown_at_s: float = field(default=float("-inf"), init=False)
    _refused_at_s: float = field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with the limit at `ceiling`, so that nothing is held back."""
        self.limit = self._goal = self._before = self.ceiling

    @property
    def is_rising(self) -> bool:
        """Whether the limit is still rising fast, back to where it was."""
        return self.limit < self._goal

    def record_answer(self, now_s: float, others: int) -> None:
        """Note that the target did its work, and raise the limit if that is what holds jobs back."""
        if self.limit >= self.ceiling or others + 1 < self.limit or now_s - self._refused_at_s < CALM_S:
            return
        self._answered += 1
        if self.is_rising:
            self._grow(now_s, 1)
        elif self._answered >= self.limit and now_s - self._grown_at_s >= CALM_S:
            self._grow(now_s, max(1, self.limit // _STEP_SHARE))

    def record_answers(self, now_s: float, others: int, count: int) -> None:
        """Note as many answers that came together, each as if another job had taken the place of the one before."""
        for _ in range(count):
            before = self.limit
            self.record_answer(now_s, others)
            others += self.limit - before

    def record_refusal(self, now_s: float, others: int) -> None:
        """Note that the target said "not now" or did not answer in time, and lower the limit."""
        if now_s - self._refused_at_s >= CALM_S:
            self._before = max(self.limit, self._goal)
            self.limit = self._goal = max(1, int(self.limit * LESS))
        self.limit = max(1, min(self.limit, others))
        self._goal = max(self.limit, self._goal - 1)
        self._refused_at_s = now_s
        self._answered = 0

    def restart(self, others: int) -> None:
        """Set the limit for the time after an outage: one job beside `others`.

        From there it rises fast to four fifths of what it was, or more.
        """
        self._goal = max(self._goal, int(self._before * LESS))
        self.limit = min(self._goal, others + 1)
        self._answered = 0
        self._refused_at_s = float("-inf")

    def raise_limit(self, now_s: float) -> None:
        """Raise the limit by one if it has not changed for a second, or for ten once it is back where it was.

        To be called while jobs wait for their turn: otherwise one slow job would hold all others at a limit of 1 until
        it ends.
        """
        patience_s = CALM_S if self.is_rising else _PATIENCE_S
        if now_s - max(self._grown_at_s, self._refused_at_s) >= patience_s:
            self._grow(now_s, 1)

    def _grow(self, now_s: float, by: int) -> None:
        self.limit = min(self.ceiling, self.limit + by)
        self._grown_at_s = now_s
        self._answered = 0
