"""The kinds of event sources: one folder and one line here for each. All other code reaches a kind through this.

Called by the command line, the check, `webhook` and `app`. Always holds: a folder's module is imported only when it is
needed, and neither this file nor `options` loads Trio. A folder has

- `options`: the attrs class `Options`, what a source of this kind takes beyond the common keys, each field a key; it
  may judge the whole source, and its `DEFAULTS` say what holds for all of them (`config.kind`);
- `hook`, if servers post: the function `open_hook`, as below;
- `reader` and `check`, if it fetches by itself: the functions `open_reader` and `check`, as below; `check` also has
  `suggest`, as below, if its server's own configuration needs lines for it.

The module `emit` in a server's own folder makes the server emit an event, for all its kinds of sources: `TARGET_KIND`,
the kind of target that takes the commands, and the function `emissions`, as below.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Final, Literal

from restbroker.config.key import Kinds, Members
from restbroker.config.kind import source_defaults_of

if TYPE_CHECKING:  # the command line gets the kinds alone
    from restbroker.config.events import EventSource
    from restbroker.config.target import Target
    from restbroker.servers.event_contract import Emission, EventReader, Hook, Parties, ReaderPorts
    from restbroker.servers.findings import Finding
    from restbroker.store.sources import SourceState

_FOLDERS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "ejabberd-component": ("restbroker.servers.component", "restbroker.servers.ejabberd"),
        "mongooseim-amqp": ("restbroker.events.amqp", "restbroker.servers.mongooseim"),
        "mongooseim-sns": ("restbroker.servers.mongooseim.sns", "restbroker.servers.mongooseim"),
        "mongooseim-webhook": ("restbroker.servers.mongooseim.webhook", "restbroker.servers.mongooseim"),
        "openfire-sse": ("restbroker.servers.openfire.stream", "restbroker.servers.openfire"),
        "prosody-component": ("restbroker.servers.component", ""),
        "prosody-rest": ("restbroker.servers.prosody.events", "restbroker.servers.prosody"),
        "webhook": ("restbroker.servers.webhook", ""),
    }
)
"""The kind's folder, and its server's with `emit`, if there is one."""
_CLASSES: Final[Mapping[str, str]] = MappingProxyType({"prosody-component": "ProsodyOptions"})
"""Which class of a folder's `options` a kind has, if another than `Options`."""
_SUGGESTS: Final = frozenset({"ejabberd-component", "prosody-component"})
KINDS: Final = tuple(_FOLDERS)
"""The kinds of sources."""


def kinds() -> Mapping[str, Members]:
    """Return kind → its class of options, whose fields are made with `config.key.key`; for `config.load`."""
    return Kinds(_FOLDERS, _options)


def open_hook(source: "EventSource") -> "Hook":
    """Return the hook that reads and answers the requests that are posted to this source."""
    hook: Hook = _part(source.kind, "hook").open_hook(source)
    return hook


def open_reader(source: "EventSource", ways: "ReaderPorts") -> "EventReader":
    """Return the reader of this source, without connecting yet; raise `ConfigError` if it cannot be used."""
    reader: EventReader = _part(source.kind, "reader").open_reader(source, ways)
    return reader


def check(source: "EventSource", states: "Sequence[SourceState]" = ()) -> Iterator["Finding"]:
    """Check the server that this source fetches from, and change nothing there.

    `states`: the states that the processes that read the source reported.
    """
    findings: Iterator[Finding] = _part(source.kind, "check").check(source, states)
    return findings


def check_reads(source: "EventSource") -> bool:
    """Tell whether a check reads this source for a moment where no process does."""
    return source_defaults_of(_options(source.kind)).check_reads


def is_same(source: "EventSource", state: "SourceState") -> bool:
    """Tell whether a source of another name, whose state this is, is the same one; for those of `check_reads`."""
    found: bool = _part(source.kind, "check").is_same(source, state)
    return found


def suggest(source: "EventSource", sources: "Sequence[EventSource]") -> str | None:
    """Return lines for the server's own configuration file, for this one and those of `sources` that share them.

    None: sources of this kind need none.
    """
    return _part(source.kind, "check").suggest(source, sources) if source.kind in _SUGGESTS else None


def emits(kind: str) -> str | None:
    """Return the kind of target that makes a server emit an event to this kind of source; None: none does."""
    server = _FOLDERS[kind][1]
    found: str | None = import_module(f"{server}.emit").TARGET_KIND if server else None
    return found


def emissions(source: "EventSource", target: "Target", parties: "Parties", text: str) -> "Sequence[Emission]":
    """Return the commands that make the target's server report messages and the like with this text to this source.

    Raise `ConfigError` if `parties` lacks a sender or receiver that the server needs.
    """
    module = import_module(f"{_FOLDERS[source.kind][1]}.emit")
    found: Sequence[Emission] = module.emissions(source, target, parties, text)
    return found


def _options(kind: str) -> Members:
    members: Members = getattr(_part(kind, "options"), _CLASSES.get(kind, "Options"))
    return members


def _part(kind: str, name: Literal["options", "hook", "reader", "check"]) -> ModuleType:
    return import_module(f"{_FOLDERS[kind][0]}.{name}")
