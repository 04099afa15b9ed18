"""Makes MongooseIM report a message to a source, and finds the message of a job that it will report: as an event.

`emissions` is called through `events.registry`, `message_of` by the connector before it sends, where a source of events
drops the broker's own messages. Always holds: pure; a message goes only to users whom the operator named; no argument
of a job makes it raise, and no XML with a document type is read, since one may expand. MongooseIM 6.8 sends messages
from accounts that exist, and reports only messages between users (measured).
"""

from collections.abc import Mapping

from restbroker.config.events import EventSource
from restbroker.config.target import Basic, Target
from restbroker.errors import ConfigError
from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.servers.api.xml import body_in, read_message
from restbroker.servers.event_contract import Emission, Parties
from restbroker.servers.mongooseim.command_attributes import ATTRIBUTES, STANZA

Message = tuple[str, str, str]
"""The sender, the receiver and the body."""


def emissions(source: EventSource, target: Target, parties: Parties, text: str) -> list[Emission]:
    """Return the command that sends a message with this text between the parties, and what to check if no event comes.

    Raise `ConfigError` if `parties` lacks a sender or a receiver.
    """
    if not (parties.sender and parties.receiver):
        raise ConfigError(
            f"The target {target.name} is a MongooseIM, which accepts messages only from existing accounts.",
            "Create two accounts for this, and name them with --from and --to.",
        )
    backend = {"mongooseim-amqp": "rabbit", "mongooseim-sns": "sns"}.get(source.kind, "http")
    path = ""
    if backend == "http":
        joined = "path_prefix and path, which loses its first /, must make"
        path = f" ({joined} {source.path} with the secret of this source)"
    command = Command("stanza.sendMessage", {"from": parties.sender, "to": parties.receiver, "body": text})
    look_at = (
        f"Check [modules.mod_event_pusher.{backend}] in MongooseIM{path}: is it loaded for the host of "
        f"{parties.sender}, and does it report chat messages? Is there a firewall between? What do both logs "
        "say?"
    )
    return [Emission(command, look_at)]


def message_of(name: str, given: Mapping[str, Json], target: Target) -> Message | None:
    """Return the message that an operation sends; None if none comes back, or its parts are not all known.

    `name` is the operation's, `given` its arguments.
    """
    if name == STANZA:
        return _in_stanza(given.get("stanza"))
    if name not in ATTRIBUTES.messages:
        return None
    # A user's operations send in that user's name.
    sender = given.get("from") or _user(target)
    receiver, body = given.get(ATTRIBUTES.messages[name]), given.get("body")
    return _message(sender, receiver, body)


def _user(target: Target) -> str | None:
    return target.credentials.user if isinstance(target.credentials, Basic) else None


def _in_stanza(stanza: Json) -> Message | None:
    root = read_message(stanza)
    return None if root is None else _message(root.get("from"), root.get("to"), body_in(root))


def _message(sender: Json, receiver: Json, body: Json) -> Message | None:
    match sender, receiver, body:
        case str(), str(), str() if sender and receiver and body:
            return sender, receiver, body
        case _:
            return None
