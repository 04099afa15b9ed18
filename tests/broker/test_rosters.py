"""A connector's way to the rosters in Redis: changes with their jobs, marks of its own, outages that it waits for."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from restbroker.config.core import Config
from restbroker.config.load import load
from restbroker.rosters.in_redis import RostersInRedis, rosters_of
from restbroker.rosters.store import RefreshDelay, RosterChange, RosterVersions
from restbroker.servers import registry
from restbroker.store.client import Client, StoreSettings, items, open_client, raw
from restbroker.store.connection import Connection
from tests.support.redis_server import RedisServer

PACE = RefreshDelay(0, 0)
URL = "http://127.0.0.1:5280/roster_admin"

Of = Callable[..., RostersInRedis]


@pytest.fixture
async def of(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Of]:
    """The rosters of a target, by its name."""
    made: list[RostersInRedis] = []

    def config() -> Config:
        targets = {
            name: {"Kind": "prosody-roster", "URL": URL, "Domain": "a.b", "Queues": [name], "Options": options}
            for name, options in {"home": {}, "other": {}, "writes": {"WritesOnly": True}}.items()
        }
        keys = {"Token": "t", "Targets": targets, "Roster": {"Target": "home"}}
        file = tmp_path / "env.json"
        file.write_text(json.dumps(keys))
        return load(file, {}, {}, registry.kinds()).config

    def run(name: str, url: str = redis_server.url) -> RostersInRedis:
        whole = config()
        target = next(target for target in whole.targets if target.name == name)
        found = rosters_of(whole, target, lambda: Connection(open_client(StoreSettings(url), 1.0)))
        assert found is not None
        made.append(found)
        return found

    yield run
    for rosters in made:
        await rosters.aclose()


def jobs(client: Client, queue: str) -> list[Any]:
    return [json.loads(raw(job))["args"] for job in items(client.command("LRANGE", f"queue:{queue}", 0, -1))]


REFRESH = ["refresh", {"users": ["john"]}, "t"]
CHANGE = RosterChange("john", {"ann@a.b": b"{}"})


@pytest.mark.parametrize("name", ["home", "other", "writes"])
async def test_roster_changes_are_refreshed_by_the_named_target(client: Client, of: Of, name: str) -> None:
    rosters = of(name)
    assert await rosters.change([CHANGE]) == RosterVersions({"john": 1})
    assert await rosters.change([CHANGE]) == RosterVersions({"john": 1}), "nothing is altered"
    assert jobs(client, "home") == [REFRESH]
    assert await rosters.read(["john", "nobody"]) == [{b"ann@a.b": b"{}"}, {}]


@pytest.mark.parametrize(("name", "queue"), [("home", "home"), ("other", "other"), ("writes", "home")])
async def test_refresh_of_several_goes_to_the_requested_target_if_able(
    client: Client, of: Of, name: str, queue: str
) -> None:
    assert await of(name).mark(["john"])
    assert await of(name).mark(["john"])
    assert jobs(client, queue) == [REFRESH]


async def test_two_servers_may_have_users_of_the_same_name(client: Client, of: Of) -> None:
    home, other = of("home"), of("other")
    await home.mark(["john"])
    await other.mark(["john"])
    assert jobs(client, "home") == jobs(client, "other") == [REFRESH]
    first, second = await home.claim(["john"], PACE), await other.claim(["john"], PACE)
    assert first.users == second.users == ("john",)
    await home.end_refreshes(first.holder, ["john"], [])
    busy = await other.claim(["john"], PACE)
    assert (busy.users, busy.wait_s) == ((), {"john": 0.05})


async def test_claimed_user_is_retried_soon_and_failed_one_marked(client: Client, of: Of) -> None:
    rosters, elsewhere = of("home"), of("home")
    await rosters.mark(["john", "aaron"])
    claimed = await rosters.claim(["john", "aaron"], PACE)
    assert set(claimed.users) == {"john", "aaron"}
    assert (await elsewhere.claim(["john"], PACE)).wait_s == {"john": 0.05}
    await rosters.end_refreshes(claimed.holder, ["john"], ["aaron"])
    await rosters.mark(["john", "aaron"])
    assert len(jobs(client, "home")) == 3, "aaron's job comes again by itself"


async def test_finished_refresh_is_reported_after_its_connection_ended(client: Client, of: Of) -> None:
    home = of("home")
    mine = (await home.claim(["mary"], PACE)).holder
    client.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await home.end_refreshes(mine, ["mary"], [])
    assert (await home.claim(["mary"], PACE)).users == ("mary",)


async def test_call_waits_while_redis_is_away_and_ending_gives_up(
    make_redis: Callable[..., RedisServer], of: Of, mock_clock: MockClock
) -> None:
    mock_clock.rate = 10
    redis = make_redis()
    rosters = of("home", redis.url)
    await rosters.change([CHANGE])
    redis.kill()
    with trio.fail_after(60):
        await rosters.end_refreshes("x", ["john"], [])
    with trio.move_on_after(1.0) as scope:
        await rosters.claim(["john"], PACE)
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rosters.claim, ["john"], PACE)
        await trio.sleep(0.2)
        redis.start()


def test_other_kinds_have_no_rosters(tmp_path: Path) -> None:
    file = tmp_path / "env.json"
    file.write_text(json.dumps({"RestURL": "http://127.0.0.1:1", "RestQueue": "rest", "Token": "x"}))
    config = load(file, {}, {}, registry.kinds()).config
    assert rosters_of(config, config.targets[0], lambda: pytest.fail("connected")) is None
