"""The places for a source's requests, whatever becomes of the requests that have one or wait for one."""

import gc

import pytest
import trio
import trio.testing

from restbroker.events.webhook import AT_ONCE, Quota, QuotaFull


async def enter(quota: Quota, address: str, times: int) -> list[trio.Semaphore]:
    return [await quota.enter(address) for _ in range(times)]


async def test_an_address_has_half_of_what_is_shared_out() -> None:
    quota = Quota(1, is_shared_out=True)
    shares = await enter(quota, "a", AT_ONCE // 2)
    with trio.move_on_after(0.01) as waiting:
        await quota.enter("a")
    assert waiting.cancelled_caught
    shares += await enter(quota, "b", AT_ONCE // 2)


async def test_a_secret_gives_an_address_all_places() -> None:
    await enter(Quota(1, is_shared_out=False), "a", AT_ONCE)


async def test_who_waits_gets_places_in_the_order_of_arrival(autojump_clock: trio.testing.MockClock) -> None:
    quota, came = Quota(1, is_shared_out=False), list[int]()
    shares = await enter(quota, "a", AT_ONCE)

    async def wait(number: int) -> None:
        await trio.sleep(number)
        await quota.enter(f"{number}")
        came.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(wait, number)
        await trio.sleep(5)
        for share in shares[:3]:
            quota.leave(share)
            await trio.testing.wait_all_tasks_blocked()
    assert came == [0, 1, 2]


@pytest.mark.parametrize("full", ["share", "room"])
async def test_who_waits_ten_seconds_is_refused(autojump_clock: trio.testing.MockClock, full: str) -> None:
    quota = Quota(1, is_shared_out=full == "share")
    shares = await enter(quota, "a", AT_ONCE // 2 if full == "share" else AT_ONCE)
    began_s = trio.current_time()
    with pytest.raises(QuotaFull):
        await quota.enter("a")
    assert trio.current_time() - began_s == pytest.approx(10)
    quota.leave(shares[0])
    with trio.fail_after(1):
        await quota.enter("a")


async def test_both_waits_together_take_ten_seconds(autojump_clock: trio.testing.MockClock) -> None:
    quota = Quota(1, is_shared_out=True)
    shares = [*await enter(quota, "a", AT_ONCE // 2), *await enter(quota, "b", AT_ONCE // 2)]
    refused_at_s: list[float] = []

    async def wait() -> None:
        with pytest.raises(QuotaFull):
            await quota.enter("a")
        refused_at_s.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        began_s = trio.current_time()
        nursery.start_soon(quota.enter, "c")
        nursery.start_soon(wait)
        await trio.sleep(6)
        quota.leave(shares[0])
    assert [at_s - began_s for at_s in refused_at_s] == [pytest.approx(10)]


@pytest.mark.parametrize("cancelled", [True, False], ids=["cancelled", "refused"])
async def test_who_gets_no_place_holds_none(autojump_clock: trio.testing.MockClock, cancelled: bool) -> None:
    """What it had of the share of its address is there for others."""
    quota = Quota(1, is_shared_out=True)
    kept = await enter(quota, "a", 1)
    others = [*await enter(quota, "b", AT_ONCE // 2), *await enter(quota, "c", AT_ONCE // 2 - 1)]
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.Cancelled if cancelled else QuotaFull):
                await quota.enter("a")

        for _ in range(AT_ONCE // 2 - 1):
            nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        if cancelled:
            nursery.cancel_scope.cancel()
    for share in others:
        quota.leave(share)
    with trio.fail_after(1):
        kept += await enter(quota, "a", AT_ONCE // 2 - 1)


async def test_addresses_without_a_request_are_forgotten() -> None:
    quota = Quota(1, is_shared_out=True)
    for number in range(1000):
        quota.leave(await quota.enter(f"192.0.2.{number}"))
    gc.collect()
    assert not quota._shares  # noqa: SLF001 - a bound that nothing else shows
