"""The connector against a real ejabberd: commands, errors, and a restart."""

import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Url
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Rejected
from restbroker.transport.errors import MaybeSent, NotSent
from tests.servers.ejabberd import HOST, NOBODY, account, new_user, side_of
from tests.servers.sides import Side, in_short
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.rows import Walk


async def test_each_answer_is_taken_for_what_it_is(admin: Side) -> None:
    new = account()
    room: dict[str, Json] = {"name": new_user(), "service": "conference.localhost", "host": "localhost"}
    there = {name: value for name, value in new.items() if name != "password"}
    message: dict[str, Json] = {
        "type": "chat",
        "from": "admin@localhost",
        "to": f"nobody@{HOST}",
        "subject": "",
        "body": "Grüße ☂",
    }
    # Of a host that is not there: ejabberd says 500 to it.
    item: dict[str, Json] = {
        "localuser": "a",
        "localhost": "nowhere",
        "user": "b",
        "host": HOST,
        "nick": "",
        "group": "",
        "subs": "to",
    }
    rows: list[tuple[str, dict[str, Json], dict[str, object], str]] = [
        ("register", new, {}, "Delivered"),
        ("check_account", there, {}, "Delivered"),
        ("check_password", new, {}, "Delivered"),
        ("get_roster", {"user": new["user"]}, {"host": HOST}, "Delivered"),
        ("register", new, {}, "Rejected AlreadyExists"),
        ("register", new, {"maybe_run": True}, "Delivered already done"),
        ("check_account", NOBODY, {}, "Delivered no"),
        ("send_message", message, {}, "Delivered"),
        ("create_room", room, {}, "Delivered"),
        ("create_room", room, {}, "Rejected AlreadyExists"),
        ("create_room", room, {"ok_if_exists": True}, "Delivered already done"),
        ("register", there, {}, "Rejected BadArgument"),
        ("register", {**account(), "extra": 1}, {}, "Rejected BadArgument"),
        ("register", {**account(), "user": 5}, {}, "Rejected BadArgument"),
        ("register", {**account(), "user": "a@b"}, {}, "Rejected BadArgument"),
        ("register", {**account(), "host": "nowhere"}, {}, "Rejected UnknownHost"),
        ("registered_users", {"host": "nowhere"}, {}, "Rejected UnknownHost"),
        ("change_password", {**NOBODY, "newpass": "p"}, {}, "Rejected NotFound"),
        ("no_such_command_anywhere", {}, {}, "Rejected UnknownCommand"),
        ("list_banned", {"host": HOST}, {}, "Rejected UnknownCommand"),
        ("mod_last", {}, {}, "Rejected UnknownCommand"),
        # The catalogue has it, but mod_pubsub is not among this server's modules: nobody waits for that.
        ("delete_old_pubsub_items", {"number": 1}, {}, "Rejected UnknownCommand"),
        ("add_rosteritem", item, {}, "Deferred ServerError"),
    ]
    walk = Walk()
    for command, given, how, wanted in rows:
        with walk.row((command, given, how)):
            outcome = await admin.call(command, given, **how)
            assert in_short(outcome) == wanted
            assert isinstance(outcome, Delivered) or outcome.reason.hint
    walk.end()


async def test_a_secret_that_the_server_echoes_is_masked(admin: Side) -> None:
    outcome = await admin.do("register", user="a", host=HOST, password=471147114711)
    assert isinstance(outcome, Rejected)
    assert "471147" not in repr(outcome)
    assert "***" in outcome.reason.message


async def test_a_wrong_login_or_url_is_denied_and_so_is_the_probe(ejabberd: Ejabberd) -> None:
    for credentials, path, wanted in (
        (Basic(ejabberd.admin, Secret("wrong")), "/api", "Denied LoginRefused"),
        (Basic("admin", Secret(PASSWORD)), "/api", "Denied LoginRefused"),
        (None, "/rest", "Denied WrongUrl"),
    ):
        async with side_of(ejabberd, credentials, url=Url("http", "127.0.0.1", ejabberd.port, path)) as side:
            assert in_short(await side.call("check_account", NOBODY)) == wanted, credentials
            probe = await side.probe()
            assert (probe.ok, probe.denied) == (False, True), credentials


async def test_a_killed_server_is_not_sent_to_and_found_again_after_its_start(own_ejabberd: Ejabberd) -> None:
    async with side_of(own_ejabberd) as side:
        new = account()
        await side.done("register", new)
        await trio.to_thread.run_sync(own_ejabberd.stop)
        with pytest.raises(NotSent):
            await side.call("check_password", new)
        await trio.to_thread.run_sync(own_ejabberd.start)
        assert await side.call("check_password", new) == Delivered("0", 0, 200)
        own_ejabberd.kill()
        with pytest.raises((NotSent, MaybeSent)):
            await side.call("check_password", new)
        with pytest.raises(NotSent):
            await side.probe()
