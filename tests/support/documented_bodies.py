"""What monitoring and CI programs post, as their documentation has it: `tests/golden/data/documented/*.json`.

A file has the address of the documentation, the request (`content_type`, `headers`, and `body` as JSON or `form`), and
what becomes of it: `map` and `template` of the source, or neither for Slack's shape, and the message as a reader sees
it (`expect`). Names and values are invented, the shape is the program's.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import attrs

from dev.tools.pages import ROOT

FOLDER: Final = ROOT / "tests" / "golden" / "data" / "documented"
TO: Final = {"type": "chat", "from": "alerts@example.org", "to": "ops@example.org", "subject": ""}


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

    def event_source(self, path: str, arguments: Mapping[str, str] = TO) -> dict[str, Any]:
        """Return the source of `env.json` that says it in a chat, by a target called chat."""
        shape = {"Shape": "slack"} if self.map is None else {"Map": dict(self.map)}
        return {
            "Kind": "webhook",
            "Path": path,
            "Target": "chat",
            "Command": "send_message",
            "Arguments": {**arguments, "body": self.template},
            "Options": {**shape, **self.options},
        }


def documented() -> list[Documented]:
    """Return all of them, by name."""
    return [_read(file) for file in sorted(FOLDER.glob("*.json"))]


def _read(file: Path) -> Documented:
    return Documented(name=file.stem, **json.loads(file.read_text("utf-8")))
