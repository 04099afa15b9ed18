"""The commands of a target of kind `http` are those of its configuration. Through the registry; loads no Trio."""

from restbroker.config.target import Target
from restbroker.job.command import Catalogue
from restbroker.servers.http.recipes import settings_of


def for_version(_version: str | None) -> Catalogue:
    """None: without a configuration there is no command."""
    return Catalogue("", {}, is_whole=True)


def for_target(target: Target, _found: str | None, _endpoint: str = "") -> Catalogue:
    """All that a job may ask for; its `version` is the target's name."""
    return settings_of(target).catalogue
