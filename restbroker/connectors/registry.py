"""Which connector speaks for which kind of target. Called by assembly and by the configuration's loader.

Always holds: a connector's code is imported only when its kind is asked for.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

from restbroker.connectors.contract import Factory
from restbroker.errors import ConfigError

_MODULES: Final[Mapping[str, str]] = MappingProxyType({"ejabberd": "restbroker.connectors.ejabberd.connector"})

KINDS: Final = tuple(_MODULES)
"""The kinds of targets, as written in `Kind`."""


def factory(kind: str) -> Factory:
    """The factory of this kind. Raises `ConfigError` for a kind that does not exist."""
    if kind not in _MODULES:
        known = ", ".join(KINDS)
        raise ConfigError(f'There is no kind of target called "{kind}".', f"These exist: {known}.")
    found: Factory = import_module(_MODULES[kind]).FACTORY
    return found
