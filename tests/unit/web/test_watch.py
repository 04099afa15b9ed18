"""What a look of the pages at Redis may come to."""

from restbroker.rules.json_types import Json
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event, Warned
from restbroker.web.watch import Watch


def broken(_client: Client) -> dict[str, Json]:
    raise ZeroDivisionError


async def test_a_look_that_fails_for_a_reason_that_nobody_foresaw_is_told_and_ends_nothing() -> None:
    told: list[Event] = []
    watch = Watch(Connection(open_client(StoreSettings("redis://127.0.0.1:1/0"))), lambda: broken, told.append)
    state = await watch.look()
    assert state.number == 1
    assert state.trouble is not None
    assert "cannot be shown" in state.trouble.message
    (warned,) = told
    assert isinstance(warned, Warned)
    assert (warned.code, "ZeroDivisionError" in warned.message) == ("RequestFailed", True)
