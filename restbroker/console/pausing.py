"""Pause and resume a queue, a target or a periodic command: one engine for `queues`, `targets` and `periodic`.

Always holds: an unknown name is refused before anything is done; a dry run changes nothing.
"""

from collections.abc import Callable
from typing import Final

from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import output, times
from restbroker.console.load_config import Section
from restbroker.console.options import Output, ReasonOptions
from restbroker.console.who import who
from restbroker.light import frozen
from restbroker.operate import control
from restbroker.operate.connect import open_store
from restbroker.operate.control import Noun
from restbroker.store.client import Client

_MOST_DAYS: Final = 366


@frozen
class Pausable:
    """A kind of thing that can be paused, by the `noun` that names it in JSON.

    `is_paused` raises `UsageError` for an unknown name. `meanwhile`: what becomes of jobs in progress, if there may be
    some.
    """

    noun: Noun
    is_paused: Callable[[Client, Config, str], bool]
    meanwhile: str = "; jobs in progress finish"
    sections: tuple[Section, ...] = ()

    def pause(self, name: str, duration: str | None, reason: ReasonOptions, how: Output) -> None:
        """Pause it, for this duration (None: until resumed), and say so."""
        settings = how.settings(*self.sections)
        for_s = None if duration is None else times.duration_s("--for", duration, _MOST_DAYS)
        with open_store(settings) as client:
            was = self.is_paused(client, settings, name)
            if not reason.dry_run:
                control.pause(client, self.noun, name, who(), reason.why, for_s)
        how_long = "until resumed" if for_s is None else f"for {duration_text(for_s)}"
        fields = {self.noun: name, "was_paused": was, "paused": True, "for_s": for_s}
        words = f"{name} {_done(reason)} paused {how_long}{self.meanwhile}."
        output.report(words, fields, as_json=how.json, dry_run=reason.dry_run)

    def resume(self, name: str, reason: ReasonOptions, how: Output) -> None:
        """End its pause, and say so."""
        settings = how.settings(*self.sections)
        with open_store(settings) as client:
            was = self.is_paused(client, settings, name)
            if not reason.dry_run:
                was = control.resume(client, self.noun, name, who(), reason.why)
        words = f"{name} {_done(reason)} resumed." if was else f"{name} was not paused."
        fields = {self.noun: name, "was_paused": was, "paused": False}
        output.report(words, fields, as_json=how.json, dry_run=reason.dry_run)


def _done(reason: ReasonOptions) -> str:
    return "would be" if reason.dry_run else "is"
