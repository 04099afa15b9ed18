"""Settles jobs and takes others in one round trip. Used by lanes under load, where each alone costs a call of its own.

Always holds: it is `finish` and then `fetch`, each with its own answer or refusal; neither is undone or left out for
what becomes of the other. Only where Redis does not know the script of `finish` yet, `fetch` comes first.
"""

from restbroker.errors import StoreRefused
from restbroker.store.client import Client
from restbroker.store.codes import Code
from restbroker.store.jobs import FetchAnswer, FetchRequest, FinishRequest, fetch_call, fetched
from restbroker.store.settling import Settling


def exchange(
    client: Client, finished: FinishRequest, now_s: float, wanted: FetchRequest
) -> tuple[list[Code] | StoreRefused, FetchAnswer | StoreRefused]:
    """The answers of `finish` and of `fetch`; a refusal stands in the place of its answer.

    Raises `StoreUnavailable`: each may have been done all the same. `finish` called again is right, and the next fetch
    answers `Duplicate` if jobs were taken.
    """
    settling = Settling(client.keys, finished, now_s)
    calls = list(settling.calls())
    *settled, taken = client.run_each([*(call for _, call in calls), fetch_call(client.keys, wanted)])
    codes: list[Code] | StoreRefused = settling.codes
    for (places, _), answer in zip(calls, settled, strict=True):
        if isinstance(answer, StoreRefused):
            codes = answer
        else:
            settling.note(places, answer)
    try:
        return codes, fetched(client.keys, wanted, taken)
    except StoreRefused as error:
        return codes, error
