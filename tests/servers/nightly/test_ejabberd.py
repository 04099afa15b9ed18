"""What the connector does beside a real ejabberd, beyond the few commands, errors and the restart of each day."""

import json
import re
from pathlib import Path

import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome
from restbroker.servers.ejabberd.options import Options
from restbroker.transport.errors import MaybeSent, NotSent
from tests.servers.ejabberd import HOST, NOBODY, account, side_of
from tests.servers.sides import Side, in_short
from tests.support.ejabberd import PASSWORD, Ejabberd


async def test_a_message_with_an_id_arrives_as_one_without_but_for_its_id(
    admin: Side, ejabberd: Ejabberd, tmp_path: Path
) -> None:
    new, file = account(), tmp_path / "offline"
    await admin.done("register", new)
    ends: dict[str, Json] = {"from": "admin@localhost", "to": f"{new['user']}@{HOST}"}
    texts = [("chat", "", "Grüße ☂ & <b> \r\n"), ("normal", "s", ""), ("normal", "", ""), ("no type", "s\t\n'", "x")]
    for number, (kind, subject, body) in enumerate(texts):
        message: dict[str, Json] = {**ends, "type": kind, "subject": subject, "body": body}
        await admin.done("send_message", message)
        await admin.done("send_message", {**message, "id": f"order-<&'>{number}"})
    status, said = ejabberd.call("dump_table", file=str(file), table="offline_msg")
    assert status == 200, said
    # What is stored for them in Erlang's words, without the time of each.
    stored = [re.sub(r"\s|\{\d+,\s*\d+,\s*\d+\}", "", one) for one in file.read_text("utf-8").split("{offline_msg,")]
    stored = [one.rstrip(".") for one in stored if f'{{<<"{new["user"]}">>,<<"{HOST}">>}}' in one]
    ids = [re.findall(r'<<"id">>,<<"(.*?)">>', one) for one in stored]
    assert ids[1::2] == [[f"order-<&'>{number}"] for number in range(len(texts))]
    plain = [re.sub(r'<<"id">>,<<".*?">>', "", one) for one in stored]
    assert plain[::2] == plain[1::2]


async def test_who_may_send_no_stanza_is_told_which_right_a_message_with_an_id_needs(ejabberd: Ejabberd) -> None:
    message: dict[str, Json] = {"type": "chat", "from": "a@localhost", "to": "b@localhost", "subject": "", "body": "b"}
    async with side_of(ejabberd, Basic(ejabberd.limited, Secret(PASSWORD))) as side:
        outcome = await side.call("send_message", {**message, "id": "order-7"})
    assert isinstance(outcome, Denied)
    assert outcome.reason.code == "CommandForbidden"
    assert "Allow send_stanza for restbroker's account" in (outcome.reason.hint or "")


async def test_commands_go_to_the_configured_version_of_the_interface_and_a_server_without_any_gets_none(
    ejabberd: Ejabberd,
) -> None:
    async with side_of(ejabberd, options=Options(api_version=1)) as side:
        outcome, probe = await side.call("check_account", NOBODY), await side.probe()
        plain = json.loads((await trio.to_thread.run_sync(ejabberd.call, "status"))[1])
        if re.search(r"ejabberd (1|2[0-3])\d*\.", plain):
            assert in_short(outcome) == "Rejected UnknownCommand"
            assert (probe.ok, probe.denied) == (False, True)
            assert "ApiVersion is 1" in probe.detail
        else:
            assert isinstance(outcome, Delivered)
            assert probe.ok


async def test_a_server_that_stops_defers_commands_and_never_rejects_them(own_ejabberd: Ejabberd) -> None:
    outcomes: list[Outcome] = []
    busy = trio.Event()

    async def ask_until_refused(side: Side) -> None:
        while True:
            try:
                outcomes.append(await side.call("connected_users_number", timeout_s=2.0))
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
    assert {in_short(outcome) for outcome in outcomes} == {"Delivered", "Deferred ServerStopping"}
    deferred = [outcome for outcome in outcomes if isinstance(outcome, Deferred)]
    assert {(outcome.counts, outcome.pause_target) for outcome in deferred} == {(False, True)}
