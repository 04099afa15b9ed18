"""Settles jobs and takes others in one round trip. Used under load, where each alone costs a call of its own.

Always holds: it is `finish` and then `fetch`, each with its own answer or refusal; neither is undone or left out
because of what becomes of the other. Only where Redis does not know the script of `finish` yet, `fetch` comes first.
"""

from collections.abc import Sequence

from restbroker.errors import StoreRefused
from restbroker.store.client import Reply
from restbroker.store.codes import Code
from restbroker.store.jobs import FetchAnswer, FetchRequest, FinishRequest, fetch_call, read_fetch
from restbroker.store.keys import Keys
from restbroker.store.settling import FinishSteps


class Exchange:
    """An exchange on its way: the `calls` that it sends, and what their replies mean."""

    def __init__(self, keys: Keys, finished: FinishRequest, now_s: float, wanted: FetchRequest) -> None:
        self._keys = keys
        self._wanted = wanted
        self._settling = FinishSteps(keys, finished, now_s)
        self.calls = [*self._settling.calls, fetch_call(keys, wanted)]

    def answers(
        self, replies: Sequence[Reply | StoreRefused]
    ) -> tuple[list[Code] | StoreRefused, FetchAnswer | StoreRefused]:
        """Return the answers of `finish` and `fetch` from the replies to `calls`, or the refusal that each met."""
        *settled, taken = replies
        codes: list[Code] | StoreRefused
        answer: FetchAnswer | StoreRefused
        try:
            codes = self._settling.read_replies(settled)
        except StoreRefused as error:
            codes = error
        try:
            answer = read_fetch(self._keys, self._wanted, taken)
        except StoreRefused as error:
            answer = error
        return codes, answer
