"""The wait for the answer to a pushed job.

Called by `restbroker enqueue --wait` and `restbroker ctl`. Always holds: nothing is changed;
while jobs wait, it is said once why.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import attrs

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.errors import StoreRefused
from restbroker.job.json_types import Json
from restbroker.job.order import ORDER_KEY
from restbroker.operate.enqueue import JobRequest, wait, why_waiting
from restbroker.store.client import Client

_PATIENCE_S: Final = 2.0
"""How many seconds to say nothing while waiting: a process reports that a target is down at most 2.5 s later."""
_ROUND_S: Final = 30.0
"""How many seconds one wait lasts if there is no time-out; it is repeated."""


@attrs.frozen
class AnswerWait:
    """The wait for one job, pushed at `pushed_at_s` (epoch seconds). `target`: that of its queue.

    `say` prints a note for people, `local` returns a moment as they read it.
    """

    client: Client
    settings: Config
    target: Target
    request: JobRequest
    jid: str
    pushed_at_s: float
    say: Callable[[str], None]
    local: Callable[[float], str]

    @property
    def expires_at_s(self) -> float | None:
        """When it expires (epoch seconds); None: no time of its own was given."""
        one = self.request
        return None if one.expire_s is None else (self.pushed_at_s if one.at_s is None else one.at_s) + one.expire_s

    @property
    def _key(self) -> str | None:
        """The key by which it is kept in order, if it is."""
        order, one = self.target.order, self.request
        return None if order is None else order.key_of({ORDER_KEY: one.order_key}, one.arguments)

    def answer(self, timeout_s: float | None, *, is_explained: bool) -> Mapping[str, Json] | None:
        """Return the answer, or None if it does not come in time (None: no limit); say once what the job waits for.

        `is_explained`: it was said why the job will wait. Raise `StoreUnavailable` or `StoreRefused`.
        """
        why = partial(why_waiting, self.client, self.request.queue, self.target.name)
        notes: list[Callable[[], str | None]] = [] if is_explained else [why]
        if self._key:
            notes.append(self._held_text)
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            remaining_s = _ROUND_S if ends_s is None else max(ends_s - time.monotonic(), 0.0)
            found = wait(self.client, self.jid, min(remaining_s, _PATIENCE_S) if notes else remaining_s)
            if found is not None:
                return found
            for note in [*notes]:
                if (text := note()) is not None:
                    self.say(text)
                    notes.remove(note)
            if ends_s is not None and time.monotonic() >= ends_s:
                return None

    def _held_text(self) -> str | None:
        """Return behind which job of its key the job is held, with what to do; None if it is not."""
        from restbroker.operate import order_wait
        from restbroker.operate.context import context_of

        with suppress(StoreRefused):
            known, key = context_of(self.settings), self._key or ""
            held = order_wait.of_key(self.client, known, self.target, key, jid=self.jid)
            return None if not held or held.is_own else "\n".join((held.text(self.local), *held.next_steps))
        return None
