"""A source of kind `mongooseim-webhook` knows what is posted again, and holds nobody up for long."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restbroker.config.events import EventSource
from restbroker.config.load import load
from restbroker.errors import ConfigError
from restbroker.events import registry as sources
from restbroker.servers import registry
from restbroker.servers.event_contract import HookRequest
from restbroker.servers.mongooseim.webhook.hook import open_hook

Configured = Callable[..., EventSource]
WRITTEN = {"Kind": "mongooseim-webhook", "Path": "/mim", "Queue": "events", "Class": "Event"}


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """The source with these keys besides."""

    def run(**more: Any) -> EventSource:
        file = tmp_path / "env.json"
        file.write_text(json.dumps({"RestQueue": "r", "Token": "t", "Events": {"Sources": {"mim": WRITTEN | more}}}))
        events = load(file, {}, {}, registry.kinds(), sources.kinds()).config.events
        assert events is not None
        return events.sources[0]

    return run


def test_the_longer_of_both_windows_counts(configured: Configured) -> None:
    assert configured().window_s == 1.0
    assert configured(DropDuplicates="60s").window_s == 60.0
    assert configured(DropDuplicates="500ms").window_s == 1.0
    assert configured(DropDuplicates="60s", Options={"Resend": "0s"}).window_s == 60.0


def test_its_events_have_no_ids_and_redis_gets_half_a_second(configured: Configured) -> None:
    source = configured()
    assert (source.has_ids, source.patience_s) == (False, 0.5)
    assert configured(Options={"Patience": "100ms"}).patience_s == 0.1


def test_iqs_never_come(configured: Configured) -> None:
    with pytest.raises(ConfigError, match="IQ: has no effect"):
        configured(IQ="accept")


def test_what_redis_did_not_take_is_answered_with_503_and_what_it_took_with_success(configured: Configured) -> None:
    hook = open_hook(configured())
    body = b"author=alice&server=localhost&receiver=bob&message=hi"
    told = hook.read(HookRequest("POST", "/mim", b"/mim", b"", {}, body), "mim", 1.0)
    later = hook.answer_not_now(told, 7)
    assert (later.status, later.headers["Retry-After"]) == (503, "7")
    assert 200 <= hook.answer_accepted(told).status < 300
