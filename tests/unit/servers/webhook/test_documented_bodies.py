"""What monitoring and CI programs are documented to post is one readable message, by a source with `Arguments`."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.console.load_config import load_with_notices
from restbroker.events.deliver import incoming_event
from restbroker.operate.handovers import CommandJobs
from restbroker.servers.event_contract import HookRequest
from restbroker.servers.webhook.hook import open_hook
from tests.support.documented_bodies import TO, Documented, documented

BODIES: Final = documented()
TOKEN: Final = {"Secret": "a-secret-of-many-letters", "Allow": ["send_message"], "Targets": ["chat"], "Signed": True}


def said(sent: Documented, folder: Path) -> Any:
    """The arguments of the command that the request becomes."""
    document = {
        "Targets": {"chat": {"Kind": "ejabberd", "URL": "http://127.0.0.1:5280/api", "Queues": ["alerts"]}},
        "Tokens": {"alerts": TOKEN},
        "Events": {"Listen": "127.0.0.1:8081", "Sources": {"src": sent.event_source("/in")}},
    }
    (folder / "env.json").write_text(json.dumps(document))
    config = load_with_notices(folder / "env.json").config
    assert config.events is not None
    (source,) = config.events.sources
    head = {name.lower().encode(): value.encode() for name, value in sent.all_headers.items()}
    event = open_hook(source).read(HookRequest("POST", "/in", b"/in", b"", head, sent.content), "src", 1.0).event
    incoming = incoming_event(source, event, "jid", CommandJobs(config))
    assert incoming is not None
    return json.loads(incoming.payload)["args"][:2]


@pytest.mark.parametrize("sent", BODIES, ids=lambda sent: sent.name)
def test_a_documented_body_is_one_readable_message(sent: Documented, tmp_path: Path) -> None:
    assert said(sent, tmp_path) == ["send_message", {**TO, "body": sent.expect}]


def test_each_file_says_where_it_is_documented() -> None:
    assert [sent.name for sent in BODIES if not sent.source.startswith("https://")] == []
