"""The look at Redis that all pages share: how often it is taken, and what nothing that lies there can do to it."""

from collections.abc import AsyncIterator, Callable

import attrs
import pytest
import trio

from restbroker.config.load import load
from restbroker.errors import RestbrokerError
from restbroker.operate.context import ConfigContext, context_of
from restbroker.operate.summary import Summary
from restbroker.operate.system import Snapshot
from restbroker.servers import registry
from restbroker.store.client import Client, StoreSettings, integer, open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event, OperatorWarning
from restbroker.web.connection import Causes
from restbroker.web.live import FRESH_S, SnapshotWatch
from restbroker.web.metrics_view import Figures, Glance
from tests.support.wait import until_async

Look = Callable[[Client], Figures]
NOTHING = Figures(Snapshot())


@attrs.define(eq=False)
class Stand:
    """`looks` counts; `answer` is what a look asks; `clock_s` is the watch's clock, `reports` what it says."""

    answer: Look = lambda _client: NOTHING
    looks: int = 0
    clock_s: float = 1000.0
    reports: list[Event] = attrs.field(factory=list)

    def question(self) -> Glance:
        def look(client: Client) -> Figures:
            self.looks += 1
            return self.answer(client)

        return look


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture
async def watch(redis_url: str, stand: Stand) -> AsyncIterator[SnapshotWatch]:
    connection = Connection(open_client(StoreSettings(redis_url), 1.0))
    yield SnapshotWatch(connection, stand.question, stand.reports.append, None, lambda: stand.clock_s)
    await connection.aclose()


async def test_many_simultaneous_requests_share_one_look(watch: SnapshotWatch, stand: Stand) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(300):
            nursery.start_soon(watch.state_for)
    assert stand.looks == 1
    stand.clock_s += FRESH_S
    await watch.state_for()
    assert stand.looks == 2


async def test_a_long_look_is_followed_by_ten_times_as_much_rest(watch: SnapshotWatch, stand: Stand) -> None:
    def slowly(_client: Client) -> Figures:
        stand.clock_s += 0.5
        return NOTHING

    stand.answer = slowly
    await watch.state_for()
    stand.clock_s += 4.9
    await watch.state_for()
    assert stand.looks == 1
    stand.clock_s += 0.2
    await watch.state_for()
    assert stand.looks == 2


async def test_causes_are_read_for_visitors_as_configured_now(watch: SnapshotWatch, stand: Stand) -> None:
    kinds = {"RESTBROKER_RestQueue": "rest", "RESTBROKER_Token": "t"}
    knows = [ConfigContext({}), context_of(load(None, kinds, {}, registry.kinds()).config)]
    watch.causes = Causes(lambda: knows[0])
    stand.answer = lambda client: Figures(Snapshot(totals={"dead": integer(client.command("ZCARD", "dead"))}))

    async def summary() -> Summary | None:
        watch.refresh_now()
        summary = (await watch.state_for()).look
        assert summary is not None
        return summary.dead

    def targets(found: Summary | None) -> list[str | None]:
        return [] if found is None else [cause.target for cause in found.causes]

    raw = '{"class":"Add","jid":"j","queue":"rest","args":["safe",{},"t"],"error_class":"E","error_message":"m"}'
    await watch.connection.call(Client.command, "ZADD", "dead", 1, raw)
    async with trio.open_nursery() as nursery:
        await nursery.start(watch.run)
        await until_async(lambda: watch.state.number, "nobody needs the first look")
        nursery.cancel_scope.cancel()
    assert watch.state.look is not None
    assert watch.state.look.dead is None
    assert targets(await summary()) == [None]
    del knows[0]
    assert targets(await summary()) == ["ejabberd"]
    await watch.connection.call(Client.command, "DEL", "dead")
    assert await summary() is None


async def test_change_during_a_look_is_looked_at_again(watch: SnapshotWatch, stand: Stand) -> None:
    def changing(_client: Client) -> Figures:
        if stand.looks == 1:
            trio.from_thread.run_sync(watch.refresh_now)
        return NOTHING

    stand.answer = changing
    await watch.state_for()
    await watch.state_for()
    await watch.state_for()
    assert stand.looks == 2


@pytest.mark.promise("Security: who can reach the ports", "to end a broker through its pages")
async def test_fault_of_a_look_is_reported_and_another_look_taken(watch: SnapshotWatch, stand: Stand) -> None:
    def stumbling(_client: Client) -> Figures:
        raise OverflowError("a text of a stranger's")

    stand.answer = stumbling
    trouble = (await watch.state_for()).error
    stand.answer = lambda _client: Figures(Snapshot(totals={"retry": 7}))
    stand.clock_s += FRESH_S
    state = await watch.state_for()
    assert isinstance(trouble, RestbrokerError)
    (warning,) = stand.reports
    assert isinstance(warning, OperatorWarning)
    assert warning.code == "RequestFailed"
    assert "OverflowError" in warning.message
    assert "cannot be shown" in trouble.message
    assert "stranger" not in warning.message + trouble.message
    assert state.error is None
    assert state.look is not None
    assert state.look.figures.system.totals == {"retry": 7}
