"""Commands that change rosters ask nothing of Prosody and say nothing of its health; of a refresh of
many users those who fail get jobs of their own.
"""

import attrs
import pytest
import trio

from restbroker.errors import StoreRefused
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Rejected
from restbroker.rosters.refresh.options import Options
from restbroker.rosters.store import RosterChange, RosterUnchanged
from restbroker.transport.message import NotSent
from tests.unit.rosters.refresh.conftest import TARGET, FakeRosters, Link, Opened, Prosody, users
from tests.unit.servers.conftest import fate

LOCAL = attrs.evolve(TARGET, is_local=True, options=Options(writes_only=True))


async def test_a_change_is_made_in_redis_and_says_the_version(side: Opened) -> None:
    command_rows: list[tuple[str, dict[str, Json]]] = [
        ("add_contact", {"user": "john", "jid": "ann@example.org"}),
        ("delete_roster", {"user": "john"}),
    ]
    for target in (TARGET, LOCAL):
        for command, arguments in command_rows:
            async with side(target) as at:
                outcome = await at.deliver(command, arguments)
            assert outcome == Delivered('{"versions":{"john":7}}', {"versions": {"john": 7}}, 200, by_us=True), target
            assert at.prosody.requests == [], target
            assert all(isinstance(change, RosterChange) for change in at.rosters.changes), target


async def test_a_roster_is_answered_as_set_roster_takes_it(side: Opened) -> None:
    rosters = FakeRosters(stored={"john": {b"ann@example.org": b'{"name":"Ann","groups":["Work"]}', b"bob@a.b": b"{}"}})
    async with side(rosters=rosters) as at:
        found = await at.deliver("get_roster", user="john")
        none = await at.deliver("get_roster", user="nobody")
    roster = {"ann@example.org": {"name": "Ann", "groups": ["Work"]}, "bob@a.b": {}}
    assert isinstance(found, Delivered)
    assert (found.body, found.by_us) == (roster, True)
    assert isinstance(none, Delivered)
    assert (none.text, none.body) == ("{}", {})


async def test_a_refresh_of_several_users_is_done_by_their_one_job(side: Opened, autojump_clock: object) -> None:
    async with side() as at:
        outcome = await at.refresh("john", "aaron")
    assert outcome == Delivered(
        '{"users":2,"failed":0,"waiting":0}', {"users": 2, "failed": 0, "waiting": 0}, 200, by_us=True
    )
    assert at.prosody.refreshed == [("john", "aaron")]
    assert at.rosters.marked == []
    assert at.rosters.again == []


async def test_failed_user_of_a_common_refresh_gets_his_own_job(side: Opened, autojump_clock: object) -> None:
    prosody = Prosody(fails={"user3"}, poisoned={"user70"})
    async with side(prosody=prosody) as at:
        outcome = await at.refresh(*users(120))
    assert isinstance(outcome, Delivered)
    assert outcome.body == {"users": 120, "failed": 2, "waiting": 0}
    assert at.rosters.marked == ["user3", "user70"]
    assert at.rosters.again == [], "a mark would say that the job comes again, and none would be pushed"


async def test_one_job_refreshes_no_more_than_concurrency_at_once(side: Opened, autojump_clock: object) -> None:
    async with side(prosody=Prosody(takes_s=0.5)) as at, trio.open_nursery() as nursery:
        nursery.start_soon(at.refresh, *users(1000))
        while len(at.rosters.ended) < 1000:
            assert at.prosody.running.total() <= 200
            await trio.sleep(0.1)
    assert len(at.prosody.refreshed) == 20
    assert all(len(batch) == 50 for batch in at.prosody.refreshed)


async def test_a_job_of_many_users_comes_again_as_a_whole(side: Opened, autojump_clock: object) -> None:
    async with side(prosody=Prosody(refuses=True)) as at:
        with pytest.raises(NotSent):
            await at.refresh("john", "aaron")
        at.prosody.refuses, at.prosody.status = False, 404
        assert isinstance(await at.refresh("john", "aaron"), Denied)
        at.prosody.status = 503
        paused = await at.refresh("john", "aaron")
    assert isinstance(paused, Deferred)
    assert paused.pause_target
    assert at.rosters.marked == []


async def test_nothing_is_sent_where_only_writes_are_done(side: Opened) -> None:
    async with side(LOCAL, prosody=Prosody(refuses=True)) as at:
        assert isinstance(await at.refresh("john"), Delivered)
        probe = await at.connector.probe(Link(at.prosody))
        at.rosters.refreshes = False
        lost = await at.refresh("john")
    assert at.rosters.marked == ["john", "john"]
    assert at.prosody.requests == []
    assert probe.ok
    assert isinstance(lost, Rejected)
    assert lost.reason.code == "NoRefreshTarget"


async def test_change_refused_by_redis_is_reported_with_its_reason(side: Opened) -> None:
    refused = StoreRefused("No right.", "Allow it.")
    rows: list[tuple[FakeRosters, str, str, str]] = [
        (FakeRosters(result=RosterUnchanged("john")), "add_contact", "Rejected RosterTooLarge", "of john"),
        (FakeRosters(refuses=refused), "delete_roster", "Deferred RosterRefused", "Allow it."),
    ]
    for rosters, command, wanted, says in rows:
        contact: dict[str, Json] = {} if command == "delete_roster" else {"jid": "ann@example.org"}
        async with side(rosters=rosters) as at:
            outcome = await at.deliver(command, {"user": "john", **contact})
        assert fate(outcome) == wanted
        assert says in str(outcome), wanted
