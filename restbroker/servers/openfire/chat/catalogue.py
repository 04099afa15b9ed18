"""The commands of Openfire's Chat API, as the last source of ofchat has them.

Used by the connector, the check, and the command line (through the registry). Always holds: loads no Trio.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from restbroker.config.target import Target
from restbroker.job.command import DANGEROUS, Catalogue, CommandSpec
from restbroker.job.outcome import Reason
from restbroker.servers.api.table import dangerous_commands_of, specs_of
from restbroker.servers.openfire.chat.entry import Entry
from restbroker.servers.openfire.chat.options import Options, Paths
from restbroker.servers.openfire.chat.table import table

_VERSION: Final = "ofchat 0.9"
# It may wait for an agent still, and no one would take a second one for the same.
_ASK_UNANSWERED: Final = Reason(
    "AskUnanswered", "", "ask_status shows its state, ask_revoke withdraws it; a retry asks again."
)


def for_version(_version: str | None) -> Catalogue:
    """Return all commands; the version does not count."""
    return _catalogue_of("source")


def for_target(target: Target, _found: str | None, _endpoint: str = "") -> Catalogue:
    """Return all commands, with the arguments that the target's `Paths` gives each; the version does not count."""
    return _catalogue_of(target.options_as(Options).paths)


def requests() -> Mapping[str, str]:
    """Return the method and path of each command, below `/rest/api/restapi/v1`, by name."""
    return {name: f"{entry.method} {entry.path}" for name, entry in table("source").items()}


@lru_cache(maxsize=2)
def _catalogue_of(paths: Paths) -> Catalogue:
    entries = table(paths)
    dangerous = dangerous_commands_of({name: entry.danger for name, entry in entries.items()})
    return Catalogue(_VERSION, {name: _spec(entry) for name, entry in entries.items()}, dangerous, is_whole=True)


def _spec(entry: Entry) -> CommandSpec:
    tags = [entry.family, *(["documented"] if entry.documented else [])]
    return CommandSpec(
        name=entry.name,
        arguments=specs_of(entry.takes),
        repeat=entry.repeat,
        tags=frozenset({*tags, *([DANGEROUS + entry.danger] if entry.danger else [])}),
        result=entry.answer,
        secret_result=entry.secret_answer,
        beyond=entry.beyond,
        timeout_s=entry.timeout_s,
        unanswered=_ASK_UNANSWERED if entry.effect == "asks" else None,
    )
