"""What a real ejabberd sent a component, byte for byte, becomes the events that were expected of it, once each."""

import gzip
import json
from collections import Counter
from typing import Final

import pytest

from restbroker.config.events import EventSource
from restbroker.events.deliver import incoming_event
from restbroker.servers.component.derive import Deriver
from restbroker.servers.component.options import TAKES
from restbroker.servers.component.stanzas import Broken, Direct, Item, Skipped, StanzaCopy, StreamParser
from tests.events.component.mix import HIDDEN, HOST, NAME, TEAM, Expected, differences, event_of
from tests.support.player import FOLDER

SOURCE: Final = EventSource("ejabberd", "ejabberd-component", None, "q", "Event", window_s=60.0)
DERIVER: Final = Deriver("ejabberd", NAME, frozenset({HOST}), frozenset({TEAM}), frozenset(TAKES))
VERSIONS: Final = [file.parent.name for file in sorted(FOLDER.glob("ejabberd/*/component.xml.gz"))]


def read(stream: bytes, piece: int) -> list[Item]:
    parser = StreamParser(NAME, DERIVER.hosts, 1024 * 1024)
    return [item for at in range(0, len(stream), piece) for item in parser.feed(stream[at : at + piece])]


def jobs(items: list[Item]) -> list[dict[str, object]]:
    """The events of their jobs, as Redis takes them: one of each mark."""
    marks: set[str | None] = set()
    found: list[dict[str, object]] = []
    for item in items:
        event = None
        if isinstance(item, StanzaCopy):
            event = DERIVER.event_of_copy(item.host, item.stanza, 1.5, 1.0)
        elif isinstance(item, Direct):
            event = DERIVER.event_of_room(item, 1.5)
        made = None if event is None else incoming_event(SOURCE, event, f"jid-{len(found)}")
        if made is not None and made.mark not in marks:
            marks.add(made.mark)
            found.append(json.loads(made.payload)["args"][0])
    return found


@pytest.mark.promise
@pytest.mark.parametrize("version", VERSIONS)
def test_each_expected_event_comes_once_and_none_besides(version: str) -> None:
    folder = FOLDER / "ejabberd" / version
    stream = gzip.decompress((folder / "component.xml.gz").read_bytes())
    expected: Counter[Expected] = Counter(
        tuple(json.loads(line)) for line in (folder / "component.jsonl").read_text().splitlines()
    )
    items = read(stream, 65_536)
    assert not [item for item in items if isinstance(item, Skipped | Broken)]
    found = jobs(items)
    missing, besides = differences(map(event_of, found), expected)
    assert (missing, besides) == (Counter(), Counter())
    # What stands in vCards and answers of archives is in the stream, and in no event.
    assert HIDDEN.encode() in stream
    assert HIDDEN not in json.dumps(found)
