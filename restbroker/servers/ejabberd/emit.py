"""Makes ejabberd report a message to a component, and finds the messages of a job that a component is told of.

`emissions` is called through `events.registry`, `messages_of` by the connector before it sends. Always holds: pure; no
argument of a job makes it raise. A test goes to the component itself, from an address that need not exist: ejabberd
takes any sender of its own (measured on 23.01), and puts a headline into no archive. A test notification is one of the
host; no user can send such a one.
"""

from typing import Final

from restbroker.config.events import EventSource
from restbroker.config.target import Target
from restbroker.job.command import Command
from restbroker.job.event import domain
from restbroker.job.json_types import Json
from restbroker.servers.api.xml import body_in, read_message
from restbroker.servers.component.options import SUBSCRIBER, Options
from restbroker.servers.ejabberd.catalogue import MESSAGE, STANZA
from restbroker.servers.event_contract import Emission, Parties

_NOTIFICATION: Final = """<iq type='set' id='{id}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
<publish node='restbroker-check'><item><notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'>\
<field var='FORM_TYPE'><value>urn:xmpp:push:summary</value></field>\
<field var='last-message-body'><value>{text}</value></field></x></notification></item></publish></pubsub></iq>"""


def emissions(source: EventSource, target: Target, parties: Parties, text: str) -> list[Emission]:
    """Return the commands that send a message from each host, and a notification from the first, with this text.

    Those whose type is not taken are left out. Of each of `Rooms` it is asked who is subscribed.
    """
    options = source.options
    assert isinstance(options, Options)  # noqa: S101  as its options judged it
    lines = (
        f"does the target {target.name} lead to the server that the source reads? "
        f"`restbroker events sources` says whether {source.name} is read."
    )
    found = []
    if "message" in options.takes:
        for sender in [parties.sender] if parties.sender else [f"restbroker-check@{host}" for host in options.hosts]:
            receiver = parties.receiver or options.name
            given: dict[str, Json] = {"type": "headline", "from": sender, "to": receiver, "subject": "", "body": text}
            # As ejabberd writes it: who names an address may write it otherwise.
            members = {"type": "message"} | ({} if parties.sender else {"from": sender})
            look_at = (
                f"Is {domain(sender)} a virtual host of ejabberd, spelt so, and has it "
                f"`mod_service_log: {{loggers: [{options.name}]}}`; and {lines}"
            )
            found.append(Emission(Command(MESSAGE, given), look_at, members=members))
    if "push" in options.takes:
        given = {
            "from": options.hosts[0],
            "to": options.name,
            "stanza": _NOTIFICATION.format(text=text, id=text.rpartition(" ")[2]),
        }
        # 23.01, 24.12 and 26.07 refuse it in words; to a text 26.07 says "internal_error" (measured).
        trial = Command("delete_old_push_sessions", {"days": None})
        found.append(Emission(Command(STANZA, given), lines.capitalize(), "notification", {"type": "push"}, trial))
    for room, service in (room.split("@") for room in options.rooms):
        asks = Command("get_subscribers", {"name": room, "service": service})
        found.append(Emission(asks, "", f"{room}@{service}", subscriber=f"{SUBSCRIBER}@{options.name}"))
    return found


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
        case str(sender), str(receiver), str(text) if sender and receiver:
            # As a parser reads the ends of lines.
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            room = [(receiver, receiver, text)] if word == "groupchat" else []
            return [(sender, receiver, text), *room]
        case _:
            return []
