"""Pause and resume a queue, a target or a periodic command: one engine for `queues`, `targets` and `periodic`.

Always holds: an unknown name is refused before anything is done; a dry run changes nothing.
"""

from collections.abc import Callable
from typing import Final

import attrs

from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import output, times
from restbroker.console.load_config import ConfigOption, Section, load_quietly
from restbroker.console.options import DryRunOption, ForOption, JsonOption, WhyOption
from restbroker.console.who import who
from restbroker.operate.connect import open_store
from restbroker.store.client import Client

_MOST_DAYS: Final = 366


@attrs.frozen
class Resuming:
    """The options of `resume`."""

    why: WhyOption = ""
    dry_run: DryRunOption = False
    json: JsonOption = False
    config: ConfigOption = None


@attrs.frozen
class Pausing:
    """The options of `pause`."""

    for_: ForOption = None
    why: WhyOption = ""
    dry_run: DryRunOption = False
    json: JsonOption = False
    config: ConfigOption = None


@attrs.frozen
class Pausable:
    """A kind of thing that can be paused, by the `noun` that names it in JSON.

    `is_paused` raises `UsageError` for an unknown name. `start` and `end` are the functions of `operate`. `meanwhile`:
    what becomes of jobs in progress, if there may be some.
    """

    noun: str
    is_paused: Callable[[Client, Config, str], bool]
    start: Callable[[Client, str, str, str, float | None], object]
    end: Callable[[Client, str, str, str], bool]
    meanwhile: str = "; jobs in progress finish"
    sections: tuple[Section, ...] = ()

    def pause(self, name: str, how: Pausing) -> None:
        """Pause it, and say so."""
        settings = load_quietly(how.config, *self.sections)
        for_s = None if how.for_ is None else times.duration_s("--for", how.for_, _MOST_DAYS)
        with open_store(settings) as client:
            was = self.is_paused(client, settings, name)
            if not how.dry_run:
                self.start(client, name, who(), how.why, for_s)
        how_long = "until resumed" if for_s is None else f"for {duration_text(for_s)}"
        fields = {self.noun: name, "was_paused": was, "paused": True, "for_s": for_s}
        words = f"{name} {_done(how)} paused {how_long}{self.meanwhile}."
        output.report(words, fields, as_json=how.json, dry_run=how.dry_run)

    def resume(self, name: str, how: Resuming) -> None:
        """End its pause, and say so."""
        settings = load_quietly(how.config, *self.sections)
        with open_store(settings) as client:
            was = self.is_paused(client, settings, name)
            if not how.dry_run:
                was = self.end(client, name, who(), how.why)
        words = f"{name} {_done(how)} resumed." if was else f"{name} was not paused."
        fields = {self.noun: name, "was_paused": was, "paused": False}
        output.report(words, fields, as_json=how.json, dry_run=how.dry_run)


def _done(how: Pausing | Resuming) -> str:
    return "would be" if how.dry_run else "is"
