"""The way to this kind, for the registry."""

from restbroker.config.events import EventSource
from restbroker.events.contract import Hook
from restbroker.events.prosody_rest import stanzas


def open_hook(source: EventSource) -> Hook:  # noqa: ARG001  all sources of this kind are alike
    """What reads and answers stanzas."""
    return stanzas
