"""A test event is sent only where its source is served; the command and the page's button call the same function."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from restbroker.config.load import load
from restbroker.events import registry as sources
from restbroker.operate.check import events as check_events
from restbroker.operate.check.events import EventTest
from restbroker.servers import registry
from restbroker.servers.event_contract import Parties
from restbroker.store.client import Client

DOCUMENT = {
    "Token": "t",
    "Targets": {"prosody": {"Kind": "prosody-rest", "URL": "http://127.0.0.1:1/rest", "Queues": {"q": 1}}},
    "Events": {
        "Listen": "127.0.0.1:1",
        "Sources": {"bots": {"Kind": "prosody-rest", "Path": "/hook", "Queue": "e", "Class": "E"}},
    },
}


async def test_nothing_is_sent_or_noted_where_no_process_serves_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(question: Callable[[Client], object]) -> NoReturn:
        raise AssertionError(question)

    monkeypatch.setattr(check_events, "_send", ask)
    file = tmp_path / "env.json"
    file.write_text(json.dumps(DOCUMENT))
    config = load(file, {}, {}, kinds=registry.kinds(), sources=sources.kinds()).config
    assert config.events is not None
    (source,) = config.events.sources
    found = await check_events.test_source(ask, config, source, EventTest(Parties("", "check@bots.example.org")))
    assert found.code == "EventNotTested"
    assert "nothing was sent. No process accepts events at 127.0.0.1:1" in found.message
