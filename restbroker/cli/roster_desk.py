"""What the verbs of `restbroker roster` share: whose rosters these are, and how errors are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from restbroker.admin.connect import open_store
from restbroker.admin.refreshing import Refreshing
from restbroker.admin.rosters import Writer
from restbroker.cli import output
from restbroker.cli.configured import quietly
from restbroker.cli.who import who
from restbroker.config.core import Config
from restbroker.config.roster import KIND
from restbroker.errors import UsageError
from restbroker.rules.roster import BadRoster


@attrs.frozen
class Desk:
    """A configuration in use. `domain` is that of the users; None: of any."""

    settings: Config
    writer: Writer
    domain: str | None


@contextmanager
def opened(path: Path | None, *, only_looks: bool = False) -> Iterator[Desk]:
    """The rosters of a configuration. `only_looks`: nobody is refreshed. Raises `ConfigError`."""
    settings = quietly(path)
    refreshing = None if only_looks else Refreshing.of(settings)
    domain = None if settings.roster is None else settings.roster.domain
    if domain is None:
        domain = next((target.default_host for target in settings.targets if target.kind == KIND), None)
    with open_store(settings) as client:
        yield Desk(settings, Writer(client, who(), refreshing), domain)


@contextmanager
def told() -> Iterator[None]:
    """Raises `UsageError` for what is no part of a roster."""
    try:
        yield
    except BadRoster as error:
        raise UsageError(f"{error.entry} {error.why}.", error.cure or None) from None


def tell_if_nobody_refreshes(desk: Desk) -> None:
    """Says it, once for a command that changed something."""
    if desk.writer.refreshing is None:
        output.say("note: no target tells Prosody of it (Kind prosody-roster): clients see it at their next login.")


def counted(count: int, what: str) -> str:
    """`1 user`, `5 users`."""
    return f"1 {what}" if count == 1 else f"{count} {what}s"
