"""The connector against a real ejabberd."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import attrs
import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Credentials, Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Probe, Rejected
from restbroker.servers.contract import Connector, Ports
from restbroker.servers.ejabberd.connector import open_connector
from restbroker.servers.ejabberd.options import Options
from restbroker.transport.client import open_transport
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response, Transport
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.rows import rows

NUMBERS = count(1)
HOST = "example.org"


def new_user() -> str:
    """A name that no test used before."""
    return f"user{next(NUMBERS)}"


@attrs.frozen
class PlainLink:
    """A link that only sends."""

    transport: Transport

    async def ask(self, request: Request) -> Response:
        return await self.transport.send(request)

    async def send(self, request: Request) -> Response:
        return await self.transport.send(request)


@attrs.frozen
class Side:
    """Our side: a connector and its link, and short ways to use them."""

    connector: Connector
    link: PlainLink

    async def do(
        self, command: str, *, host: str | None = None, maybe_run: bool = False, timeout_s: float = 10.0, **given: Json
    ) -> Outcome:
        """Delivers a command."""
        call = Call(Command(command, given), host=host, maybe_run=maybe_run, timeout_s=timeout_s)
        return await self.connector.deliver(call, self.link)

    async def probe(self) -> Probe:
        """Probes the server."""
        return await self.connector.probe(self.link)


@asynccontextmanager
async def side_of(
    server: Ejabberd, credentials: Credentials = None, options: Options | None = None, **changes: object
) -> AsyncIterator[Side]:
    """Our side of this server, as its admin unless told otherwise."""
    target = Target(
        "t",
        "ejabberd",
        Url("http", "127.0.0.1", server.port, "/api"),
        ("rest",),
        credentials or Basic(server.admin, Secret(PASSWORD)),
        host_header=server.hosts[0],
        options=options or Options(),
    )
    target = attrs.evolve(target, **changes)  # type: ignore[arg-type]  # the tests name real fields
    transport = open_transport(target)
    try:
        yield Side(open_connector(target, Ports(lambda _: None, lambda: 0.0)), PlainLink(transport))
    finally:
        await transport.aclose()


@pytest.fixture
async def admin(ejabberd: Ejabberd) -> AsyncIterator[Side]:
    async with side_of(ejabberd) as side:
        yield side


def code(outcome: Outcome) -> str:
    """The code of an outcome that has a reason."""
    assert not isinstance(outcome, Delivered)
    return outcome.reason.code


async def test_a_registered_user_is_there(admin: Side) -> None:
    user = new_user()
    outcome = await admin.do("register", user=user, host=HOST, password="p☂ä")
    text = f"User {user}@{HOST} successfully registered"
    assert outcome == Delivered(f'"{text}"', text, 200)
    assert await admin.do("check_account", user=user, host=HOST) == Delivered("0", 0, 200)
    assert await admin.do("check_password", user=user, host=HOST, password="p☂ä") == Delivered("0", 0, 200)


async def test_a_second_register_is_rejected(admin: Side) -> None:
    user = new_user()
    await admin.do("register", user=user, host=HOST, password="p")
    outcome = await admin.do("register", user=user, host=HOST, password="p")
    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.reason.status) == ("AlreadyExists", 409)


async def test_a_second_register_after_one_that_may_have_run_is_done(admin: Side) -> None:
    user = new_user()
    await admin.do("register", user=user, host=HOST, password="p")
    outcome = await admin.do("register", user=user, host=HOST, password="p", maybe_run=True)
    assert isinstance(outcome, Delivered)
    assert outcome.note == "already done"


async def test_a_missing_host_is_filled_in(admin: Side) -> None:
    user = new_user()
    await admin.do("register", user=user, password="p", host=HOST)
    assert await admin.do("registered_users", host=HOST) == await admin.connector.deliver(
        Call(Command("registered_users", {}), host=HOST), admin.link
    )
    outcome = await admin.connector.deliver(Call(Command("get_roster", {"user": user}), host=HOST), admin.link)
    assert outcome == Delivered("[]", [], 200)


async def test_an_account_that_does_not_exist_is_a_no(admin: Side) -> None:
    assert await admin.do("check_account", user="nobody", host=HOST) == Delivered("1", 1, 200, negative=True)


async def test_a_message_is_accepted(admin: Side) -> None:
    given = {"type": "chat", "from": "admin@localhost", "to": f"nobody@{HOST}", "subject": "", "body": "Grüße ☂"}
    call = Call(Command("send_message", given))
    assert await admin.connector.deliver(call, admin.link) == Delivered("0", 0, 200)


async def test_a_room_that_exists_is_told_from_one_that_was_just_made(admin: Side) -> None:
    room: dict[str, Json] = {"name": new_user(), "service": "conference.localhost", "host": "localhost"}
    create = Call(Command("create_room", room))
    assert await admin.connector.deliver(create, admin.link) == Delivered("0", 0, 200)
    assert code(await admin.connector.deliver(create, admin.link)) == "AlreadyExists"
    wanted = attrs.evolve(create, ok_if_exists=True)
    again = await admin.connector.deliver(wanted, admin.link)
    assert isinstance(again, Delivered)
    assert again.note == "already done"


@rows(
    ("command", "given", "expected"),
    [
        ("register", {"user": "a", "host": HOST}, "BadArgument"),
        ("register", {"user": "a", "host": HOST, "password": "p", "extra": 1}, "BadArgument"),
        ("register", {"user": 5, "host": HOST, "password": "p"}, "BadArgument"),
        ("register", {"user": "a@b", "host": HOST, "password": "p"}, "BadArgument"),
        ("register", {"user": "a", "host": "nowhere", "password": "p"}, "UnknownHost"),
        ("registered_users", {"host": "nowhere"}, "UnknownHost"),
        ("change_password", {"user": "nobody", "host": HOST, "newpass": "p"}, "NotFound"),
        ("no_such_command_anywhere", {}, "UnknownCommand"),
        ("list_banned", {"host": HOST}, "UnknownCommand"),
        ("mod_last", {}, "UnknownCommand"),
    ],
)
async def test_what_repeating_cannot_cure_is_rejected(
    admin: Side, command: str, given: dict[str, Json], expected: str
) -> None:
    outcome = await admin.connector.deliver(Call(Command(command, given)), admin.link)
    assert isinstance(outcome, Rejected)
    assert outcome.reason.code == expected
    assert outcome.reason.cure


async def test_a_known_command_whose_module_is_not_loaded_is_rejected_not_waited_for(admin: Side) -> None:
    # mod_pubsub is not among this server's modules, but the catalogue has its commands.
    outcome = await admin.do("delete_old_pubsub_items", number=1)
    assert isinstance(outcome, Rejected)
    assert outcome.reason.code == "UnknownCommand"


async def test_an_internal_error_is_tried_three_times_at_most(admin: Side) -> None:
    given = {"localuser": "a", "localhost": "nowhere", "user": "b", "host": HOST, "nick": "", "group": "", "subs": "to"}
    outcome = await admin.connector.deliver(Call(Command("add_rosteritem", given)), admin.link)
    assert isinstance(outcome, Deferred)
    assert (outcome.reason.code, outcome.max_attempts, outcome.counts) == ("ServerError", 3, True)


async def test_a_secret_that_the_server_echoes_is_masked(admin: Side) -> None:
    outcome = await admin.do("register", user="a", host=HOST, password=471147114711)
    assert isinstance(outcome, Rejected)
    assert "471147" not in repr(outcome)
    assert "***" in outcome.reason.message


async def test_the_probe_tells_the_version_and_the_catalogue_follows_it(admin: Side) -> None:
    assert admin.connector.catalogue.version == "26.07"
    probe = await admin.probe()
    assert (probe.ok, probe.denied) == (True, False)
    assert probe.version is not None
    assert probe.version in probe.detail
    assert admin.connector.catalogue.version <= probe.version


async def test_a_configured_version_is_not_overruled_by_the_probe(ejabberd: Ejabberd) -> None:
    async with side_of(ejabberd, options=Options(server_version="24.12")) as side:
        await side.probe()
        assert side.connector.catalogue.version == "24.12"


async def test_commands_go_to_the_configured_version_of_the_interface_and_a_server_without_any_gets_none(
    ejabberd: Ejabberd,
) -> None:
    async with side_of(ejabberd, options=Options(api_version=1)) as side:
        outcome = await side.do("check_account", user="nobody", host=HOST)
        probe = await side.probe()
        plain = json.loads((await trio.to_thread.run_sync(ejabberd.call, "status"))[1])
        if re.search(r"ejabberd (1|2[0-3])\d*\.", plain):
            assert isinstance(outcome, Rejected)
            assert (code(outcome), outcome.reason.status) == ("UnknownCommand", 400)
            assert (probe.ok, probe.denied) == (False, True)
            assert "ApiVersion is 1" in probe.detail
        else:
            assert isinstance(outcome, Delivered)
            assert probe.ok


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(lambda server: Basic(server.admin, Secret("wrong")), id="wrong password"),
        pytest.param(lambda _: Basic("admin", Secret(PASSWORD)), id="user without a host"),
    ],
)
async def test_wrong_credentials_are_denied_and_so_is_the_probe(
    ejabberd: Ejabberd, credentials: Callable[[Ejabberd], Basic]
) -> None:
    async with side_of(ejabberd, credentials(ejabberd)) as side:
        outcome = await side.do("check_account", user="a", host=HOST)
        assert isinstance(outcome, Denied)
        assert outcome.reason.code == "LoginRefused"
        probe = await side.probe()
        assert (probe.ok, probe.denied) == (False, True)


async def test_a_forbidden_command_is_denied_while_the_probe_of_an_account_that_works_is_well(
    ejabberd: Ejabberd,
) -> None:
    async with side_of(ejabberd, Basic(ejabberd.limited, Secret(PASSWORD))) as side:
        assert isinstance(await side.do("check_account", user="a", host=HOST), Delivered)
        outcome = await side.do("connected_users_number")
        assert isinstance(outcome, Denied)
        assert outcome.reason.code == "CommandForbidden"
        probe = await side.probe()
        assert (probe.ok, probe.denied) == (True, False)


async def test_an_account_that_is_refused_thrice_and_never_succeeded_is_denied_by_the_probe(ejabberd: Ejabberd) -> None:
    async with side_of(ejabberd, Basic(ejabberd.limited, Secret(PASSWORD))) as side:
        assert (await side.probe()).ok
        for _ in range(3):
            assert isinstance(await side.do("connected_users_number"), Denied)
        probe = await side.probe()
        assert (probe.ok, probe.denied) == (False, True)
        assert "api_permissions" in (probe.cure or "")


async def test_a_url_that_leads_elsewhere_is_denied_and_so_is_the_probe(ejabberd: Ejabberd) -> None:
    async with side_of(ejabberd, url=Url("http", "127.0.0.1", ejabberd.port, "/rest")) as side:
        outcome = await side.do("check_account", user="a", host=HOST)
        assert isinstance(outcome, Denied)
        assert outcome.reason.code == "WrongUrl"
        probe = await side.probe()
        assert (probe.ok, probe.denied) == (False, True)


async def test_many_at_once_are_all_delivered(ejabberd: Ejabberd) -> None:
    outcomes: list[Outcome] = []
    async with side_of(ejabberd, concurrency=50) as side, trio.open_nursery() as nursery:

        async def register() -> None:
            outcomes.append(await side.do("register", user=new_user(), host=HOST, password="p"))

        for _ in range(100):
            nursery.start_soon(register)
    assert [type(outcome) for outcome in outcomes] == [Delivered] * 100


async def test_a_server_that_stops_defers_commands_and_never_rejects_them(own_ejabberd: Ejabberd) -> None:
    outcomes: list[Outcome] = []
    busy = trio.Event()

    async def ask_until_refused(side: Side) -> None:
        while True:
            try:
                outcomes.append(await side.do("connected_users_number", timeout_s=2.0))
            except MaybeSent:
                continue  # some of the open connections die in the act
            except NotSent:
                return
            if len(outcomes) > 50:
                busy.set()

    # Several, because the one connection of a lone asker may be among those that die at once.
    async with side_of(own_ejabberd) as side, trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(ask_until_refused, side)
        await busy.wait()
        await trio.to_thread.run_sync(own_ejabberd.call, "stop")
    assert {type(outcome) for outcome in outcomes} == {Delivered, Deferred}
    deferred = [outcome for outcome in outcomes if isinstance(outcome, Deferred)]
    assert {(code(outcome), outcome.counts, outcome.pause_target) for outcome in deferred} == {
        ("ServerStopping", False, True)
    }


async def test_a_ban_of_nobody_makes_an_account_that_is_not_counted_until_a_restart(own_ejabberd: Ejabberd) -> None:
    async def numbers(side: Side) -> tuple[int, int]:
        listed, counted = (
            await side.do("registered_users", host=HOST),
            await side.do("stats_host", name="registeredusers", host=HOST),
        )
        assert isinstance(listed, Delivered)
        assert isinstance(counted, Delivered)
        return len(json.loads(listed.text)), int(re.sub(r"\D", "", counted.text))

    nobody = new_user()
    async with side_of(own_ejabberd) as side:
        assert isinstance(await side.do("register", user=new_user(), host=HOST, password="p"), Delivered)
        assert await numbers(side) == (1, 1)
        assert isinstance(await side.do("ban_account", user=nobody, host=HOST, reason="a misspelt name"), Delivered)
        assert isinstance(there := await side.do("check_account", user=nobody, host=HOST), Delivered)
        assert not there.negative
        assert await numbers(side) == (2, 1)
        await trio.to_thread.run_sync(own_ejabberd.restart)
        assert await numbers(side) == (2, 2)


async def test_a_killed_server_is_not_sent_to_and_found_again_after_its_start(own_ejabberd: Ejabberd) -> None:
    async with side_of(own_ejabberd) as side:
        user = new_user()
        assert isinstance(await side.do("register", user=user, host=HOST, password="p"), Delivered)
        await trio.to_thread.run_sync(own_ejabberd.stop)
        with pytest.raises(NotSent):
            await side.do("check_account", user=user, host=HOST)
        await trio.to_thread.run_sync(own_ejabberd.start)
        assert await side.do("check_account", user=user, host=HOST) == Delivered("0", 0, 200)
        own_ejabberd.kill()
        with pytest.raises((NotSent, MaybeSent)):
            await side.do("check_account", user=user, host=HOST)
        with pytest.raises(NotSent):
            await side.probe()
