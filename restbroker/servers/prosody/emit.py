"""Makes Prosody report a message to a source of the kind `prosody-rest`. Called through `events.registry`.

Always holds: pure; unless an address is named, the message goes to `restbroker-check`, who does not exist.
tests/servers/test_check_events.py holds a real Prosody 0.12.3 to it, with the original mod_rest where one is named.
"""

from typing import Final

from restbroker.config.events import EventSource
from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.servers.event_contract import Emission, Parties
from restbroker.servers.prosody.options import options_of

TARGET_KIND: Final = "prosody-rest"
_NOBODY: Final = "restbroker-check"


def emission(source: EventSource, target: Target, parties: Parties, text: str) -> Emission:
    """Return the command that sends a message with this text, which Prosody then posts to the source as an event.

    It goes to no user unless `parties` says so. Raise `ConfigError` if no host is known that it could go to.
    """
    host = options_of(target).host
    if not (parties.receiver or host):
        raise ConfigError(
            f"No host is known of the target {target.name} that a message could go to.",
            "Name an address at the component with rest_callback_url: --to restbroker-check@bots.example.org",
        )
    to = parties.receiver or f"{_NOBODY}@{host}"
    if "@" in parties.receiver and "/" not in to:
        # Prosody takes the `to` away of a stanza from an address to itself (measured on 0.12.3).
        to = f"{to}/{_NOBODY}"
    arguments: dict[str, Json] = {"to": to, "body": text}
    if parties.sender:
        arguments["from"] = parties.sender
    return Emission(
        Command("message", arguments),
        f"In Prosody, that {to} is at the component whose rest_callback_url leads to "
        f"{source.path} (--to names another), with the secret of this source and rest_callback_content_type = "
        '"application/json"; that rest_callback_stanzas has "message"; and check the logs of Prosody and '
        "restbroker.",
    )
