"""Each command of the kind openfire-rest is the request that the plugin's sources and the measurements say it is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from restbroker.servers import registry
from tests.servers.openfire_rest import REST, no_room, opened
from tests.support.player import Exchange, Player, recorded

ROWS: Final = [
    [*line.split("\t"), ""][:4]
    for line in Path(__file__).with_name("openfire_rest_commands.tsv").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
"""Command, arguments, request and body."""


def exchanges() -> Iterator[Exchange]:
    """Each request, with an answer that means nothing; before it what is asked, of a new room and a changed group."""
    for _, _, line, body in ROWS:
        method, path = line.split(" ", 1)
        headers = {"Content-Type": "application/xml"} if body else {}
        yield Exchange(method, REST + path, 200, headers=headers, body=body or None, assumed="it is not looked at")
    yield from (no_room("1.3.10", name) for name in ("new", "lobby"))
    whole, *_ = recorded("openfire-rest/1.12/group")
    group = {**json.loads(whole.answer), "name": "My Group", "admins": [], "members": ["bob@example.org"]}
    yield attrs.evolve(whole, path=f"{REST}/groups/My%20Group", answer=json.dumps(group))


async def test_each_command_is_the_request_that_the_plugin_knows(tmp_path: Path) -> None:
    assert [command for command, *_ in ROWS] == list(registry.catalogue("openfire-rest").commands)
    sequence = list(exchanges())
    with Player(sequence) as server:
        async with opened(tmp_path, server.url) as side:
            for wanted, (command, given, *_) in zip(sequence, ROWS, strict=False):
                await side.call(command, json.loads(given))
                assert server.played[-1] is wanted, command
        assert {one.accept for one in server.requests} <= {"application/json", "application/xml", "application/yaml"}
