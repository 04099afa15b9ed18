"""What is written about the keys, made from their one definition: reference page and sample file.

`restbroker config init` writes the latter, `make reference` both: `docs/configuration.md` and `env.json.sample`. Always
holds: a test compares both files with this.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, assert_never

from restbroker.config.core import Config
from restbroker.config.events import Events, EventSource, Filter, Route
from restbroker.config.form import Form, Items, Names, OptionsOf, entry_of, look
from restbroker.config.key import NO_KINDS, Key, Members, keys_of, rivals
from restbroker.config.kind import Defaults, defaults_of
from restbroker.config.objects import AuthKeys, BearerKeys, TargetKeys
from restbroker.config.roster import QueryKey, Roster, RosterAuth
from restbroker.config.target import Basic, TlsFiles
from restbroker.config.tokens import Token
from restbroker.job.json_types import Json

SAMPLE_SECRET = "change-me"  # noqa: S105  a placeholder

_INTRODUCTION = """\
# Configuration

`restbroker` reads one JSON file: the one named with `--config`, else by `$RESTBROKER_CONFIG`, else `env.json` in the
working directory, else `/etc/restbroker/env.json`. `restbroker config init` makes one ([setup.md](setup.md)),
`restbroker config show` tells what counts and where it comes from, `restbroker config schema` prints a JSON schema for
editors.

- A flag wins over a variable, a variable over the file, the file over the default.
- Each key is also a variable: `RESTBROKER_` and its name in capitals, with or without underscores between words
  (`RESTBROKER_REST_QUEUE`); a part of an object after two underscores (`RESTBROKER_BACKOFF__CAP`,
  `RESTBROKER_TARGETS__MONGOOSE__CONCURRENCY`), where a single one stands for the `-` of a name. An empty variable
  counts as not set. With `RESTBROKER_TOKEN` and the like no file is needed.
- Keys match in any case. `null` and an empty text mean the default. Keys that begin with `_` or `//` are comments.
  Any other unknown key is an error.
- Durations are a number of seconds or a text with a unit: `10`, `"250ms"`, `"30s"`, `"5m"`, `"2h"`.
- A secret is better in a file of its own (`TokenFile` for `Token`, …), which holds one line, is read anew when it is
  needed, and is found relative to the configuration file; those for Redis and its sentinels are read at the start, and
  a change counts after a restart. A key and its file together are an error.
"""

_TABLE = """
| key | form | default | meaning |
|---|---|---|---|
"""

_TARGETS = """
Each entry is one server, with queues and workers of its own: while one is slow or dead, the others go on. Its name, up
to 32 of a-z, 0-9 and -, is what logs and commands call it. The flat keys (`RestURL`, `RestQueue`, `Concurrency` and
the like) make the target `ejabberd`; beside `Targets` they are not needed.

```json
{
  "Tokens": {
    "app": { "SecretFile": "/run/credentials/app_token", "Hosts": ["example.org"] },
    "admin": { "SecretFile": "/run/credentials/admin_token", "Allow": ["*", "dangerous:backup"] }
  },
  "Targets": {
    "main": {
      "Kind": "ejabberd",
      "URL": "https://xmpp.example.org:5443/api",
      "Domain": "example.org",
      "Auth": { "Basic": { "User": "admin@example.org", "PassFile": "/run/credentials/main_pass" } },
      "Queues": ["rest_high", "rest"],
      "RateLimit": "200/s",
      "Slots": { "register": 2 },
      "TLS": { "CAFile": "/etc/ssl/example.pem" }
    },
    "second": {
      "Kind": "ejabberd",
      "URL": "http://127.0.0.1:5281/api",
      "Domain": "example.net",
      "Auth": { "Bearer": { "TokenFile": "/run/credentials/second_token" } },
      "Queues": ["second"],
      "Concurrency": 6,
      "Options": { "ServerVersion": "24.12" }
    }
  }
}
```
"""

_AUTH = """
Exactly one of these. Without `Auth` no login is sent, for a server that allows this machine by its address.
"""

_TOKENS = """
Each entry is one token, by name. `Token` is the one of the name `default`: all commands but the dangerous ones, for any
host. To rotate a token, move its secret to `PreviousSecret` until every producer has the new one.
"""

_ROSTER = """
Prosody's `http_roster_url` is then the address of Listen with Path, `%s` in the place of `{user}`:
`http://127.0.0.1:8082/roster/%s` with what is the default here ([roster-service.md](roster-service.md)).

```json
{
  "Roster": {
    "Listen": "127.0.0.1:8082",
    "Domain": "example.org",
    "Target": "rosters",
    "Auth": { "Key": { "ValueFile": "/run/credentials/roster_key" } }
  }
}
```
"""

_EVENTS = """
[events.md](events.md) says what an event is and how a server is told to send them. A change here counts after a
restart.

