"""The kinds of event sources, by the name that the configuration uses. Always holds: it has every `SourceKind`."""

from collections.abc import Mapping
from typing import Final

from restbroker.config.events import SourceKind
from restbroker.events import prosody_rest
from restbroker.events.contract import Hook

HOOKS: Final[Mapping[SourceKind, Hook]] = {"prosody-rest": prosody_rest}
