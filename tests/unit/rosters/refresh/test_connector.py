"""Commands that change rosters ask nothing of Prosody and tell nothing of its health; refreshes of many become jobs."""

import attrs

from restbroker.errors import StoreRefused
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Rejected
from restbroker.rosters.refresh.options import Options
from restbroker.servers.roster_change import Change, NotChanged
from tests.unit.rosters.refresh.conftest import TARGET, FakeRosters, Link, Opened, Prosody
from tests.unit.servers.conftest import fate

LOCAL = attrs.evolve(TARGET, is_local=True, options=Options(writes_only=True))


async def test_a_change_is_made_in_redis_and_says_the_version(side: Opened) -> None:
    command_rows: list[tuple[str, dict[str, Json]]] = [
        ("add_contact", {"user": "john", "jid": "ann@example.org"}),
        ("delete_roster", {"user": "john"}),
        ("befriend", {"a": "john", "b": "ann"}),
    ]
    for target in (TARGET, LOCAL):
        for command, arguments in command_rows:
            async with side(target) as at:
                outcome = await at.deliver(command, arguments)
            assert outcome == Delivered('{"versions":{"john":7}}', {"versions": {"john": 7}}, 200, by_us=True), target
            assert at.prosody.requests == [], target
            assert all(isinstance(change, Change) for change in at.rosters.changes), target


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


async def test_a_refresh_of_several_users_becomes_a_job_for_each(side: Opened) -> None:
    async with side() as at:
        outcome = await at.refresh("john", "aaron")
    assert outcome == Delivered('{"users":2}', {"users": 2}, 200, by_us=True)
    assert at.rosters.marked == ["john", "aaron"]
    assert at.prosody.requests == []


async def test_where_only_writes_are_done_a_refresh_is_passed_on_and_the_probe_asks_nobody(side: Opened) -> None:
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


async def test_what_redis_does_not_change_is_told_with_why(side: Opened) -> None:
    absent, refused = NotChanged("john", "ABSENT", "ann@example.org"), StoreRefused("No right.", "Allow it.")
    rows: list[tuple[FakeRosters, str, str, str]] = [
        (FakeRosters(result=absent), "rename_contact", "Deferred NoSuchContact max 3", "ann@example.org"),
        (FakeRosters(result=NotChanged("john", "MANY", "")), "add_contact", "Rejected RosterTooLarge", "of john"),
        (FakeRosters(result=NotChanged("john", "LARGE", "")), "add_contact", "Rejected RosterTooLarge", "of john"),
        (FakeRosters(refuses=refused), "delete_roster", "Deferred RosterRefused", "Allow it."),
    ]
    for rosters, command, wanted, says in rows:
        contact: dict[str, Json] = {} if command == "delete_roster" else {"jid": "ann@example.org"}
        given = {**contact, "name": "Ann"} if command == "rename_contact" else contact
        async with side(rosters=rosters) as at:
            outcome = await at.deliver(command, {"user": "john", **given})
        assert fate(outcome) == wanted
        assert says in str(outcome), wanted


async def test_a_denied_probe_is_asked_once_for_all_who_meet_it_at_the_same_moment(side: Opened) -> None:
    async with side(prosody=Prosody(status=404)) as at:
        for _ in range(5):
            assert (await at.connector.probe(Link(at.prosody))).denied
    assert len(at.prosody.requests) == 1
