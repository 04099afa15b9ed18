"""How many jobs may be in delivery at a target: fewer when it says "not now", more again while it answers. No clock.

The breaker of a pool owns one, reports every answer to it and lets jobs in up to `limit`. A job that is refused or not
answered takes its place away with it, so that a server that refuses at once is not flooded with the next jobs; the
first such answer in a while also takes a fifth of the limit, so that several processes come to equal shares. For one
second after that, nothing grows. Then the limit rises fast (by one with each answer, so it doubles with each round) to
what is left of the old one without that fifth and the places that were taken away, and slowly (by a tenth, at least
one, a second) beyond.

Always holds: 1 <= `limit` <= `ceiling`; it only grows while it is what holds jobs back; every call takes constant time.
`now_s` is the time by any clock in seconds that all calls share, `others` how many jobs are in delivery beside the one
answered.
"""

import attrs

LESS = 0.8
CALM_S = 1.0
_STEP_SHARE = 10
_PATIENCE_S = 10.0


@attrs.define
class Adaptive:
    """The limit of one target in one process. It begins at `ceiling`: there is nothing to be careful about yet."""

    ceiling: int
    limit: int = attrs.field(init=False)
    _goal: int = attrs.field(init=False)
    _before: int = attrs.field(init=False)
    _answered: int = attrs.field(default=0, init=False)
    _grown_at_s: float = attrs.field(default=float("-inf"), init=False)
    _refused_at_s: float = attrs.field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with the limit at `ceiling`, so that nothing is held back."""
        self.limit = self._goal = self._before = self.ceiling

    @property
    def is_rising(self) -> bool:
        """Whether the limit is still rising fast, back to where it was."""
        return self.limit < self._goal

    def note_answer(self, now_s: float, others: int) -> None:
        """Note that the target did its work, and raise the limit if that is what holds jobs back."""
        if self.limit >= self.ceiling or others + 1 < self.limit or now_s - self._refused_at_s < CALM_S:
            return
        self._answered += 1
        if self.is_rising:
            self._grow(now_s, 1)
        elif self._answered >= self.limit and now_s - self._grown_at_s >= CALM_S:
            self._grow(now_s, max(1, self.limit // _STEP_SHARE))

    def note_answers(self, now_s: float, others: int, count: int) -> None:
        """Note as many answers that came together, each as if another job had taken the place of the one before."""
        if self.limit < self.ceiling:
            for _ in range(count):
                before = self.limit
                self.note_answer(now_s, others)
                others += self.limit - before

    def note_refusal(self, now_s: float, others: int) -> None:
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

    def note_wait(self, now_s: float) -> None:
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
