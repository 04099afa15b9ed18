"""Finds out, before a signed job is sent, whether it was done before: then someone pushed a copy of it.

The worker calls `is_replay` for signed jobs. Always holds: only what Redis says was done is a replay, so that a job
that was recovered, given back or retried is none. Calls that come while one question is on its way share the next.
"""

import attrs
import trio

from restbroker.broker.health import StoreHealth
from restbroker.job.settlement import Fingerprint
from restbroker.store import done
from restbroker.store.connection import Connection


@attrs.define(eq=False)
class _Question:
    fingerprint: Fingerprint
    is_done: bool | None = None


@attrs.define(eq=False)
class Replays:
    """The questions of one pool."""

    store: Connection
    health: StoreHealth
    _questions: list[_Question] = attrs.field(factory=list)
    _turn: trio.Lock = attrs.field(factory=trio.Lock)

    async def is_replay(self, fingerprint: Fingerprint) -> bool:
        """Tell whether the job of this fingerprint was done. Raise `StoreRefused`.

        Wait while Redis is away. Safe to cancel.
        """
        question = _Question(fingerprint)
        self._questions.append(question)
        try:
            async with self._turn:
                if question.is_done is None:
                    await self._ask()
        finally:
            if question in self._questions:
                self._questions.remove(question)
        return question.is_done is True

    async def _ask(self) -> None:
        asked = list(self._questions)
        answers = await self.health.insist(self.store, done.done, [question.fingerprint for question in asked])
        for question, is_done in zip(asked, answers, strict=True):
            question.is_done = is_done
        self._questions = [question for question in self._questions if question.is_done is None]
