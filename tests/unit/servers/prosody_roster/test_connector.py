"""Commands that change rosters ask nothing of Prosody and tell nothing of its health; refreshes of many become jobs."""

import attrs

from restbroker.errors import StoreRefused
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Rejected
from restbroker.rosters.refresh.options import Options
from restbroker.servers.roster_change import Change, NotChanged
from tests.unit.servers.prosody_roster.conftest import TARGET, FakeRosters, Link, Opened, Prosody

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


async def test_who_is_no_contact_yet_is_renamed_when_he_is_one(side: Opened) -> None:
    refusal = NotChanged("john", "ABSENT", "ann@example.org")
    async with side(rosters=FakeRosters(result=refusal)) as at:
        outcome = await at.deliver("rename_contact", user="john", jid="ann@example.org", name="Ann")
    assert isinstance(outcome, Deferred)
    assert (outcome.reason.code, outcome.max_attempts) == ("NoSuchContact", 3)
    assert "ann@example.org" in outcome.reason.message


async def test_a_contact_too_many_is_rejected_with_the_limit(side: Opened) -> None:
    for why in ("MANY", "LARGE"):
        async with side(rosters=FakeRosters(result=NotChanged("john", why, ""))) as at:
            outcome = await at.deliver("add_contact", user="john", jid="ann@example.org")
        assert isinstance(outcome, Rejected), why
        assert (outcome.reason.code, "of john" in outcome.reason.message) == ("RosterTooLarge", True), why


async def test_where_redis_refuses_a_change_the_job_is_tried_again(side: Opened) -> None:
    async with side(rosters=FakeRosters(refuses=StoreRefused("No right.", "Allow it."))) as at:
        outcome = await at.deliver("delete_roster", user="john")
    assert isinstance(outcome, Deferred)
    assert (outcome.reason.code, outcome.reason.cure, outcome.pause_target) == ("RosterRefused", "Allow it.", False)


async def test_a_denied_probe_is_asked_once_for_all_who_meet_it_at_the_same_moment(side: Opened) -> None:
    async with side(prosody=Prosody(status=404)) as at:
        for _ in range(5):
            assert (await at.connector.probe(Link(at.prosody))).denied
    assert len(at.prosody.requests) == 1
