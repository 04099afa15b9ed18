"""Who holds all the places that one can get: the other sources, and other addresses, go on as if nobody did."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import httpx
import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.events.webhook import AT_ONCE
from tests.events.conftest import MESSAGE, SOURCE, Hall, Open, sent
from tests.support.wait import until_async

GUARDED = attrs.evolve(SOURCE, name="guarded", path="/events/guarded", secret=Secret("a-secret-of-sixteen"))
SIGN_IN = {"Authorization": "Bearer a-secret-of-sixteen"}
_FLOOD = 2 * AT_ONCE
"""When the first places are free again after ten seconds, others of them wait for these."""


@asynccontextmanager
async def flooded(one: Hall, path: str, places: int, headers: dict[str, str]) -> AsyncIterator[None]:
    """From 127.0.0.1 so many requests stand there whose bodies do not come, until the block ends."""
    reading: list[bytes] = []

    async def hold() -> None:
        async with await one.connect() as stream:
            await stream.send_all(sent(b"", path=path, length=5, Expect="100-continue", **headers))
            reading.append(await stream.receive_some())
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(_FLOOD):
            nursery.start_soon(hold)
        await until_async(lambda: len(reading) >= places, "all places are taken")
        assert all(answer.startswith(b"HTTP/1.1 100 ") for answer in reading)
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.promise("Security: who can reach the ports", "to hold all places for events")
async def test_one_who_floods_a_source_without_a_secret_keeps_neither_the_others_nor_other_addresses_from_it(
    hall: Open,
) -> None:
    async with hall(SOURCE, GUARDED) as one, flooded(one, str(SOURCE.path), AT_ONCE // 4, {}):
        assert (await one.post(path=str(GUARDED.path), **SIGN_IN)).status_code == 202
        transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        async with httpx.AsyncClient(timeout=60, transport=transport) as elsewhere:
            answer = await elsewhere.post(f"{one.url}{SOURCE.path}", json=dict(MESSAGE))
        assert answer.status_code == 202
        assert [job["args"][0]["id"] for job in one.jobs()] == ["m1", "m1"]
    assert "EventNotTaken" not in {warned.code for warned in one.warnings()}


@pytest.mark.promise("Security: who can reach the ports", "to hold all places for events")
async def test_one_with_the_secret_of_a_source_takes_no_place_of_another(hall: Open) -> None:
    async with hall(SOURCE, GUARDED) as one, flooded(one, str(GUARDED.path), AT_ONCE // 2, SIGN_IN):
        assert (await one.post()).status_code == 202
    assert "EventNotTaken" not in {warned.code for warned in one.warnings()}
