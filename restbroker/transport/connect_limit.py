"""Limits how many connections to a server are opened at once, by how fast it answers on them. Used by `ConnectRamp`.

Always holds: the limit is never below `START`; above `START`, connects begin at most one per `GAP_S`; after `REST_S`
seconds without a connect, the limit begins at `START` again.

A listener's backlog fills with connects that the server has not accepted. A client is not told of that, but the first
answer on a new connection shows it: where it takes longer than before, the server is behind, or TCP had to try again.
Letting each answer bring two more connects, as TCP starts, is not enough: ejabberd 23.01 with its backlog of 5 made 59
of 146 connects wait, and with SCRAM passwords, 6.6 ms of CPU a request, 71 to 149 of 2000 requests failed at 200 at
once. With this limit few waited and none of these failed, and 5 of 5000 at 500 at once, where four at a time with a
fixed patience lost 261; 1000 connections to a server that answers after 50 ms come up in 1.3 s (measured on loopback).
"""

import math
from typing import Final

import attrs

START: Final = 4
GAP_S: Final = 0.001
PATIENCE_S: Final = 0.25
MOST_PATIENCE_S: Final = 10.0
REST_S: Final = 1.0
_LATE: Final = 2
"""A first answer is late if it takes more than this many times as long as the quickest one."""


@attrs.define(eq=False)
class ConnectLimit:
    """The limit on simultaneous connects to one server; times are on Trio's clock.

    `limit`: how many connections the server may be busy with accepting. `patience_s`: for how many seconds one of them
    counts as such.
    """

    limit: int = START
    patience_s: float = PATIENCE_S
    _quickest_s: float = math.inf
    _next_s: float = 0.0
    _moved_at_s: float = 0.0

    def from_s(self, young: int) -> float:
        """Return the time from which one more may connect beside `young` others, by the gap between two; 0.0: now."""
        return 0.0 if young < START else self._next_s

    def note_begun(self, now_s: float) -> None:
        """Count a connect that begins now; after `REST_S` seconds without one, reset the limit first."""
        if now_s - self._moved_at_s > REST_S:
            self.limit, self.patience_s, self._quickest_s = START, PATIENCE_S, math.inf
        self._moved_at_s = now_s
        self._next_s = max(self._next_s, now_s - (START - 1) * GAP_S) + GAP_S

    def note_answered(self, now_s: float, took_s: float) -> None:
        """Note the first answer on a connection, `took_s` seconds after its connect began.

        Raise the limit, or halve it if that is late.
        """
        self._moved_at_s = now_s
        self._quickest_s = min(self._quickest_s, took_s)
        # A busy server needs longer to accept too, and a slow one must not hold all others up.
        self.patience_s = min(max(PATIENCE_S, _LATE * took_s), MOST_PATIENCE_S)
        if took_s > _LATE * self._quickest_s:
            self._halve()
        else:
            # A server that answers within a few milliseconds frees its turns so quickly that it needs no more of them.
            most = int(self._quickest_s / GAP_S) - START
            self.limit = max(START, min(self.limit + 1, most))

    def note_failed(self, now_s: float) -> None:
        """Halve the limit, down to `START`: a connection was refused, broke, or had no answer when it was given up."""
        self._moved_at_s = now_s
        self._halve()

    def _halve(self) -> None:
        self.limit = max(START, self.limit // 2)
