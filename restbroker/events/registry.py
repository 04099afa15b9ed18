"""What each kind of source in `restbroker.kinds` brings. All other code reaches a source's code through this.

Called by the command line, the check, `webhook` and `app`. Always holds: a folder's module is imported only when it is
needed, and neither this file nor `options` loads Trio. A kind is one file that has the functions and classes below, and
loads none either, or a folder with these modules:

- `options`: the attrs class `Options`, what a source of this kind takes beyond the common keys, each field a key; it
  may judge the whole source, and its `DEFAULTS` say what holds for all of them (`config.kind`);
- `hook`, if servers post: the function `open_hook`, as below;
- `reader` and `check`, if it fetches by itself: the functions `open_reader` and `check`, as below; `check` also has
  `suggest`, as below, if its server's own configuration needs lines for it.

The module `emit` in a server's own folder makes the server emit an event, for all its kinds of sources: the function
`emissions`, as below.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from restbroker.config.key import Kinds, Members
from restbroker.config.kind import source_defaults_of
from restbroker.kinds import SOURCES, TARGETS

if TYPE_CHECKING:  # the command line gets the kinds alone
    from restbroker.config.events import EventSource
    from restbroker.config.target import Target
    from restbroker.servers.event_contract import Emission, EventReader, Hook, Parties, ReaderPorts
    from restbroker.servers.findings import Finding
    from restbroker.store.sources import SourceState


def kinds() -> Mapping[str, Members]:
    """Return kind → its class of options, whose fields are made with `config.key.key`; for `config.load`."""
    return Kinds(SOURCES, _options)


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
    if not source_defaults_of(_options(source.kind)).is_reader:
        return None
    lines: Callable[..., str] | None = vars(_part(source.kind, "check")).get("suggest")
    return lines(source, sources) if lines is not None else None


def emissions(source: "EventSource", target: "Target", parties: "Parties", text: str) -> "Sequence[Emission]":
    """Return the commands that make the target's server report messages and the like with this text to this source.

    Raise `ConfigError` if `parties` lacks a sender or receiver that the server needs.
    """
    # The first folder below `restbroker.servers` is the server's: its kinds share `emit`.
    server = TARGETS[SOURCES[source.kind].emitter].folder.split(".")[:3]
    module = import_module(".".join([*server, "emit"]))
    found: Sequence[Emission] = module.emissions(source, target, parties, text)
    return found


def _options(kind: str) -> Members:
    members: Members = getattr(_part(kind, "options"), SOURCES[kind].options)
    return members


def _part(kind: str, name: Literal["options", "hook", "reader", "check"]) -> ModuleType:
    own = import_module(SOURCES[kind].folder)
    return import_module(f"{own.__name__}.{name}") if "__path__" in vars(own) else own
