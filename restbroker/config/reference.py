"""What is written about the keys, made from their one definition: JSON schema, reference page, sample file.

`restbroker config` prints the first and writes the last; `python -m restbroker.config.reference` makes
`docs/configuration.md` and `env.json.sample` anew. Always holds: a test compares both files with this.
"""

import json
from pathlib import Path

from restbroker.config.core import EXCLUSIVE, Key, all_keys
from restbroker.rules.json_types import Json

SAMPLE_SECRET = "change-me"  # noqa: S105  a placeholder

_INTRODUCTION = """\
# Configuration

`restbroker` reads one JSON file: the one named with `--config`, else by `$RESTBROKER_CONFIG`, else `env.json` in the
working directory, else `/etc/restbroker/env.json`. `restbroker config init` makes one, `restbroker config show` tells
what counts and where it comes from, `restbroker config schema` prints a JSON schema for editors.

- A flag wins over a variable, a variable over the file, the file over the default.
- Each key is also a variable: `RESTBROKER_` and its name in capitals, with or without underscores between words
  (`RESTBROKER_REST_QUEUE`); a part of an object after two underscores (`RESTBROKER_BACKOFF__CAP`). An empty variable
  counts as not set. With `RESTBROKER_TOKEN` and the like no file is needed.
- Keys match in any case. `null` and an empty text mean the default. Keys that begin with `_` or `//` are comments.
  Any other unknown key is an error.
- Durations are a number of seconds or a text with a unit: `10`, `"250ms"`, `"30s"`, `"5m"`, `"2h"`.
- A secret is better in a file of its own (`TokenFile` for `Token`, …), which holds one line, is read anew when it is
  needed, and is found relative to the configuration file. A key and its file together are an error.

| key | form | default | meaning |
|---|---|---|---|
"""

_TRAPS = """
## Traps

- `redis://secret@host` is a password to some Redis clients and a user name to others; it is refused. Write
  `redis://:PASSWORD@host` or `redis://USER:PASSWORD@host`. A password with `@ : / ? #` in it is percent-encoded.
- `RestURL` is what a command's name is appended to. ejabberd's API is where its `request_handlers` puts
  `mod_http_api`, usually `/api`.
- The `Host` header is `JabberDomain` unless `HostHeader` says otherwise. ejabberd from 24.12 on writes a warning per
  request for a host that it does not serve.
- The original read only the misspelt `Concurreny`; both spellings count now.
"""


def schema() -> dict[str, Json]:
    """The JSON schema of the file, for editors. Legacy spellings are left out."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "restbroker's env.json",
        "type": "object",
        "properties": {key.name: _described(key) for key in all_keys().values()},
        "patternProperties": {"^(_|//)": {}},
        "additionalProperties": False,
        "required": ["RestQueue"],
    }


def sample(token: str = SAMPLE_SECRET) -> dict[str, Json]:
    """A complete file to start from."""
    return {
        "//": "Every key is described in docs/configuration.md. Keys that begin with // or _ are comments.",
        "RedisURL": "redis://127.0.0.1:6379/0",
        "RestURL": "http://127.0.0.1:5281/api",
        "RestUser": "admin@example.org",
        "RestPass": SAMPLE_SECRET,
        "JabberDomain": "example.org",
        "RestQueue": "rest",
        "ResponseQueue": "rest_replies",
        "Token": token,
        "Concurrency": 20,
        "RequestTimeout": "10s",
        "ShutdownTimeout": "25s",
        "LogLevel": "info",
    }


def sample_text(token: str = SAMPLE_SECRET) -> str:
    """The sample as it is written to a file."""
    return json.dumps(sample(token), indent=2) + "\n"


def markdown() -> str:
    """The reference page."""
    return _INTRODUCTION + "".join(f"{_row(key)}\n" for key in all_keys().values()) + _TRAPS


def _described(key: Key) -> dict[str, Json]:
    more: dict[str, Json] = {} if key.default is None else {"default": key.default}
    if key.ignored is not None:
        more["deprecated"] = True
    # null means the default for every key.
    form: Json = {"anyOf": [dict(key.kind.schema), {"type": "null"}]} if key.kind.schema else {}
    return {"description": _meaning(key), **more, **(form if isinstance(form, dict) else {})}


def _row(key: Key) -> str:
    default = "**mandatory**" if key.mandatory else "" if key.default is None else f"`{json.dumps(key.default)}`"
    form = _form(key)
    return f"| `{key.name}` | {form} | {default} | {_meaning(key)} |"


def _form(key: Key) -> str:
    options = key.kind.schema.get("enum")
    if isinstance(options, list):
        return ", ".join(f"`{option}`" for option in options)
    low, high = key.kind.schema.get("minimum"), key.kind.schema.get("maximum")
    return key.kind.name if low is None else f"{key.kind.name}, {low} to {high}"


def _meaning(key: Key) -> str:
    parts = [key.meaning]
    if key.ignored is not None:
        parts.append(f"Ignored: {key.ignored}.")
    if key.aliases:
        parts.append(f"Also read as {', '.join(key.aliases)}.")
    others = [other for pair in EXCLUSIVE for other in pair if key.name in pair and other != key.name]
    if others:
        parts.append(f"Not together with {others[0]}.")
    return " ".join(parts)


def main(root: Path = Path()) -> None:
    """Writes both files anew under `root`."""
    (root / "docs" / "configuration.md").write_text(markdown(), encoding="utf-8")
    (root / "env.json.sample").write_text(sample_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