```json
{
  "Events": {
    "Listen": "127.0.0.1:8081",
    "Sources": {
      "prosody": {
        "Kind": "prosody-rest",
        "Path": "/events/prosody",
        "SecretFile": "/run/credentials/events_secret",
        "Queue": "xmpp_events",
        "Class": "XmppEvent",
        "DropDuplicates": "60s",
        "Only": { "Types": ["message", "groupchat"], "Receiver": ["bot-*"] }
      }
    }
  }
}
```
"""

_ONLY = """
`Only` takes what is all that its members say, `Except` drops what is anything that its members say; both have these.
JIDs are compared as servers fold their case.
"""

_ROUTES = """
The first route that an event fits takes it; one that fits none is dropped. What the source itself says of `Only` and
`Except` counts before.
"""

_PARTS: tuple[tuple[str, str, Members], ...] = (
    ("Targets", _TARGETS, TargetKeys),
    ("Auth", _AUTH, AuthKeys),
    ("Auth.Basic", "", Basic),
    ("Auth.Bearer", "", BearerKeys),
    ("Auth.Auto", "", Basic),
    ("TLS", "", TlsFiles),
    ("Tokens", _TOKENS, Token),
    ("Roster", _ROSTER, Roster),
    ("Roster.Auth", "", RosterAuth),
    ("Roster.Auth.Basic", "", Basic),
    ("Roster.Auth.Key", "", QueryKey),
    ("Events", _EVENTS, Events),
    ("Events.Sources", "", EventSource),
    ("Events.Sources.Only", _ONLY, Filter),
    ("Events.Sources.Routes", _ROUTES, Route),
)
"""The heading, the introduction and the keys of each object inside."""

_TRAPS = """
## Traps

- `redis://secret@host` is a password to some Redis clients and a user name to others; it is refused. Write
  `redis://:PASSWORD@host` or `redis://USER:PASSWORD@host`. A password with `@ : / ? #` in it is percent-encoded.
  `redis://USER@host` is clear, and taken, where `RedisPass` or `RedisPassFile` gives the password.
- `RestURL` is what a command's name is appended to. ejabberd's API is where its `request_handlers` puts
  `mod_http_api`, usually `/api`.
- The `Host` header is `JabberDomain` unless `HostHeader` says otherwise. ejabberd from 24.12 on writes a warning per
  request for a host that it does not serve.
- The original read only the misspelt `Concurreny`; both spellings count now.
"""


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


def markdown(kinds: Mapping[str, Members], sources: Mapping[str, Members] = NO_KINDS) -> str:
    """The reference page; `kinds` and `sources` as for `config.load`."""
    options = [part for kind, members in kinds.items() for part in _with_parts(f"Options of {kind}", members)]
    # A kind of source without options has no table.
    options += [
        part
        for kind, members in sources.items()
        if keys_of(members)
        for part in _with_parts(f"Options of the source {kind}", members)
    ]
    inside = [f"\n## {name}\n{introduction}{_table(members)}" for name, introduction, members in (*_PARTS, *options)]
    return "".join([_INTRODUCTION, _table(Config), *inside, _TRAPS])


def _with_parts(name: str, members: Members) -> Iterator[tuple[str, str, Members]]:
    """A class of keys, and those of the objects inside of it."""
    yield name, _other_defaults(members), members
    for key in keys_of(members).values():
        bare, said = look(key.type)
        entry, inner = look(entry_of(bare)) if isinstance(said, Names) else (bare, said)
        if inner is None:
            yield from _with_parts(f"{name}: {key.name}", entry)


def _other_defaults(options: Members) -> str:
    """What else a target of the kind with these options gets where it says nothing."""
    own = defaults_of(options)
    if own == Defaults():
        return ""
    keeps = f", `IdleExpiry` {own.idle_expiry_s:g}s" if own.idle_expiry_s != Defaults().idle_expiry_s else ""
    host = "" if own.domain_is_host else " `Domain` is not the Host header."
    return f"\nWithout them, `Concurrency` is {own.concurrency}{keeps} and `RequestTimeout` {own.timeout_s:g}s.{host}\n"


def meaning(members: Members, key: Key) -> str:
    """What is said of a key, in sentences."""
    parts = [key.meaning]
    if key.ignored is not None:
        parts.append(f"Ignored: {key.ignored}.")
    if key.aliases:
        parts.append(f"Also read as {', '.join(key.aliases)}.")
    others = [other for pair in rivals(members) for other in pair if key.name in pair and other != key.name]
    if others:
        parts.append(f"Not together with {' or '.join(others)}.")
    return " ".join(parts)


def _table(members: Members) -> str:
    return _TABLE + "".join(f"{_row(members, key)}\n" for key in keys_of(members).values())


def _row(members: Members, key: Key) -> str:
    default = "" if key.default is None else f"`{json.dumps(key.default)}`"
    if key.mandatory is not None:
        default = "**mandatory**" + ("" if key.mandatory == "always" else f" ({key.mandatory})")
    return f"| `{key.name}` | {_form(key.type)} | {default} | {meaning(members, key)} |"


def _form(annotation: Any) -> str:  # noqa: ANN401  a type
    said = look(annotation)[1]
    match said:
        case Form():
            options = said.schema.get("enum")
            if isinstance(options, list):
                return ", ".join(f"`{option}`" for option in options)
            low, high = said.schema.get("minimum"), said.schema.get("maximum")
            return said.name if low is None else f"{said.name}, {low} to {high}"
        case Items() | Names():
            return said.name
        case OptionsOf() | None:
            return "object"
        case _:
            assert_never(said)


def write(kinds: Mapping[str, Members], sources: Mapping[str, Members], root: Path = Path()) -> None:
    """Writes both files anew under `root`."""
    (root / "docs" / "configuration.md").write_text(markdown(kinds, sources), encoding="utf-8")
    (root / "env.json.sample").write_text(sample_text(), encoding="utf-8")
