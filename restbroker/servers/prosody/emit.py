"""Makes Prosody report a message to a source of the kind `prosody-rest`. Called through `events.registry`.

Always holds: pure; a message goes only to an address that the operator named: no configuration of restbroker's says
which host is the component whose stanzas Prosody posts, and at any other it is refused.
"""

from typing import Final

from restbroker.config.events import EventSource
from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.servers.event_contract import Emission, Parties

_RESOURCE: Final = "restbroker-check"


def emissions(source: EventSource, target: Target, parties: Parties, text: str) -> list[Emission]:
    """Return the command that sends a message with this text, which Prosody then posts to the source as an event.

    Raise `ConfigError` if `parties` lacks a receiver.
    """
    if not parties.receiver:
        raise ConfigError(
            f"Only the configuration of {target.name} says for which component it posts stanzas to {source.path}.",
            "Name an address at the component with that rest_callback_url, for example "
            "--to restbroker-check@bots.example.org; it need not exist.",
        )
    to = parties.receiver
    if "@" in to and "/" not in to:
        # Prosody takes the `to` away of a stanza from an address to itself (measured on 0.12.3).
        to = f"{to}/{_RESOURCE}"
    arguments: dict[str, Json] = {"to": to, "body": text}
    if parties.sender:
        arguments["from"] = parties.sender
    command = Command("message", arguments)
    look_at = (
        f"Check in Prosody that {to} is at the component whose rest_callback_url leads to "
        f"{source.path}, with the secret of this source and rest_callback_content_type = "
        '"application/json"; and that rest_callback_stanzas has "message". Then check the logs of Prosody and '
        "restbroker."
    )
    return [Emission(command, look_at)]
