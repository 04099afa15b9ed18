"""Makes MongooseIM report a message to a source, whichever backend its event pusher uses.

Called through `events.registry`. Always holds: pure; a message goes only to users whom the operator named. MongooseIM
6.8 sends messages from accounts that exist, and reports only messages between users (measured).
"""

from typing import Final

from restbroker.config.events import EventSource
from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.job.command import Command
from restbroker.servers.event_contract import Emission, Parties

TARGET_KIND: Final = "mongooseim"


def emission(source: EventSource, target: Target, parties: Parties, text: str) -> Emission:
    """Return the command that sends a message with this text between the parties, and what to check if no event comes.

    Raise `ConfigError` if `parties` lacks a sender or a receiver.
    """
    if not (parties.sender and parties.receiver):
        raise ConfigError(
            f"The target {target.name} is a MongooseIM, which accepts messages only from existing accounts.",
            "Create two accounts for this, and name them with --from and --to.",
        )
    backend = {"mongooseim-amqp": "rabbit", "mongooseim-sns": "sns"}.get(source.kind, "http")
    path = "" if source.path is None else f" (its path must be {source.path}, with the secret of this source)"
    return Emission(
        Command("stanza.sendMessage", {"from": parties.sender, "to": parties.receiver, "body": text}),
        f"Check [modules.mod_event_pusher.{backend}] in MongooseIM{path}: is it loaded for the host of "
        f"{parties.sender}, and does it report chat messages? Is there a firewall between? What do both logs "
        "say?",
    )
