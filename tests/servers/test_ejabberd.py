"""The connector against a real ejabberd: a few commands, and a restart. All others: its recorded answers."""

import pytest
import trio

from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Rejected
from restbroker.transport.errors import MaybeSent, NotSent
from tests.servers.ejabberd import HOST, NOBODY, account, new_user, side_of
from tests.servers.sides import Side, in_short
from tests.support.ejabberd import Ejabberd


async def test_each_answer_is_taken_for_what_it_is(admin: Side) -> None:
    new = account()
    room: dict[str, Json] = {"name": new_user(), "service": "conference.localhost", "host": "localhost"}
    there = {name: value for name, value in new.items() if name != "password"}
    rows: list[tuple[str, dict[str, Json], dict[str, object], str]] = [
        ("register", new, {}, "Delivered"),
        ("check_password", new, {}, "Delivered"),
        ("register", new, {}, "Rejected AlreadyExists"),
        ("register", new, {"maybe_run": True}, "Delivered already done"),
        ("check_account", NOBODY, {}, "Delivered no"),
        ("create_room", room, {}, "Delivered"),
        ("register", there, {}, "Rejected BadArgument"),
        ("no_such_command_anywhere", {}, {}, "Rejected UnknownCommand"),
        # The catalogue has it, but mod_pubsub is not among this server's modules: nobody waits for that.
        ("delete_old_pubsub_items", {"number": 1}, {}, "Rejected UnknownCommand"),
    ]
    outcomes = [await admin.call(command, given, **how) for command, given, how, _ in rows]
    assert [in_short(outcome) for outcome in outcomes] == [wanted for *_, wanted in rows]


async def test_a_secret_that_the_server_echoes_is_masked(admin: Side) -> None:
    outcome = await admin.do("register", user="a", host=HOST, password=471147114711)
    assert isinstance(outcome, Rejected)
    assert "471147" not in repr(outcome)
    assert "***" in outcome.reason.message


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
