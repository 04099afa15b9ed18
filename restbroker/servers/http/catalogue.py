"""The commands of a target of kind `http` are those of its configuration. Through the registry; loads no Trio."""

from restbroker.config.target import Target
from restbroker.job.command import Catalogue
from restbroker.servers.http.recipes import settings_of


def for_version(_version: str | None) -> Catalogue:
    """Return a catalogue without commands: there are none without a configuration."""
    return Catalogue("", {}, is_whole=True)


def for_target(target: Target, _found: str | None, _endpoint: str = "") -> Catalogue:
    """Return all commands that a job may ask for; the catalogue's `version` is the target's name."""
    return settings_of(target).catalogue
