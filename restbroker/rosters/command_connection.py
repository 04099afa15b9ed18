"""What the verbs of `restbroker roster` share: the configured rosters, and how errors are shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from restbroker.config.core import Config
from restbroker.config.roster import KIND
from restbroker.console import output
from restbroker.console.load_config import load_quietly
from restbroker.console.who import who
from restbroker.errors import UsageError
from restbroker.operate.connect import open_store
from restbroker.operate.enqueue import why_waiting
from restbroker.rosters.operate import Writer
from restbroker.rosters.refresh_target import RefreshTarget
from restbroker.rosters.rules import BadRoster

_UNNAMED: Final = "Roster names no Target, so no target tells Prosody of {}"


@attrs.frozen
class RosterConnection:
    """A configuration in use. `domain` is that of the users; None: any."""

    settings: Config
    writer: Writer
    domain: str | None

    @property
    def unnamed_target(self) -> str | None:
        """A target that could tell Prosody of rosters, if `Roster` is configured without a `Target`; else None."""
        if self.settings.roster is None or self.settings.roster.target is not None:
            return None
        able = (target for target in self.settings.targets if target.kind == KIND and not target.is_local)
        return next((target.name for target in able), None)


@contextmanager
def open_rosters(path: Path | None, *, only_looks: bool = False) -> Iterator[RosterConnection]:
    """Connect to the rosters of a configuration for the block; `only_looks`: changes push no refresh jobs.

    `path`: the configuration file; None: the default one. Raise `ConfigError` if it cannot be used.
    """
    settings = load_quietly(path, "Roster")
    refreshing = None if only_looks else RefreshTarget.from_config(settings)
    domain = None if settings.roster is None else settings.roster.domain
    if domain is None:
        domain = next((target.default_host for target in settings.targets if target.kind == KIND), None)
    with open_store(settings) as client:
        yield RosterConnection(settings, Writer(client, who(), refreshing), domain)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Raise `UsageError` where the block raises `BadRoster`."""
    try:
        yield
    except BadRoster as error:
        raise UsageError(f"{error.entry} {error.why}.", error.hint or None) from None


def note_missing_refresh_target(connection: RosterConnection) -> None:
    """Print a note if no target tells Prosody of the change; call it once for a command that changed something."""
    if connection.writer.refresh_target is not None:
        return
    if unnamed := connection.unnamed_target:
        output.say(f"note: {_UNNAMED.format('it')}; clients see it at their next login. {_name_hint(unnamed)}")
        return
    output.say("note: no target tells Prosody of it (Kind prosody-roster): clients see it at their next login.")


@attrs.define
class WaitNotice:
    """Prints why refreshes wait, at each call where the reason is another one than before."""

    writer: Writer
    _said: str | None = None

    def __call__(self) -> None:
        """Say it."""
        to = self.writer.refresh_target
        why = None if to is None else why_waiting(self.writer.client, to.queue, to.target.name)
        if why is not None and why != self._said:
            output.say(f"note: {why}")
            self._said = why


def require_refresh_target(connection: RosterConnection) -> None:
    """Raise `UsageError` if a target could tell Prosody of rosters, and only its name is missing in `Roster`."""
    if connection.writer.refresh_target is None and (unnamed := connection.unnamed_target):
        raise UsageError(f"{_UNNAMED.format('rosters')}.", _name_hint(unnamed))


def _name_hint(target: str) -> str:
    return f'Add "Target": "{target}" to it.'


def count_text(count: int, what: str) -> str:
    """Return the number with its noun: `1 user`, `5 users`."""
    return f"1 {what}" if count == 1 else f"{count} {what}s"
