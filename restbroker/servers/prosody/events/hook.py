"""The way to this kind, for the registry."""

from restbroker.config.events import EventSource
from restbroker.servers.event_contract import Hook
from restbroker.servers.prosody.events import stanzas


def open_hook(source: EventSource) -> Hook:  # noqa: ARG001  all sources of this kind are alike
    """What reads and answers stanzas."""
    return stanzas
