"""What monitoring and CI programs post, as their documentation has it: `tests/golden/data/documented/*.json`.

A file has the address of the documentation, the request (`content_type`, `headers`, and `body` as JSON or `form`), and
what becomes of it: `map` and `template` of the source, or neither for Slack's shape, and the message as a reader sees
it (`expect`). Names and values are invented, the shape is the program's.
"""

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import attrs
import httpx

from dev.tools.pages import ROOT
from restbroker.store.client import StoreSettings, open_client
from tests.support import unfinished_jobs
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.wait import until

FOLDER: Final = ROOT / "tests" / "golden" / "data" / "documented"
TO: Final = {"type": "chat", "from": "alerts@example.org", "to": "ops@example.org", "subject": ""}


@attrs.frozen
class Way:
    """By which target, command and arguments a message is said."""

    target: str
    command: str
    arguments: Mapping[str, str]


CHAT: Final = Way("chat", "send_message", TO)


@attrs.frozen
class Documented:
    """One documented request. `options`: what its source needs besides `Map` and `Shape`."""

    name: str
    source: str
    content_type: str | None
    headers: Mapping[str, str]
    expect: str
    body: Any = None
    form: Mapping[str, Any] | None = None
    map: Mapping[str, Any] | None = None
    template: str = "{body}"
    options: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def is_slack(self) -> bool:
        return self.map is None

    @property
    def content(self) -> bytes:
        """The body of the request."""
        if self.form is None:
            return json.dumps(self.body, ensure_ascii=False).encode()
        fields = {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in self.form.items()
        }
        return urlencode(fields).encode()

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers of the request, with its type if it has one."""
        return {**self.headers, **({} if self.content_type is None else {"Content-Type": self.content_type})}

    def event_source(self, path: str, way: Way = CHAT) -> dict[str, Any]:
        """Return the source of `env.json` that says it this way."""
        shape = {"Shape": "slack"} if self.map is None else {"Map": dict(self.map)}
        return {
            "Kind": "webhook",
            "Path": path,
            "Target": way.target,
            "Command": way.command,
            "Arguments": {**way.arguments, "body": self.template},
            "Options": {**shape, **self.options},
        }


def documented() -> list[Documented]:
    """Return all of them, by name."""
    return [_read(file) for file in sorted(FOLDER.glob("*.json"))]


def said(place: Path, redis_url: str, targets: Mapping[str, Any], ways: Mapping[str, Way]) -> None:
    """Post all of them, each twice in succession, to a restbroker that says each in these ways; return when all is."""
    port = free_port()
    each = {f"{name}-{number}": (way, sent) for name, way in ways.items() for number, sent in enumerate(documented())}
    allowed = {"Allow": sorted({way.command for way in ways.values()}), "Targets": [*targets], "Signed": True}
    document = {
        "RedisURL": redis_url,
        "Tokens": {"alerts": {"Secret": "a-secret-of-many-letters", **allowed}},
        "Targets": {name: {"OrderBy": ["from"], **entry, "Queues": [name]} for name, entry in targets.items()},
        "Events": {
            "Listen": f"127.0.0.1:{port}",
            "Sources": {name: sent.event_source(f"/{name}", way) for name, (way, sent) in each.items()},
        },
    }
    (place / "env.json").write_text(json.dumps(document))
    with (
        started(["run"], directory=place) as broker,
        closing(open_client(StoreSettings(redis_url))) as store,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client,
    ):
        broker.wait_for("listening what=events")
        for name, (way, sent) in each.items():
            answers = [client.post(f"/{name}", content=sent.content, headers=sent.all_headers) for _ in range(2)]
            expected = (200, "ok") if sent.is_slack else (202, "")
            assert [(answer.status_code, answer.text) for answer in answers] == [expected] * 2, (way, sent.name)
            assert ["Restbroker-Job" in answer.headers for answer in answers] == [True, False], (way, sent.name)
        until(lambda: not unfinished_jobs.count(store), "all is said")
        assert store.command("ZCARD", "dead") == 0
        assert broker.stop() == 0


def _read(file: Path) -> Documented:
    return Documented(name=file.stem, **json.loads(file.read_text("utf-8")))
