"""Makes Openfire report a message to a source of the kind `openfire-sse`. Called through `events.registry`.

Always holds: pure; a message goes only to a user whom the operator named, and whose stream the source reads.
"""

from restbroker.config.events import EventSource
from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.job.command import Command
from restbroker.servers.event_contract import Emission, Parties
from restbroker.servers.openfire.chat.forms import user_name
from restbroker.servers.openfire.stream.options import Options


def emissions(source: EventSource, target: Target, parties: Parties, text: str) -> list[Emission]:
    """Return the command that sends a chat message with this text, and what to check if no event comes.

    Raise `ConfigError` if `parties` lacks a sender, or a receiver whose stream the source reads.
    """
    options = source.options
    assert isinstance(options, Options)  # noqa: S101  as its options judged it
    users = ", ".join(options.users) or "none"
    if not (parties.sender and parties.receiver):
        raise ConfigError(
            "Openfire reports a message only to the user who gets it.",
            "Name two users with --from and --to; the receiver is one whose stream this source reads (its Users: "
            f"{users}). The sender is logged in for it.",
        )
    if user_name(parties.receiver) not in options.users:
        raise ConfigError(
            f"It does not read the stream of {parties.receiver}.", f"Name one of its Users with --to: {users}."
        )
    command = Command("post_message", {"from": parties.sender, "to": parties.receiver, "body": text})
    look_at = (
        f"Is the stream of {user_name(parties.receiver)} open? `restbroker events sources` says so for each user, "
        f"and what is wrong. Does {target.name}, whose users this source reads, lead to the same Openfire?"
    )
    return [Emission(command, look_at)]
