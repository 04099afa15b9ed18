"""Each command of the kind openfire-rest is the request that the plugin's sources and the measurements say it is.

Beside the stand-in, which knows the plugin's paths, and nothing of our catalogue.
"""

import json
from pathlib import Path
from typing import Any, Final

from restbroker.job.outcome import Denied, Outcome
from restbroker.servers import registry
from tests.servers.openfire_recorded import is_recorded, recorded
from tests.servers.openfire_rest import opened
from tests.servers.sides import Side
from tests.support.lines import Asked
from tests.support.openfire.forms import Dialect
from tests.support.openfire.server import REST, Openfire
from tests.support.openfire.world import Group

VCARD = '<vCard xmlns="vcard-temp"><FN>Alice</FN></vCard>'
ROWS: Final = [
    (*row[:1], json.loads(row[1]), row[2], *(row[3:] or [""]))
    for line in Path(__file__).with_name("openfire_rest_commands.tsv").read_text("utf-8").splitlines()
    if not line.startswith("#")
    for row in [line.split("\t")]
]
"""Command, arguments, request and body."""


async def asked_of(server: Openfire, side: Side, command: str, given: dict[str, Any]) -> tuple[Outcome, list[Asked]]:
    """What becomes of the command in a small world, and what it asked."""
    server.world.accounts.clear()
    server.world.register("admin", "alice", "bob")
    server.world.accounts["alice"].vcard = VCARD
    server.world.groups["My Group"] = Group("My Group", members=["bob"], shared=True)
    server.asked.clear()
    return await side.call(command, given, timeout_s=5.0), server.asked


async def test_each_command_is_the_request_that_the_plugin_knows(tmp_path: Path) -> None:
    assert [command for command, *_ in ROWS] == list(registry.catalogue("openfire-rest").commands)
    wrong = {}
    with Openfire(dialect="1.12") as newest:
        async with opened(tmp_path, newest) as side:
            for command, given, line, body in ROWS:
                outcome, (*read, asked) = await asked_of(newest, side, command, given)
                sent = (f"{asked.method} {asked.target.removeprefix(REST)}", asked.body.decode(), asked.content_type)
                reads = ["GET"] if command == "update_group" else []
                if (
                    (sent, [one.method for one in read]) != ((line, body, "application/xml" if body else ""), reads)
                    or asked.accept not in ("application/json", "application/xml", "application/yaml")
                    # The server knows the path, whatever it says about what is named there.
                    or isinstance(outcome, Denied)
                ):
                    wrong[command] = (sent, asked.accept, outcome)
    assert not wrong


async def test_the_stand_in_says_what_each_generation_was_recorded_to_say(tmp_path: Path) -> None:
    wrong: dict[tuple[str, str], object] = {}
    generations: tuple[tuple[Dialect, str], ...] = (("1.2", "restapi-1.2.5"), ("1.5", "restapi-1.3.10"))
    for dialect, name in generations:
        answers = recorded(name)
        with Openfire(dialect=dialect) as server:
            async with opened(tmp_path, server) as side:
                for command, given, _, _ in ROWS:
                    await asked_of(server, side, command, given)
                    if not is_recorded(answers, command, side.link.said[-1]):
                        wrong[name, command] = side.link.said[-1]
    assert not wrong
