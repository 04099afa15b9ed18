"""Makes ejabberd report a message to a component, and finds the messages of a job that a component is told of.

`emission` is called through `events.registry`, `messages_of` by the connector before it sends. Always holds: pure; no
argument of a job makes it raise. A test goes to the component itself, from an address that need not exist: ejabberd
takes any sender of its own (measured on 23.01), and puts a headline into no archive.
"""

from typing import Final

from restbroker.config.events import EventSource
from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.servers.api.stanza import body_in, read_message
from restbroker.servers.api.texts import fits_xml
from restbroker.servers.component.options import Options
from restbroker.servers.ejabberd.command_attributes import MESSAGE, STANZA
from restbroker.servers.event_contract import Emission, Parties

TARGET_KIND: Final = "ejabberd"


def emission(source: EventSource, target: Target, parties: Parties, text: str) -> Emission:
    """Return the command that sends a message with this text, and what to check if no event comes.

    Raise `ConfigError` if the source takes no messages.
    """
    options = source.options
    assert isinstance(options, Options)  # noqa: S101  as its options judged it
    if "message" not in options.takes:
        raise ConfigError("Take lacks message, so no message becomes an event.", "Add it to test whether events come.")
    sender = parties.sender or f"restbroker-check@{options.hosts[0]}"
    arguments: dict[str, Json] = {
        "type": "headline",
        "from": sender,
        "to": parties.receiver or options.name,
        "subject": "",
        "body": text,
    }
    return Emission(
        Command(MESSAGE, arguments),
        f"Does ejabberd have `mod_service_log: {{loggers: [{options.name}]}}` for the host of {sender}, and does "
        f"{target.name} lead to the same server? `restbroker events sources` says whether it is read.",
    )


def messages_of(command: Command) -> list[tuple[str, str, str]]:
    """Return sender, receiver and body of each message that the command has ejabberd report; none if that is not known.

    A room repeats what it is sent in its own name.
    """
    given, name = command.arguments, command.endpoint.partition("/")[0]
    body, word = given.get("body"), given.get("type")
    if name == STANZA:
        message = read_message(given.get("stanza"))
        if message is None:
            return []
        body, word = body_in(message), message.get("type")
    elif name != MESSAGE:
        return []
    match given.get("from"), given.get("to"), body:
        case str(sender), str(receiver), str(text) if sender and receiver and fits_xml([sender, receiver, text]):
            # As a parser reads the ends of lines.
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            room = [(receiver, receiver, text)] if word == "groupchat" else []
            return [(sender, receiver, text), *room]
        case _:
            return []
